"""VJPs of the operators that move elements: each is the adjoint of a selection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import FgcamError
from ..graph.value import Value
from .rule import AllOutputs, EachInput, Rules, product, static
from .scattering import added
from .separable import apply_along, identity


def like_input(g: Value, y: Value, x: Value, *rest: Value, **attributes: Any) -> Value:
    """Give ``g`` the shape of ``x`` again."""
    return g.emitter.reshape_like(g, x)


def flatten_x(g: Value, y: Value, x: Value, *, axis: int = 1) -> Value:
    """Give ``g`` the shape of ``x`` again."""
    return like_input(g, y, x)


def reshape_x(g: Value, y: Value, x: Value, shape: Value, *, allowzero: int = 0) -> Value:
    """Give ``g`` the shape of ``x`` again."""
    return like_input(g, y, x)


def transpose_x(g: Value, y: Value, x: Value, *, perm: Sequence[int] | None = None) -> Value:
    """Permute the axes back."""
    order = list(perm) if perm is not None else list(range(x.rank))[::-1]
    return g.transpose([order.index(a) for a in range(x.rank)])


def concat(i: int, g: Value, y: Value, *xs: Value, axis: int) -> Value:
    """Split ``g`` into what belongs to each input, once for all of them: equal nodes are emitted once."""
    axis %= y.rank
    e, dims = g.emitter, [x.shape[axis] for x in xs]
    if all(isinstance(d, int) for d in dims):
        return e.emit_many("Split", g, e.ints(static(dims)), axis=axis, count=len(xs))[i]
    found = [e.emit("Shape", x, start=axis, end=axis + 1) for x in xs[: i + 1]]
    start: Value = sum(found[:i], e.ints([0]))
    return e.emit("Slice", g, start, start + found[i], e.ints([axis]))


def split_x(
    g: Any, y: Any, x: Value, split: Value | None = None, *, axis: int = 0, num_outputs: int | None = None
) -> Value:
    """Join the parts again; a part that leads nowhere counts as zeros."""
    e = x.emitter
    return e.emit(
        "Concat",
        *(e.zeros_like(o) if p is None else p for p, o in zip(g, y, strict=True)),
        axis=axis,
    )


def slice_x(
    g: Value,
    y: Value,
    x: Value,
    starts: Value,
    ends: Value,
    axes: Value | None = None,
    steps: Value | None = None,
) -> Value:
    """Put ``g`` back where it was cut from, zeros elsewhere."""
    e = g.emitter
    bounds = [
        v.constant.ravel() if v is not None and v.constant is not None else None for v in (starts, ends, axes, steps)
    ]
    computed = any(v is not None and b is None for v, b in zip((starts, ends, axes, steps), bounds, strict=True))
    if computed or bounds[0] is None or bounds[1] is None:
        return _by_number(g, x, starts, ends, axes, steps)
    begin, end = [int(b) for b in bounds[0]], [int(b) for b in bounds[1]]
    over = [int(a) % x.rank for a in bounds[2]] if bounds[2] is not None else list(range(len(begin)))
    by = [int(s) for s in bounds[3]] if bounds[3] is not None else [1] * len(begin)
    before, after, whole = [0] * x.rank, [0] * x.rank, g
    for a, b, s, step in zip(over, begin, end, by, strict=True):
        if not isinstance(x.shape[a], int) and (b, step) == (0, 1) and s >= np.iinfo(np.int32).max:
            continue
        size = x.shape[a]
        if not isinstance(size, int):
            return _by_number(whole, x, starts, ends, axes, steps)
        picked = _picked(size, b, s, step)
        if step < 0:
            last = e.ints([np.iinfo(np.int64).min])
            g = e.emit("Slice", g, e.ints([-1]), last, e.ints([a]), e.ints([-1]))
            picked = picked[::-1]
        if abs(step) > 1:
            g = _spaced(g, a, abs(step))
        if len(picked):
            before[a], after[a] = picked[0], size - 1 - picked[-1]
        else:
            before[a], after[a] = 0, size
    return padded(g, before, after)


def _by_number(g: Value, x: Value, *bounds: Value | None) -> Value:
    """Put ``g`` where the same Slice takes the elements' numbers from: bounds or sizes are known when it runs."""
    e = g.emitter
    count = e.emit("Size", x)
    every = e.emit("Range", e.constant(np.array(0)), count, e.constant(np.array(1)))
    given = bounds[: max(i + 1 for i, b in enumerate(bounds) if b is not None)]
    taken = e.emit("Slice", e.emit("Reshape", every, e.emit("Shape", x)), *given)
    flat = e.emit("Reshape", x, e.ints([-1]))
    spread = added("ScatterElements", flat, e.emit("Reshape", taken, e.ints([-1])), g.reshape((None,)), axis=0)
    return e.reshape_like(spread, x)


def _picked(size: int, start: int, end: int, step: int) -> range:
    """Return the elements that a Slice takes; a start before the first counts as the first, also backwards."""
    lowest, highest = (0, size) if step > 0 else (-1, size - 1)
    first, last = (e + size if e < 0 else e for e in (start, end))
    return range(min(max(first, 0), highest), min(max(last, lowest), highest), step)


def _spaced(g: Value, axis: int, step: int) -> Value:
    """Insert ``step - 1`` zeros between the elements of ``axis``."""
    e = g.emitter
    (size,) = static([g.shape[axis]])
    wide = e.emit("Unsqueeze", g, e.ints([axis + 1]))
    ends = [0] * wide.rank
    ends[axis + 1] = step - 1
    spread = padded(wide, [0] * wide.rank, ends)
    joined = spread.reshape((*g.shape[:axis], size * step, *g.shape[axis + 1 :]))
    return e.emit("Slice", joined, e.ints([0]), e.ints([(size - 1) * step + 1]), e.ints([axis]))


def padded(g: Value, before: Sequence[int], after: Sequence[int]) -> Value:
    """Return ``g`` with zeros around it."""
    if not any(before) and not any(after):
        return g
    return g.emitter.emit("Pad", g, g.emitter.ints([*before, *after]))


def pad_x(
    g: Value, y: Value, x: Value, pads: Value, value: Value | None = None, axes: Value | None = None,
    *, mode: str = "constant",
) -> Value:  # fmt: skip
    """Cut the padding off; reflected, repeated and wrapped elements add to where they came from."""
    e = g.emitter
    if pads.constant is None or (axes is not None and axes.constant is None):
        if mode != "constant":
            raise FgcamError(f"a Pad with computed pads and mode={mode!r} has no gradient rule")
        return e.typed_as(x, e.emit("Pad", g, -pads, None, axes))
    named = [int(a) % x.rank for a in axes.constant] if axes is not None and axes.constant is not None else None
    over = named if named is not None else list(range(x.rank))
    widths = [int(p) for p in pads.constant]
    pairs = {a: (widths[i], widths[len(over) + i]) for i, a in enumerate(over)}
    pairs = {a: p for a, p in pairs.items() if p != (0, 0)}
    if not pairs:
        return g
    if mode != "constant":
        return apply_along(g, {a: _padded(g, static([x.shape[a]])[0], p, mode) for a, p in pairs.items()})
    starts = [max(0, p[0]) for p in pairs.values()]
    ends = [max(0, p[0]) + static([x.shape[a]])[0] + min(0, p[0]) + min(0, p[1]) for a, p in pairs.items()]
    inner = e.emit("Slice", g, e.ints(starts), e.ints(ends), e.ints(list(pairs)))
    cut = [[max(0, -pairs.get(a, (0, 0))[side]) for a in range(x.rank)] for side in (0, 1)]
    return padded(inner, cut[0], cut[1])


def pad_value(
    g: Value,
    y: Value,
    x: Value,
    pads: Value,
    value: Value,
    axes: Value | None = None,
    *,
    mode: str = "constant",
) -> Value:
    """Sum ``g`` over the padding."""
    around = g.sum() - pad_x(g, y, x, pads, value, axes, mode=mode).sum()
    return g.emitter.reshape_like(around, value)


def _padded(g: Value, size: int, pads: tuple[int, int], mode: str) -> Value:
    """Return the (size, out) matrix that pads one axis."""
    e, out = g.emitter, size + sum(pads)
    made = e.emit("Pad", identity(g, size, out), e.ints([0, 0, pads[0], 0, 0, pads[1]]), mode=mode)
    return made.reshape((size, out))


def expand_x(g: Value, y: Value, x: Value, shape: Value) -> Value:
    """Return ``g``: the caller sums broadcast axes away."""
    return g


def tile_x(g: Value, y: Value, x: Value, repeats: Value) -> Value:
    """Sum the copies."""
    if repeats.constant is None:
        raise FgcamError("a Tile with computed repeats has no gradient rule")
    for a, n in reversed(list(enumerate(int(r) for r in repeats.constant))):
        if n > 1:
            g = g.reshape((*g.shape[:a], n, x.shape[a], *g.shape[a + 1 :])).sum(a)
    return g


def col2im_x(
    g: Value, y: Value, x: Value, image_shape: Value, block_shape: Value,
    *, dilations: Sequence[int] | None = None, pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Value:  # fmt: skip
    """Cut ``g`` into blocks again: a convolution, one kernel for each place in a block."""
    if block_shape.constant is None:
        raise FgcamError("a Col2Im with a computed block has no gradient rule")
    e, kernel = g.emitter, [int(k) for k in block_shape.constant]
    places = int(np.prod(kernel))
    each = e.constant(np.eye(places, dtype=g.dtype).reshape(places, 1, *kernel))
    planes = e.reshape(g, (product(g.shape[:2]), 1, *g.shape[2:]))
    return e.reshape_like(e.emit("Conv", planes, each, dilations=dilations, pads=pads, strides=strides), x)


def depth_to_space_x(g: Value, y: Value, x: Value, *, blocksize: int, mode: str = "DCR") -> Value:
    """Move each block back into the channels."""
    batch, channels, height, width = x.shape
    (c,) = static([channels])
    b, depth = blocksize, c // blocksize**2
    split = g.reshape((batch, depth, height, b, width, b))
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return g.emitter.reshape_like(split.transpose(order), x)


def space_to_depth_x(g: Value, y: Value, x: Value, *, blocksize: int, mode: str = "DCR") -> Value:
    """Move the channels back into blocks."""
    return g.emitter.emit("DepthToSpace", g, blocksize=blocksize, mode=mode)


def trilu_x(g: Value, y: Value, x: Value, k: Value | None = None, *, upper: int = 1) -> Value:
    """Keep the same triangle of ``g``."""
    return g.emitter.emit("Trilu", g, k, upper=upper)


RULES: Rules = {
    "Col2Im": (col2im_x,),
    "Concat": EachInput(concat),
    "DepthToSpace": (depth_to_space_x,),
    "Expand": (expand_x,),
    "Flatten": (flatten_x,),
    "Pad": (pad_x, None, pad_value),
    "Reshape": (reshape_x,),
    "Slice": (slice_x,),
    "SpaceToDepth": (space_to_depth_x,),
    "Split": AllOutputs((split_x,)),
    "Squeeze": (lambda g, y, x, axes=None: like_input(g, y, x),),
    "Tile": (tile_x,),
    "Transpose": (transpose_x,),
    "Trilu": (trilu_x,),
    "Unsqueeze": (lambda g, y, x, axes: like_input(g, y, x),),
}
