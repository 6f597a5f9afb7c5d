"""Cells: what a strided window hands back, shared by all that lies in a step of its stride.

A window that is no multiple of its stride reads some positions more often than others: 1 x 1 with stride 2 a quarter of
them, 3 x 3 with stride 2 each once, twice or four times. What is handed back lies on those, a grid of dots, finer
than anything the net sees there. Each cell of stride x stride positions keeps its sum `s`, whatever lies where in it:

    m_i = s * x_i+ / sum(x+)        a share, by what lies in the cell; evenly where nothing does
    m_i = s / n                     a derivative, what a maximum hands back, and anything at the graph's input

At the graph's input a patch is a cell, too, though its windows tile evenly: what differs inside is the pattern of the
filters. A maximum hands all to the largest of its window. By what lies in the cell most would lie where two windows
meet: a position that is the largest of either gets something, and is large.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from .backward import Pullback
from .graph.facts import facts_of
from .graph.tape import Record
from .graph.value import Array, Value
from .vjp.rule import static

LEAST = 1e-20
"""What takes the place of a smaller activation, so that a cell of zeros is shared evenly."""

WINDOWS = ("AveragePool", "Conv", "LpPool", "MaxPool")

Cell = tuple[int, ...]
"""Its size along each spatial axis."""


def in_cells(pullback: Pullback, *, derivative: bool = False) -> Pullback:
    """Return ``pullback``, what it hands back through strided windows being shared within cells.

    Sums over a cell, and so over all, stay as they are. ``derivative`` is whether what it hands back is a derivative.
    """

    def walk(record: Record, given: tuple[Value | None, ...]) -> list[Value | None]:
        returned = pullback(record, given)
        x, ct = record.inputs[0] if record.inputs else None, returned[0] if returned else None
        if x is None or ct is None or not is_window(record):
            return returned
        at_input = x.emitter.origin(x) in facts_of(x.emitter.model).preprocessed
        cell = strides_of(record) if at_input else cell_of(record)
        if max(cell) == 1:
            return returned
        inside: Array = x
        evenly = derivative or at_input or record.op == "MaxPool"
        shared = evenly_shared(ct, cell) if evenly else shared_by(np.maximum(inside, LEAST), ct, cell)
        return [shared, *returned[1:]]

    return walk


def is_window(record: Record) -> bool:
    """Tell an operator (N, C, ...) that moves a window over its input."""
    return record.op in WINDOWS and not record.domain


def strides_of(record: Record) -> Cell:
    """Return how far a window moves along each spatial axis."""
    return tuple(record.attrs.get("strides") or [1] * (record.output.rank - 2))


def cell_of(record: Record) -> Cell:
    """Return the cell of a window: its strides, but 1 along an axis that it reads evenly.

    Cells begin at the first position of each axis.
    """
    strides = strides_of(record)
    dilations = record.attrs.get("dilations") or [1] * len(strides)
    windows = zip(_kernel(record), strides, dilations, strict=True)
    return tuple(1 if reads_evenly(kernel, stride, dilation) else stride for kernel, stride, dilation in windows)


def reads_evenly(kernel: int, stride: int, dilation: int = 1) -> bool:
    """Tell whether windows of ``kernel`` positions, ``dilation`` apart, read each position equally often."""
    read = Counter(i * dilation % stride for i in range(kernel))
    return len(read) == stride and len(set(read.values())) == 1


def _kernel(record: Record) -> Sequence[int]:
    weight = record.inputs[1] if record.op == "Conv" else None
    return record.attrs["kernel_shape"] if weight is None else static(weight.shape[2:])


def evenly_shared(m: Value, cell: Cell) -> Array:
    """Return the mean of ``m`` (N, C, ...) over each cell at each of its positions."""
    return _widened(_means(m, cell), cell, like=m)


def shared_by(weight: Value, m: Value, cell: Cell) -> Array:
    """Return ``m`` (N, C, ...) shared within each cell in proportion to ``weight``, which is above 0."""
    return weight * _widened(_means(m, cell) / _means(weight, cell), cell, like=m)


def _means(v: Value, cell: Cell) -> Value:
    """Return the mean over each cell; one that the edge cuts has fewer positions."""
    cut = any(size % side for size, side in zip(static(v.shape[2:]), cell, strict=True))
    sides = list(cell)
    return v.emitter.emit("AveragePool", v, kernel_shape=sides, strides=sides, ceil_mode=1 if cut else None)


def _widened(v: Value, cell: Cell, *, like: Value) -> Value:
    """Return the value of its cell at each position of ``like``."""
    e = v.emitter
    scales = e.constant(np.asarray([1, 1, *cell], np.float32))
    wide = e.emit(
        "Resize", v, None, scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    )
    sizes = static(like.shape[2:])
    over = [a for a, (size, side) in enumerate(zip(sizes, cell, strict=True)) if size % side]
    if not over:
        return wide
    starts, ends, axes = ([f(a) for a in over] for f in (lambda a: 0, lambda a: sizes[a], lambda a: a + 2))
    return e.emit("Slice", wide, e.ints(starts), e.ints(ends), e.ints(axes))
