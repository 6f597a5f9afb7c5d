"""Find out what an output means: from its shape, names, what the file says of itself, and the graph behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ..errors import FgcamError, OptionError
from ..graph.facts import facts_of, producers_of
from ..graph.memo import once
from ..graph.model import Model
from ..graph.score import DETECTIONS, Score, find_score, usable_outputs
from ..layers.flow import flow_of
from .background import by_softmax, stands_at, with_background
from .boxed import boxes_in, cells_of, distributed, grid_in, of_several, raw_grids, speaks_for_boxes
from .doubts import doubt_of_map, may_be_map
from .ends import answer_axis, embeds, end_of, refuse_chosen, refuse_index
from .head import KINDS, Head
from .names import fitted_labels, own_labels
from .seen import Seen
from .stated import NOTHING, Stated


def find_head(model: Model, score: Score, *, source: str, stated: Stated = NOTHING) -> Head:
    """Return what the output that ``score`` is found in means, for images of input ``source``.

    Raises
    ------
    OptionError
        Labels that were stated do not fit, or the kind is not known.
    TargetError
        The kind that was stated is not possible.
    """
    flow = flow_of(model, logits=score.logits, source=source)
    end, over = end_of(model, score, flow)
    labels = stated.labels or own_labels(model)
    shape = flow.answer_shape
    count = len(labels) if labels else None
    seen = Seen(model, score, flow, source, shape, end, over, count, stated)
    head = _stated(seen) if stated.kind is not None else _told(seen)
    head = _grounded(replace(head, shape=shape, end=end, over=over), seen)
    if head.kind == "boxes" and head.columns is not None and stated.decode != "auto":
        head = replace(head, columns=replace(head.columns, form=stated.decode))
    return _labelled(head, labels, given=bool(stated.labels))


@once
def meaning_of(
    model: Model, output: str | None, *, source: str, before_softmax: bool = True, stated: Stated = NOTHING
) -> tuple[Score, Head]:
    """Return what is explained of a model's output, and what that means.

    Boxes are read as the output has them: before a sigmoid their coordinates would be none.

    Raises
    ------
    OptionError, TargetError
        As for `find_score` and `find_head`.
    """
    if output is None:
        output = _with_boxes(model, source, before_softmax, stated)
    score = find_score(model, output, before_softmax=before_softmax)
    refuse_index(model, score.output)
    refuse_chosen(model, score.output)
    head = find_head(model, score, source=source, stated=stated)
    if score.skipped and head.columns is not None and head.kind == "boxes" and not head.columns.beside:
        score = find_score(model, output, before_softmax=False)
        head = find_head(model, score, source=source, stated=stated)
    return score, head


def _with_boxes(model: Model, source: str, before_softmax: bool, stated: Stated) -> str | None:
    """Return which of several outputs holds the scores of boxes, where exactly one does; else None."""
    if DETECTIONS in model.types and DETECTIONS not in {o.name for o in model.outputs}:
        return DETECTIONS
    names = usable_outputs(model)
    if len(names) < 2 or stated.kind not in (None, "boxes"):
        return None
    found = []
    for name in names:
        try:
            score = find_score(model, name, before_softmax=before_softmax)
            head = find_head(model, score, source=source, stated=replace(stated, labels=(), background=None))
        except FgcamError:
            continue
        found += [name] if head.kind == "boxes" and not head.guessed else []
    return found[0] if len(found) == 1 else None


def _grounded(head: Head, seen: Seen) -> Head:
    """Return ``head`` with what is known of a class that is no object."""
    said, stated = seen.stated.background, seen.stated
    if said is not None and not (head.dense and head.classed):
        raise OptionError(f"background={said!r} (--background) is of outputs with places; this one is {head.told}")
    if head.kind != "boxes" and not (stated.objectness is None and stated.classes is None):
        raise OptionError(
            f"objectness= and classes= (--objectness, --classes) are of boxes; this output is {head.told}"
        )
    if head.kind not in ("boxes", "unknown") and stated.decode != "auto":
        raise OptionError(f"decode={stated.decode!r} (--decode) is of boxes; this output is {head.told}")
    stands = ""
    if head.kind == "boxes" and head.columns is not None and head.axis is not None:
        softmax = head.end == "softmax" and head.over == head.axis
        softmax |= by_softmax(seen.model, seen.score.output, head.count, axis=seen.where(head.axis))
        stands = stands_at(head.columns, head.count, names=seen.labels, end=head.end, softmax=softmax)
    head = replace(head, stands=said or stands)
    raw = head.kind == "boxes" and head.columns is not None and bool(head.columns.beside) and not head.end
    return replace(head, over=head.axis) if raw and head.stands in ("first", "last") else head


def _labelled(head: Head, labels: Sequence[str], *, given: bool) -> Head:
    """Return ``head`` with the names of its classes; the model's own that do not fit are passed over, and said."""
    if not labels or head.kind in ("embedding", "number", "unknown"):
        if given and head.kind in ("embedding", "number"):
            raise OptionError(
                f"{len(labels)} labels, but the output is {head.told}: nothing there has a name. Say head=classes "
                "(--head classes) if it has scores of classes"
            )
        return head
    if not head.count:
        return replace(head, labels=tuple(labels), count=len(labels))
    labels = with_background(tuple(labels), head.count, head.stands)
    if given:
        names, note = fitted_labels(labels, head.count, places=head.dense)
        return replace(head, labels=names, notes=(note,) if note else ())
    if len(labels) != head.count:
        note = f"the {len(labels)} names in the model do not fit its {head.count} classes and are passed over"
        return replace(head, notes=(note,))
    return replace(head, labels=tuple(labels))


def _stated(seen: Seen) -> Head:
    kind, shape = str(seen.stated.kind), seen.shape
    sizes = [d for d in shape if isinstance(d, int)]
    whole = math.prod(sizes) if len(sizes) == len(shape) else None
    if kind in ("classes", "embedding", "number"):
        return Head(kind, shape, None, whole, why="as was said")
    found = {"boxes": boxes_in, "map": _map, "several": _several}[kind](seen)
    if found is None:
        sides = " x ".join(map(str, shape))
        raise Head("unknown", shape).refusal(f"an output of {sides} for each image is not {KINDS[kind]}")
    return replace(found, why="as was said", guessed=False)


def _told(seen: Seen) -> Head:
    """Return the first kind that something speaks for."""
    shape, labels = seen.shape, seen.labels
    large = [d for d in shape if d != 1]
    if len(large) <= 1 and all(isinstance(d, int) for d in large):
        return _flat(seen, int(math.prod(d for d in large if isinstance(d, int))))
    if len(shape) == 2:
        boxes = boxes_in(seen)
        beside = boxes is not None and boxes.columns is not None and boxes.columns.beside
        if not beside and seen.end == "softmax" and seen.over is not None and (several := _several(seen)) is not None:
            return replace(several, guessed=False)
        if boxes is not None and (why := speaks_for_boxes(seen, boxes)):
            return replace(boxes, why=why, guessed=False)
        cells = boxes is not None and not cells_of(seen).isdisjoint({d for d in shape if isinstance(d, int)})
        if (several := _several(seen)) is not None and (labels == several.count or (several.why and not cells)):
            return several
    if len(shape) > 2 and (grid := grid_in(seen)) is not None and (of_several(seen) or distributed(grid)):
        return grid
    if len(shape) > 2 and not raw_grids(seen) and (found := _map(seen)) is not None:
        doubt = doubt_of_map(seen.model, seen.score.output, found, seen.end, source=seen.source, names=labels)
        return replace(found, **doubt) if doubt else found
    why = embeds(seen.model, seen.score.output)
    if why:
        return Head("embedding", shape, why=why, guessed=why.startswith("the output"))
    return Head("unknown", shape, why="its shape, names and graph leave it open")


def _flat(seen: Seen, count: int) -> Head:
    if seen.labels is not None and (seen.labels == count or (seen.labels == count + 1 and count > 1)):
        return Head("classes", seen.shape, None, count, why="there are as many names")
    if seen.end in ("softmax", "sigmoid", "done"):
        return Head("classes", seen.shape, None, count, why="its end makes probabilities")
    if count == 1:
        return Head("number", seen.shape, None, 1, why="one number, of which the model makes no probability")
    if why := embeds(seen.model, seen.score.output):
        return Head("embedding", seen.shape, None, count, why=why, guessed=why.startswith("the output"))
    return Head("classes", seen.shape, None, count, why="one number for each class", guessed=True)


def _several(seen: Seen) -> Head | None:
    """Return several heads of classes, the classes along the axis of the softmax, the names, or a last product."""
    shape = seen.shape
    if len(shape) != 2:
        return None
    axis, why = seen.over, "the softmax at the end goes over the classes of each position"
    if axis is None and seen.labels is not None:
        fits = [a for a in (0, 1) if shape[a] == seen.labels]
        axis, why = fits[0] if len(fits) == 1 else None, "there are as many names as one axis is long"
    if axis is None:
        axis, why = _product_axis(seen), "the last product has a column for each class"
    size = shape[1 if axis is None else axis]
    count = size if isinstance(size, int) else None
    return Head("several", shape, 1 if axis is None else axis, count, why=why if axis is not None else "", guessed=True)


def _product_axis(seen: Seen) -> int | None:
    """Return the axis of the columns of the last product, which are classes, where the end is one."""
    producers, name = producers_of(seen.model), seen.score.logits
    rank = len(seen.flow.shape)
    axis = rank - 1
    for _ in range(4):
        node = producers.get(name)
        if node is None:
            return None
        if node.op_type == "MatMul":
            return answer_axis(axis, seen.flow) if seen.model.constants.get(node.input[1]) is not None else None
        if node.op_type == "Transpose":
            perm = next((list(a.ints) for a in node.attribute if a.name == "perm"), list(range(rank))[::-1])
            axis = perm.index(rank - 1)
        elif node.op_type not in ("Add", "Cast", "Identity"):
            return None
        name = next((i for i in node.input if i not in seen.model.constants), "")
    return None


def _map(seen: Seen) -> Head | None:
    """Return a map of classes, (classes, h, w) or (h, w, classes), or of as many axes as the input has."""
    shape = seen.shape
    if not may_be_map(seen.model, shape, source=seen.source):
        return None
    last = len(shape) - 1
    axis = None if seen.over not in (0, last) else seen.over
    if axis is None and seen.labels is not None:
        fits = [a for a in (0, last) if shape[a] == seen.labels]
        axis = fits[0] if len(fits) == 1 else None
    if axis is None:
        known = facts_of(seen.model).channel_axis.get(seen.score.logits)
        axis = answer_axis(known, seen.flow) if known is not None and known < len(seen.flow.shape) else None
    guessed = axis not in (0, last)
    if axis not in (0, last):
        sizes = [d if isinstance(d, int) else math.inf for d in shape]
        axis = 0 if sizes[0] <= sizes[last] else last
    size = shape[axis]
    why = "places of a picture" + (", the classes at the shorter axis" if guessed else "")
    return Head("map", shape, axis, size if isinstance(size, int) else None, why=why, guessed=guessed)
