"""Boxed: whether an output is boxes with scores, in rows or laid out as a grid, and what speaks for that."""

from __future__ import annotations

from ..graph.facts import facts_of
from ..graph.model import TensorSpec
from .columns import Columns, columns_of, form_of
from .grids import grid_beside, grid_columns
from .head import Head
from .seen import Seen

BOXES = ("detect", "obb", "pose", "segment")
"""Ultralytics' tasks whose first output holds boxes."""

STRIDES = ((1,), (2,), (4,), (8,), (16,), (32,), (8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32))
LEAST_BOXES = 4


def raw_grids(seen: Seen) -> bool:
    """Tell one of several grids of a detector whose boxes are still to be made, and not known."""
    width = next((o.shape[1:2] for o in seen.model.outputs if o.name == seen.score.output), ())
    return of_several(seen) and any(isinstance(d, int) and d % 3 == 0 and d > 15 for d in width)


def of_several(seen: Seen) -> bool:
    """Tell one of several outputs with the same channels, on grids of other sizes."""
    mine = next((o.shape for o in seen.model.outputs if o.name == seen.score.output), ())
    others = [o.shape for o in seen.model.answers if o.name != seen.score.output and len(o.shape) == len(mine)]
    ends = (-1,) if len(mine) == 5 else ()
    return any(s[:2] == mine[:2] and s[2:] != mine[2:] and all(s[e] == mine[e] for e in ends) for s in others)


def grid_in(seen: Seen) -> Head | None:
    """Return boxes that are laid out as a grid of cells, in an output of their own or with the boxes beside."""
    others = [o for o in seen.model.answers if o.name != seen.score.output]
    said, stated = seen.labels if seen.stated.classes is None else seen.stated.classes, seen.stated
    columns = None
    if (beside := grid_beside(seen.shape, others)) is not None and said in (None, seen.shape[0]):
        columns = beside[1]
    if columns is None:
        columns = grid_columns(
            seen.model, seen.score.output, seen.shape, axis=seen.where(0 if len(seen.shape) == 3 else 3),
            labels=seen.labels, objectness=stated.objectness, classes=stated.classes,
        )  # fmt: skip
    if columns is None:
        return None
    return Head("boxes", seen.shape, 0 if columns.turned else 3, columns.count, columns=columns, why=columns.why)


def distributed(head: Head) -> bool:
    """Tell boxes that are distributions over distances: nothing else has so many numbers."""
    return head.columns is not None and head.columns.sides > 4


def boxes_in(seen: Seen) -> Head | None:
    """Return boxes with classes, of an output of their own or with the boxes beside."""
    shape = seen.shape
    if len(shape) in (3, 4):
        return grid_in(seen)
    if len(shape) != 2:
        return None
    sides = tuple(d if isinstance(d, int) else 2**31 for d in shape)
    if (beside := _beside(seen)) is not None:
        turned = shape[0] != beside.shape[-2]
        count = shape[0 if turned else 1]
        columns = Columns(
            turned, 0, count if isinstance(count, int) else 0, form=form_of(seen.model, beside.name), beside=beside.name
        )
        return Head("boxes", shape, 0 if turned else 1, columns.count, columns=columns)
    found = columns_of(
        seen.model, seen.score.output, (sides[0], sides[1]), axes=(seen.where(0), seen.where(1)), labels=seen.labels,
        told=seen.told, objectness=seen.stated.objectness, classes=seen.stated.classes,
    )  # fmt: skip
    if found is None:
        return None
    count = found.count or None
    return Head("boxes", shape, 0 if found.turned else 1, count, columns=found, why=found.why, guessed=not found.known)


def _beside(seen: Seen) -> TensorSpec | None:
    """Return the only other output of (N, boxes, 4) for as many boxes as the scores have."""
    fits = [
        o
        for o in seen.model.answers
        if o.name != seen.score.output and len(o.shape) >= 3 and o.shape[-1] == 4 and o.shape[-2] in seen.shape
        and isinstance(o.shape[-2], int)
    ]  # fmt: skip
    return fits[0] if len(fits) == 1 else None


def speaks_for_boxes(seen: Seen, head: Head) -> str:
    """Return what speaks for boxes; empty where nothing does."""
    columns = head.columns
    assert columns is not None
    if columns.beside:
        return f"output {columns.beside!r} holds as many boxes"
    if seen.told.get("task") in BOXES:
        return f"the file's task is {seen.told['task']}; {columns.why}"
    width, boxes = (seen.shape[a if columns.turned else 1 - a] for a in (0, 1))
    if columns.shown or (seen.labels is not None and width in (seen.labels + 4, seen.labels + 5)):
        return columns.why
    if columns.known and isinstance(boxes, int) and boxes >= LEAST_BOXES and boxes in cells_of(seen):
        return f"{boxes} boxes are the cells of grids over the input; {columns.why}"
    return ""


def cells_of(seen: Seen) -> set[int]:
    """Return how many cells grids of the usual strides have over the input, with one or three boxes each."""
    shape = next(i.shape for i in seen.model.inputs if i.name == seen.source)
    axis = facts_of(seen.model).channel_axis.get(seen.source, 1)
    sides = [d for a, d in enumerate(shape) if a not in (0, axis) and isinstance(d, int)]
    if len(sides) != 2:
        return set()
    height, width = sides
    return {n * sum((height // s) * (width // s) for s in strides) for strides in STRIDES for n in (1, 3)}
