"""Places: where in the picture each element of a tensor lies, as far as the graph shows it.

Every element carries the index of its place in a grid of ``height x width``, row by row; it is handed from
the graph's input to the logits. Operators that only move elements are run on these labels, so flattening,
windows, cyclic shifts, patch merging and extra tokens need no patterns. What mixes places (attention over
its keys, a mean over tokens) ends a label; a residual sum takes it up again from the other operand.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from onnx import NodeProto

from ..graph.facts import facts_of, reached_from
from ..graph.memo import once
from ..graph.model import Model
from ..graph.operators import ELEMENTWISE, NORMALIZES, PRODUCTS, WINDOWED
from ..graph.shapes import Shape
from .movement import MOVES, NOWHERE, Labels, Sizes, attributes, moved, sizes_of


@dataclass(frozen=True, eq=False)
class Places:
    """The place of each element of a tensor.

    Attributes
    ----------
    height, width : int
        Size of the grid.
    at : ndarray of int32, of the tensor's shape with a free batch of 1
        Index into the grid, row by row; -1 for what is not of it.
    """

    height: int
    width: int
    at: Labels


@once
def places_of(model: Model, source: str | None = None) -> Mapping[str, Places]:
    """Return the places of every tensor of ``model`` whose layout the graph shows.

    With ``source`` they are places in that input's picture, and no others are known.
    """
    facts = facts_of(model)
    places: dict[str, Places] = {}
    read = [i for i in model.inputs if source in (None, i.name)]
    varying = reached_from(model, *(i.name for i in read))
    for spec in read:
        axis = facts.channel_axis.get(spec.name)
        if axis is not None and len(spec.shape) == 4 and (found := in_order(_one(spec.shape), axis)) is not None:
            places[spec.name] = found
    for node in model.nodes:
        if any(o in varying for o in node.output):
            found_here = _after(model, node, places)
            places |= {o: p for o, p in zip(node.output, found_here, strict=False) if p is not None and p.at.size and o}
    return places


def _one(shape: Shape) -> Sizes:
    """Return ``shape`` with a free batch of 1; other free dimensions stay free (-1)."""
    return tuple(d if isinstance(d, int) else 1 if i == 0 else -1 for i, d in enumerate(shape))


@functools.lru_cache(maxsize=256)
def in_order(sizes: Sizes, channel_axis: int) -> Places | None:
    """Return the places of a picture (N, C, h, w), or with its channels elsewhere, row by row."""
    if len(sizes) != 4 or -1 in sizes[1:]:
        return None
    height, width = (s for a, s in enumerate(sizes) if a not in (0, channel_axis))
    at = np.arange(height * width, dtype=np.int32).reshape(
        [1 if a in (0, channel_axis) else s for a, s in enumerate(sizes)]
    )
    return Places(height, width, np.broadcast_to(at, (max(sizes[0], 1), *sizes[1:])))


def _after(model: Model, node: NodeProto, places: Mapping[str, Places]) -> Sequence[Places | None]:
    """Return the places of the outputs of ``node``."""
    op, known = node.op_type, [places.get(i) for i in node.input]
    first = known[0] if known else None
    if op in ELEMENTWISE:
        return [merged([p for p in known if p is not None], sizes_of(model, node.output[0]))]
    if op in NORMALIZES:
        return [first]
    if op == "Concat":
        return [_concatenated(model, node, known)]
    if op in WINDOWED:
        return [_windowed(model, node, first)]
    if op in PRODUCTS:
        return [_product(model, node, *(known[i] for i in PRODUCTS[op]))]
    if first is None:
        return []
    if op in MOVES:
        arrays = moved(model, node, first.at)
        return [replace(first, at=a) for a in arrays] if arrays is not None else []
    if op == "Gemm" and not attributes(node).get("transA"):
        return [_product(model, node, first, None)]
    if op == "Attention":
        return [_product(model, node, first, None)]
    if op.startswith("Reduce"):
        return [_reduced(model, node, first)]
    return []


def first_along(at: Labels, axis: int) -> Labels:
    """Return the first labels along ``axis`` and keep it; broadcast ones stay so, which takes no memory."""
    return at[tuple(slice(0, 1) if a == axis % at.ndim else slice(None) for a in range(at.ndim))]


def constant_along(at: Labels, axis: int) -> bool:
    """Tell whether labels do not change along ``axis``."""
    return at.shape[axis] == 1 or at.strides[axis] == 0 or bool((at == first_along(at, axis)).all())


def settled(places: Places, axis: int) -> Places | None:
    """Return ``places`` with one label along ``axis``: theirs, or the block's that holds them all; else None.

    Elements of a block of neighbours that stand along an axis are a patch that is being embedded or merged.
    """
    at = places.at
    if constant_along(at, axis):
        return replace(places, at=first_along(at, axis))
    if (at == NOWHERE).any():
        return None
    y, x = np.divmod(at, np.int32(places.width))
    low, sizes = [], []
    for position, full in ((y, places.height), (x, places.width)):
        start = position.min(axis, keepdims=True)
        size = int(position.max(axis, keepdims=True).ravel()[0] - start.ravel()[0]) + 1
        if full % size or ((position // size) != start // size).any() or (start % size).any():
            return None
        low.append(start // size)
        sizes.append(full // size)
    if sizes[0] * sizes[1] == 1:
        return None
    return Places(sizes[0], sizes[1], low[0] * np.int32(sizes[1]) + low[1])


def _spread(places: Places | None, sizes: Sizes | None) -> Places | None:
    """Return ``places`` broadcast to ``sizes``; a free dimension is taken as it comes."""
    if places is None or sizes is None or len(sizes) < places.at.ndim:
        return None
    have = (1,) * (len(sizes) - places.at.ndim) + places.at.shape
    full = tuple(h if s == -1 else s for h, s in zip(have, sizes, strict=True))
    try:
        at = np.broadcast_to(places.at, np.broadcast_shapes(have, full))
    except ValueError:
        return None
    return places if at.shape == places.at.shape else replace(places, at=at)


def merged(known: Sequence[Places], sizes: Sizes | None) -> Places | None:
    """Return the places of what is made elementwise of tensors with places ``known``.

    The finer grid counts; of two orders of one grid, that of a picture.
    """
    found = [p for p in (_spread(p, sizes) for p in known) if p is not None]
    finest = max((p.height * p.width for p in found), default=0)
    best: Places | None = None
    for places in (p for p in found if p.height * p.width == finest):
        if best is None or best is places:
            best = places
            continue
        if (best.height, best.width) != (places.height, places.width):
            return None
        if best.at.shape != places.at.shape:
            best = best if best.at.size > places.at.size else places
            continue
        clash = (best.at != places.at) & (best.at != NOWHERE) & (places.at != NOWHERE)
        if not clash.any():
            best = best if (best.at != NOWHERE).sum() >= (places.at != NOWHERE).sum() else places
        elif not _is_ordered(best):
            best = places if _is_ordered(places) else None
    return best


def _is_ordered(places: Places) -> bool:
    """Tell whether labels rise along every axis on which they change."""
    return all(
        constant_along(places.at, a) or bool((np.diff(places.at, axis=a) > 0).all()) for a in range(places.at.ndim)
    )


def _concatenated(model: Model, node: NodeProto, known: Sequence[Places | None]) -> Places | None:
    """Lay labels beside each other; an operand without is nowhere, unless only features are added."""
    sizes, labelled = sizes_of(model, node.output[0]), [p for p in known if p is not None]
    if not labelled or sizes is None or len(sizes) != labelled[0].at.ndim:
        return None
    first = labelled[0]
    if any((p.height, p.width, p.at.ndim) != (first.height, first.width, first.at.ndim) for p in labelled):
        return None
    axis = attributes(node)["axis"] % len(sizes)
    if first.at.shape[axis] > 1 and all(constant_along(p.at, axis) for p in labelled):
        lines = [first_along(p.at, axis) for p in labelled]
        if all(np.array_equal(lines[0], line) for line in lines[1:]):
            return _spread(replace(first, at=lines[0]), sizes)
    parts = []
    for name, places in zip(node.input, known, strict=True):
        array = model.constants.get(name)
        own = array.shape if array is not None else sizes_of(model, name)
        if places is None and (own is None or len(own) != len(sizes) or own[axis] < 0):
            return None
        shape = [own[axis] if a == axis and own is not None else s for a, s in enumerate(first.at.shape)]
        parts.append(places.at if places is not None else np.full(shape, NOWHERE, np.int32))
    arrays = moved(model, node, *parts)
    return replace(first, at=arrays[0]) if arrays is not None else None


def _windowed(model: Model, node: NodeProto, places: Places | None) -> Places | None:
    """Keep the order of a picture through a convolution, pooling or resizing, whatever its size becomes."""
    sizes = sizes_of(model, node.output[0])
    if sizes is None or len(sizes) < 3:
        return None
    if places is None:
        return in_order(sizes, 1) if len(sizes) == 4 and sizes[0] in (-1, 1) and sizes[2:] != (1, 1) else None
    line = settled(places, 1)
    if line is None or len(sizes) != line.at.ndim:
        return None
    if sizes[2:] == line.at.shape[2:]:
        return _spread(line, sizes)
    if len(sizes) != 4 or sizes[2:] == (1, 1):
        return None
    pooled = _strided(line, (sizes[2], sizes[3]))
    if pooled is not None:
        return _spread(pooled, sizes)
    before = np.arange(line.at[0].size, dtype=np.int32).reshape(line.at.shape[1:])
    picture = line.at[0].size == line.height * line.width and (line.at == before).all()
    return in_order((line.at.shape[0], *sizes[1:]), 1) if picture else None


def _strided(places: Places, size: tuple[int, int]) -> Places | None:
    """Return the places of windows that were pooled to ``size`` by whole steps; None where they do not divide."""
    (rows, columns), at = places.at.shape[2:], places.at
    down, right = rows // max(size[0], 1), columns // max(size[1], 1)
    if min(size) < 1 or (down * size[0], right * size[1]) != (rows, columns) or (at == NOWHERE).any():
        return None
    y, x = np.divmod(at[:, :, ::down, ::right], np.int32(places.width))
    if places.height % down or places.width % right or (y % down).any() or (x % right).any():
        return None
    height, width = places.height // down, places.width // right
    return Places(height, width, y // down * np.int32(width) + x // right) if height * width > 1 else None


def _product(model: Model, node: NodeProto, a: Places | None, b: Places | None) -> Places | None:
    """Place rows of a product as the left operand's, else columns as the right one's."""
    sizes = sizes_of(model, node.output[0])
    rows = settled(a, -1) if a is not None else None
    if rows is not None or b is None or b.at.ndim < 2:
        return _spread(rows, sizes)
    return _spread(settled(b, -2), sizes)


def reduced_axes(model: Model, node: NodeProto) -> tuple[int, ...] | None:
    """Return the axes that a Reduce operator sums up, counted from 0; empty for all, None where not constant."""
    rank = len(sizes_of(model, node.input[0]) or ())
    if len(node.input) > 1 and node.input[1]:
        axes = model.constants.get(node.input[1])
        return None if axes is None or not rank else tuple(int(a) % rank for a in axes.ravel())
    given = attributes(node).get("axes", ())
    return tuple(a % rank for a in given) if rank else None


def _reduced(model: Model, node: NodeProto, places: Places) -> Places | None:
    """Keep the labels where they do not change along the axes that are reduced."""
    attrs, at, axes = attributes(node), places.at, reduced_axes(model, node)
    chosen = None if axes is None else [a % at.ndim for a in axes] or list(range(at.ndim))
    if chosen is None or not all(constant_along(at, a) for a in chosen):
        return None
    index = tuple(
        (slice(0, 1) if attrs.get("keepdims", 1) else 0) if a in chosen else slice(None) for a in range(at.ndim)
    )
    return replace(places, at=np.asarray(at[index]))
