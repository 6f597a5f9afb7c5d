"""Runs on changed copies inside the graph: what lies behind a tensor is written out once more, for all copies.

The counterpart of :mod:`.rerun` for an exported file, which nobody runs again from outside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import OptionError
from ..graph.loops import collected
from ..graph.model import dims_of
from ..graph.shapes import Dim
from ..graph.value import Value
from ..heads import Head
from ..program import Scored
from ..quantized import real
from ..surgery.cutting import Cut, cut
from ..surgery.grafting import grafted
from .method import Options, check_single
from .rerun import common_of, crossing_rows, stored

LIMIT = 2**24
"""Most elements that a tensor of the copies of one image may have at once.

64 MiB in float32. A runtime holds a few such tensors at a time; a tab has 4 GiB at most, WebGPU promises 128 MiB for
one tensor. Where there are more, a Loop takes the copies in parts.
"""

Read = Callable[[Value, Value, Head], Value]
"""Takes the copies' scores (N, n, K), the weights of the logits (N, K) and what they mean; returns (N, n)."""


def by_target(scores: Value, weights: Value, head: Head) -> Value:
    """Return the target's score: the sum of the logits by their weights."""
    return (scores @ weights.reshape((None, weights.shape[1], 1))).reshape((None, scores.shape[1]))


def by_probability(scores: Value, weights: Value, head: Head) -> Value:
    """Return the target's probability by the weights: what the model's end makes of the logits."""
    over = head.over
    if head.made == "softmax" and over is None:
        scores = scores.emitter.emit("Softmax", scores, axis=2)
    elif head.made == "softmax" and over is not None:
        answers = scores.reshape((None, scores.shape[1], *head.answer))
        scores = scores.emitter.emit("Softmax", answers, axis=over + 2).reshape(scores.shape)
    elif head.made == "sigmoid":
        scores = scores.emitter.emit("Sigmoid", scores)
    return by_target(scores, weights, head)


def softmax_over_copies(scores: Value) -> Value:
    """Return the softmax of (N, n) scores along the copies."""
    return scores.emitter.emit("Softmax", scores, axis=1)


def append_copies(
    options: Options,
    scored: Scored,
    at: Sequence[str],
    change: Callable[[Value, Value], Value],
    *,
    count: int,
    read: Read = by_target,
) -> Value:
    """Append what is read of the scores of ``count`` changed copies of each image, (N, count).

    The copies of an image lie along the batch, one behind the other, and so does what crosses the cut. Where a
    tensor of theirs would have more than `LIMIT` elements, a Loop takes them in parts of equal size; where the model
    fixes its batch, it takes one copy of each image at a time.

    Parameters
    ----------
    at : sequence of str
        A tensor, and others beside the way from there that are changed alike, as for :func:`.rerun.rerun`.
    change : callable
        Takes the tensor (N, 1, ...) as real values and the copies' numbers (n,); returns (N, n, ...).
    read : callable
        Reads a number off a copy's scores.

    Raises
    ------
    LayerError
        The model cannot be cut there.
    OptionError
        The rows of a batch depend on one another, or a tensor that is to be repeated has more than one free dimension.
    """
    emitter, logits = scored.scores.emitter, options.score.logits
    check_single(options.flow)
    part, batch = cut(options.model, at[0], output=logits, common=common_of(options)), options.flow.images
    if batch != 1:
        _check(part)
    at = tuple(n for n in at if n == part.at or n in part.crossing)
    fixed = isinstance(batch, int)
    size = 1 if fixed else max(1, LIMIT // _largest(part))
    parts = -(-count // size)
    size = -(-count // parts)
    numbers = np.minimum(np.arange(parts * size), count - 1).reshape(parts, size)
    sources = {n: emitter.value(n) for n in at}
    tensors = {n: real(v).astype(np.float32).reshape(_rows(v, batch, 1)) for n, v in sources.items()}
    rows = crossing_rows(options, part.crossing)
    beside = [n for n in part.crossing if n not in at and n in rows]
    classes = options.flow.classes

    def scores(chosen: Value) -> Value:
        given = {n: stored(options, n, change(x, chosen).reshape(_rows(sources[n], batch))) for n, x in tensors.items()}
        given |= {} if fixed else {n: _repeated(emitter.value(n), size, sources[part.at], batch) for n in beside}
        found = grafted(emitter, part, given).reshape((batch if fixed else None, size, classes))
        return read(found.astype(scored.weights.dtype), scored.weights, options.head)

    first = scores(emitter.constant(numbers[0])) if parts == 1 else None
    if options.flow.mixed:
        raise OptionError("the images of a batch change one another's answers, so copies cannot be run as a batch")
    if first is not None:
        return first
    found = collected(emitter, lambda i: scores(emitter.emit("Gather", emitter.constant(numbers), i)), times=parts)
    found = found.transpose((1, 0, 2)).reshape((batch if fixed else None, parts * size))
    return emitter.emit("Slice", found, emitter.ints([0]), emitter.ints([count]), emitter.ints([1]))


def _rows(value: Value, batch: Dim, *inner: int) -> tuple[Dim, ...]:
    """Return the shape that puts the rows of all images of ``value`` along its first axis, ``inner`` behind it."""
    first, *rest = value.shape or (None, None)
    if not all(isinstance(d, int) for d in rest):
        raise OptionError(f"tensor {value.name!r} of shape {list(value.shape)} has no rows that could be repeated")
    return (first if isinstance(batch, int) else None, *inner, *rest)


def _repeated(value: Value, count: int, images: Value, batch: Dim) -> Value:
    """Return ``value`` with the rows of each of ``images`` ``count`` times, one behind the other."""
    emitter, (_, *rest) = value.emitter, _rows(value, batch)
    if value.shape[0] == batch:
        apart = value.reshape((None, 1, *rest))
    else:
        sizes = emitter.ints([1, -1, *(d for d in rest if isinstance(d, int))])
        whole = emitter.emit("Concat", emitter.emit("Shape", images, start=0, end=1), sizes, axis=0)
        apart = value.reshape(whole)
    times = emitter.ints([1, count, *[1] * (len(rest) + (value.shape[0] != batch))])
    return emitter.emit("Expand", apart, times).reshape((None, *rest))


def _check(part: Cut) -> None:
    """Refuse a head in which a copy's scores depend on the other copies."""
    node = next((n for n in part.head.nodes if n.op_type == "DynamicQuantizeLinear"), None)
    if node is not None:
        raise OptionError(
            f"{node.op_type!r} (node {node.name!r}) has one scale for a whole batch: in one graph the copies would "
            "change one another's scores. Choose a layer behind it, or a model that is quantized statically."
        )


def _largest(part: Cut) -> int:
    """Return the number of elements that one image has in the largest tensor of the head."""
    types = part.head.types
    made = {o for n in part.head.nodes for o in n.output} | {i.name for i in part.head.inputs}
    known = [dims_of(types[n]) for n in made if n in types and types[n].tensor_type.HasField("shape")]
    return max(math.prod(d for d in dims if isinstance(d, int)) for dims in known)
