"""Reach: which elements of each tensor the score depends on at all.

At the end of a vision transformer only the class token is read, so nothing of the other tokens of the last
block reaches the score and every gradient there is 0. This sweep goes back from the logits: operators that
only move elements are undone on indices, elementwise ones pass on, matrix products ask for whole rows of the
left operand and all of the right one's, a maximum takes one of many, everything else asks for all it reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from ..graph.facts import facts_of
from ..graph.memo import once
from ..graph.model import Model
from ..graph.operators import ELEMENTWISE, PRODUCTS
from ..graph.subgraphs import reads
from .movement import MOVES, NOWHERE, Sizes, attributes, moved, sizes_of
from .places import places_of, reduced_axes

Mask = NDArray[np.bool_]
"""Which elements are asked for; an array of rank 0 that is true stands for all of any shape."""

ALL: Mask = np.ones((), np.bool_)


@dataclass(frozen=True)
class Reach:
    """What the score depends on.

    Attributes
    ----------
    asked : mapping of str to Mask
        The elements of each tensor that reach the score; tensors that do not at all are absent.
    edges : mapping of (int, str) to Mask
        The same for each reader: by the index of the node, and the tensor it reads.
    """

    asked: Mapping[str, Mask]
    edges: Mapping[tuple[int, str], Mask] = field(repr=False)


@once
def reach_of(model: Model, logits: str) -> Reach:
    """Return what ``logits`` depends on, element by element where the graph shows it."""
    varying = facts_of(model).varying
    asked: dict[str, Mask] = {logits: ALL}
    edges: dict[tuple[int, str], Mask] = {}
    for position in range(len(model.nodes) - 1, -1, -1):
        node = model.nodes[position]
        if node.op_type in ("Shape", "Size") or not any(o in asked for o in node.output):
            continue
        for name, mask in _asked_by(model, node, asked):
            if name in varying and mask.any():
                key = (position, name)
                edges[key] = united(edges.get(key), mask)
                asked[name] = united(asked.get(name), mask)
    return Reach(asked, edges)


def united(a: Mask | None, b: Mask) -> Mask:
    """Return what either mask asks for."""
    if a is None:
        return b
    if not a.ndim or not b.ndim or a.shape != b.shape:
        return ALL
    both = a | b
    return ALL if both.all() else both


def _asked_by(model: Model, node: NodeProto, asked: Mapping[str, Mask]) -> Iterator[tuple[str, Mask]]:
    """Yield what ``node`` asks of each tensor that it reads, given what is asked of its outputs."""
    op, mask = node.op_type, asked.get(node.output[0])
    if op in MOVES:
        yield from _moved_back(model, node, asked)
    elif op in ("ReduceMax", "ReduceMin"):
        yield node.input[0], _one_of_many(model, node)
    elif mask is None or not mask.ndim:
        yield from ((name, ALL) for name in reads(node))
    elif op in ELEMENTWISE:
        yield from ((name, _narrowed(mask, _sizes(model, name))) for name in node.input)
    elif op in PRODUCTS:
        yield from _of_product(model, node, mask)
    elif op == "Gemm" and not attributes(node).get("transA"):
        yield node.input[0], _lines(mask, (1,), _sizes(model, node.input[0]))
        yield from ((name, ALL) for name in node.input[1:])
    elif op in ("LayerNormalization", "LogSoftmax", "QLinearSoftmax", "RMSNormalization", "Softmax"):
        axis = attributes(node).get("axis", -1) % mask.ndim
        axes = (axis,) if "Softmax" in op else tuple(range(axis, mask.ndim))
        yield node.input[0], _lines(mask, axes, mask.shape)
        yield from ((name, ALL) for name in node.input[1:])
    elif op.startswith("Reduce") and attributes(node).get("keepdims", 1):
        size = _sizes(model, node.input[0])
        fits = (
            size is not None
            and len(size) == mask.ndim
            and all(m in (1, s) for m, s in zip(mask.shape, size, strict=True))
        )
        yield node.input[0], _tidy(np.broadcast_to(mask, size)) if fits and size is not None else ALL
    else:
        yield from ((name, ALL) for name in reads(node))


def _one_of_many(model: Model, node: NodeProto) -> Mask:
    """Ask for a single position along the axes of a maximum: it takes one, and leaves the gradient of the others 0."""
    size, axes = _sizes(model, node.input[0]), reduced_axes(model, node)
    if size is None or axes is None or -1 in size:
        return ALL
    mask = np.zeros(size, np.bool_)
    mask[tuple(slice(0, 1) if not axes or i in axes else slice(None) for i in range(len(size)))] = True
    return _tidy(mask)


def _sizes(model: Model, name: str) -> Sizes | None:
    """Return the size of a tensor for one image, where it is known."""
    places = places_of(model).get(name)
    if places is not None:
        return places.at.shape
    array = model.constants.get(name)
    sizes = array.shape if array is not None else sizes_of(model, name)
    return None if sizes is None else tuple(1 if i == 0 and s == -1 else s for i, s in enumerate(sizes))


def _tidy(mask: Mask) -> Mask:
    return ALL if mask.all() else mask


def _moved_back(model: Model, node: NodeProto, asked: Mapping[str, Mask]) -> Iterator[tuple[str, Mask]]:
    """Undo a movement on the indices of what it moves."""
    masks = [asked.get(o) for o in node.output]
    data = list(node.input) if node.op_type == "Concat" else [node.input[0]]
    yield from ((name, ALL) for name in node.input if name not in data)
    whole = all(m is not None and not m.ndim for m in masks)
    if whole and node.op_type not in ("Gather", "Slice"):
        yield from ((name, ALL) for name in data)
        return
    sizes = [_sizes(model, name) for name in data]
    if any(s is None or -1 in s for s in sizes):
        yield from ((name, ALL) for name in data)
        return
    counts = [math.prod(s or ()) for s in sizes]
    starts = np.cumsum([0, *counts])
    indices = [
        np.arange(a, b, dtype=np.int32).reshape(s or ()) for a, b, s in zip(starts, starts[1:], sizes, strict=False)
    ]
    found = moved(model, node, *indices)
    needed = np.zeros(int(starts[-1]), np.bool_)
    for mask, where in zip(masks, found or (), strict=False):
        if mask is not None and mask.ndim and mask.shape != where.shape:
            found = None
        elif mask is not None:
            hit = where[mask] if mask.ndim else where
            needed[hit[hit != NOWHERE]] = True
    for name, a, b, size in zip(data, starts, starts[1:], sizes, strict=False):
        yield name, _tidy(needed[a:b].reshape(size or ())) if found is not None else ALL


def _narrowed(mask: Mask, size: Sizes | None) -> Mask:
    """Return what is asked of an operand of ``size`` that was broadcast to the shape of ``mask``."""
    if size is None or len(size) > mask.ndim:
        return ALL
    full = (1,) * (mask.ndim - len(size)) + size
    if any(f not in (1, m) for f, m in zip(full, mask.shape, strict=True)):
        return ALL
    axes = tuple(a for a, f in enumerate(full) if f != mask.shape[a])
    return _tidy((mask.any(axes, keepdims=True) if axes else mask).reshape(size))


def _lines(mask: Mask, axes: tuple[int, ...], size: Sizes | None) -> Mask:
    """Return whole lines along ``axes`` where any of their elements is asked for, of an operand of ``size``."""
    if size is None or len(size) != mask.ndim or -1 in size:
        return ALL
    any_of = mask.any(axes, keepdims=True)
    if any(a != s and i not in axes for i, (a, s) in enumerate(zip(any_of.shape, size, strict=True))):
        return ALL
    return _tidy(np.broadcast_to(any_of, size))


def _of_product(model: Model, node: NodeProto, mask: Mask) -> Iterator[tuple[str, Mask]]:
    """Ask for whole rows of the left operand, and whole columns of the right one."""
    a, b = (node.input[i] for i in PRODUCTS[node.op_type])
    for name, axis in ((a, -1), (b, -2)):
        size = _sizes(model, name)
        if size is None or len(size) < 2 or mask.ndim < 2 or -1 in size:
            yield name, ALL
            continue
        asked = np.asarray(mask.any(axis, keepdims=True))
        line = _narrowed(asked, (*size[:-1], 1) if axis == -1 else (*size[:-2], 1, size[-1]))
        yield name, _tidy(np.broadcast_to(line, size)) if line.ndim else ALL
    yield from ((name, ALL) for i, name in enumerate(node.input) if i not in PRODUCTS[node.op_type])
