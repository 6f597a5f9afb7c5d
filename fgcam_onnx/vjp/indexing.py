"""VJPs of the operators that pick or write elements by index: what was taken is added back."""

from __future__ import annotations

import numpy as np

from ..errors import FgcamError
from ..graph.value import Value
from .movement import padded
from .rule import Rules, product
from .scattering import added


def gather_data(g: Value, y: Value, x: Value, indices: Value, *, axis: int = 0) -> Value:
    """Add each slice of ``g`` to where it was taken from."""
    e = g.emitter
    axis %= x.rank
    picked = indices.constant
    size = x.shape[axis]
    if picked is not None and picked.ndim == 0 and isinstance(size, int):
        at = int(picked) % size
        before, after = [0] * x.rank, [0] * x.rank
        before[axis], after[axis] = at, size - 1 - at
        return padded(e.emit("Unsqueeze", g, e.ints([axis])), before, after)
    if indices.rank != 1:
        g = e.reshape(g, (*x.shape[:axis], product(indices.shape), *x.shape[axis + 1 :]))
        indices = e.reshape(indices, (None,))
    order = [axis, *(a for a in range(x.rank) if a != axis)]
    back = [order.index(a) for a in range(x.rank)]
    where = e.emit("Unsqueeze", indices.astype(np.int64), e.ints([1]))
    return added("ScatterND", x.transpose(order), where, g.transpose(order)).transpose(back)


def gather_elements_data(g: Value, y: Value, x: Value, indices: Value, *, axis: int = 0) -> Value:
    """Add each element of ``g`` to where it was taken from."""
    return added("ScatterElements", x, indices, g, axis=axis)


def gather_nd_data(g: Value, y: Value, x: Value, indices: Value, *, batch_dims: int = 0) -> Value:
    """Add each slice of ``g`` to where it was taken from."""
    if batch_dims:
        e = g.emitter
        first = e.emit("Slice", indices, e.ints([0]), e.ints([1]), e.ints([indices.rank - 1]))
        ones = e.zeros_like(first, fill=1)
        own = [e.emit("CumSum", ones, e.constant(np.asarray(a)), exclusive=1) for a in range(batch_dims)]
        indices = e.emit("Concat", *own, indices, axis=-1)
    return added("ScatterND", x, indices, g)


def scatter_elements_data(
    g: Value, y: Value, x: Value, indices: Value, updates: Value, *, axis: int = 0, reduction: str = "none"
) -> Value:
    """Return ``g`` without what was overwritten."""
    if reduction == "add":
        return g
    _only_overwriting("ScatterElements", reduction)
    e = g.emitter
    return e.emit("ScatterElements", g, indices, e.zeros_like(updates), axis=axis)


def scatter_elements_updates(
    g: Value, y: Value, x: Value, indices: Value, updates: Value, *, axis: int = 0, reduction: str = "none"
) -> Value:
    """Return ``g`` where the updates were written."""
    if reduction != "add":
        _only_overwriting("ScatterElements", reduction)
    return g.emitter.emit("GatherElements", g, indices, axis=axis)


def scatter_nd_data(g: Value, y: Value, x: Value, indices: Value, updates: Value, *, reduction: str = "none") -> Value:
    """Return ``g`` without what was overwritten."""
    if reduction == "add":
        return g
    _only_overwriting("ScatterND", reduction)
    return g.emitter.emit("ScatterND", g, indices, g.emitter.zeros_like(updates))


def scatter_nd_updates(
    g: Value, y: Value, x: Value, indices: Value, updates: Value, *, reduction: str = "none"
) -> Value:
    """Return ``g`` where the updates were written."""
    if reduction != "add":
        _only_overwriting("ScatterND", reduction)
    return g.emitter.emit("GatherND", g, indices)


def _only_overwriting(op: str, reduction: str) -> None:
    if reduction != "none":
        raise FgcamError(f"{op} with reduction={reduction!r} has no gradient rule")


RULES: Rules = {
    "Gather": (gather_data,),
    "GatherElements": (gather_elements_data,),
    "GatherND": (gather_nd_data,),
    "ScatterElements": (scatter_elements_data, None, scatter_elements_updates),
    "ScatterND": (scatter_nd_data, None, scatter_nd_updates),
}
