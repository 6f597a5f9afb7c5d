"""Images: which images of a batch each element of a tensor depends on, as far as the graph shows it.

Every element carries a mask, of which bit i stands for image i; 0 is what all images have in common. Masks are handed
from the inputs to the outputs: operators that only move elements are run on them, what combines elements combines
their masks. So the axis of the images needs no convention, and where images are mixed is seen.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from ..graph.facts import reached_from
from ..graph.memo import once
from ..graph.model import Model
from ..graph.operators import ELEMENTWISE, PRODUCTS, SPATIAL, WINDOWED
from ..graph.shapes import Dim
from ..graph.subgraphs import CONTROL, reads
from .movement import MOVES, attributes, moved, sizes_of
from .places import constant_along, reduced_axes

Masks = NDArray[np.int32]

PROBED = 2
"""How many images stand for a free batch."""
MOST = 30
"""How many images a mask has bits for."""


@dataclass(frozen=True)
class Lie:
    """How images lie in a tensor.

    Attributes
    ----------
    axis : int or None
        The axis along which they lie, one behind the other; None where every element is of all, or of none.
    parts : int
        How many disjoint groups of images there are along it; 1 where every element is of the same, 0 where what is
        in the tensor is common to all, -1 where they are scattered over it.
    size : int
        Elements along the axis that belong to one group.
    """

    axis: int | None
    parts: int
    size: int = 1


def count_of(model: Model, source: str) -> int:
    """Return how many images are followed: those of a fixed batch, else two."""
    shape = next(i.shape for i in model.inputs if i.name == source)
    return shape[0] if shape and isinstance(shape[0], int) else PROBED


SCATTERED = Lie(None, -1)


@once
def images_of(model: Model, source: str) -> Mapping[str, Lie]:
    """Return how the images of input ``source`` lie in each tensor; those of which the graph does not show it, are out.

    Inputs whose first dimension is that of ``source`` hold what belongs to its images, row by row. Of a batch fixed at
    1 there is nothing to find out.
    """
    count, first = count_of(model, source), first_of(model, source)
    if not 1 < count <= MOST:
        return {}
    masks: dict[str, Masks | None] = {}
    for spec in model.inputs:
        sizes = sizes_of(model, spec.name)
        if sizes and spec.shape[0] == first:
            bits = np.left_shift(np.int32(1), np.arange(count, dtype=np.int32))
            full = (count, *(1 if s == -1 else s for s in sizes[1:]))
            masks[spec.name] = np.broadcast_to(bits.reshape(-1, *[1] * (len(full) - 1)), full)
    varying, last = reached_from(model, *masks), _last_readers(model)
    found = {n: lie_of(m) for n, m in masks.items() if m is not None}
    others = reached_from(model, *(i.name for i in model.inputs if i.name not in masks)) - varying
    found |= dict.fromkeys(others, Lie(None, 0))
    for index, node in enumerate(model.nodes):
        if any(o in varying for o in node.output):
            known = {n: masks.get(n) if n in varying else _common(model, n) for n in reads(node) if n}
            for name, mask in zip(node.output, _after(model, node, known, varying), strict=False):
                masks[name] = mask
                if mask is not None:
                    found[name] = lie_of(mask)
        for name in set(reads(node)):
            if last.get(name) == index:
                masks.pop(name, None)
    return found


def lie_of(masks: Masks) -> Lie:
    """Return how images lie in a tensor of ``masks``."""
    held = _held(masks)
    values = np.unique(held)
    values = values[values != 0]
    if len(values) < 2:
        return Lie(None, len(values))
    for axis in (a for a, s in enumerate(held.shape) if s > 1):
        line = np.bitwise_or.reduce(held, axis=tuple(a for a in range(held.ndim) if a != axis))
        wide = line.reshape([-1 if a == axis else 1 for a in range(held.ndim)])
        if not ((held == 0) | (held == wide)).all():
            continue
        groups = line[np.append(True, line[1:] != line[:-1])]
        disjoint = int(np.bitwise_or.reduce(groups)) == int(groups.astype(np.int64).sum())
        if disjoint and (np.diff(groups) > 0).all() and groups[0] and len(line) % len(groups) == 0:
            size = len(line) // len(groups)
            if (line == groups.repeat(size)).all():
                return Lie(axis, len(groups), size)
    return SCATTERED


def _last_readers(model: Model) -> dict[str, int]:
    return {name: i for i, node in enumerate(model.nodes) for name in reads(node)}


def _common(model: Model, name: str) -> Masks | None:
    """Return the masks of what does not depend on the images."""
    array = model.constants.get(name)
    sizes = array.shape if array is not None else sizes_of(model, name)
    return None if sizes is None else np.broadcast_to(np.int32(0), [1 if s == -1 else s for s in sizes])


Known = Mapping[str, Masks | None]


def _after(model: Model, node: NodeProto, known: Known, varying: set[str]) -> Sequence[Masks | None]:
    """Return the masks of the outputs of ``node``; None where they are not known."""
    if node.op_type in CONTROL or any(known[n] is None for n in known if n in varying):
        return []
    if node.op_type in MOVES:
        return _moved(model, node, known)
    given = [known.get(n) for n in node.input]
    if any(m is None for n, m in zip(node.input, given, strict=True) if n):
        return []
    rule = _rule(node.op_type)
    try:
        return rule(model, node, [m for m in given if m is not None])
    except (IndexError, ValueError):
        return []


def _moved(model: Model, node: NodeProto, known: Known) -> Sequence[Masks | None]:
    """Run a movement on the masks."""
    names = list(node.input) if node.op_type == "Concat" else [node.input[0]]
    data = [m for n in names if (m := known.get(n)) is not None]
    if len(data) < len(names):
        return []
    if node.op_type == "Concat":
        axis = attributes(node)["axis"] % data[0].ndim
        wide = np.maximum.reduce([m.shape for m in data])
        data = [np.broadcast_to(m, [m.shape[a] if a == axis else s for a, s in enumerate(wide)]) for m in data]
    arrays = moved(model, node, *data)
    return [] if arrays is None else [_settled(np.maximum(a, 0)) for a in arrays]


def _settled(masks: Masks) -> Masks:
    """Return ``masks`` with what is the same along an axis held once."""
    cut = tuple(slice(0, 1) if constant_along(masks, a) else slice(None) for a in range(masks.ndim))
    return np.broadcast_to(masks[cut].copy(), masks.shape)


def _held(masks: Masks) -> Masks:
    """Return ``masks`` with axes along which they are the same by their strides cut to 1."""
    return masks[tuple(slice(0, 1) if s == 0 else slice(None) for s in masks.strides)]


def _either(*many: Masks) -> Masks:
    """Return the masks of what is made elementwise."""
    shape = np.broadcast_shapes(*(m.shape for m in many))
    rank = len(shape)
    total = functools.reduce(np.bitwise_or, (_held(m).reshape((1,) * (rank - m.ndim) + _held(m).shape) for m in many))
    return np.broadcast_to(total, shape)


def _along(masks: Masks, axes: Sequence[int]) -> Masks:
    """Return ``masks`` where elements along ``axes`` are combined, of the same shape."""
    chosen = tuple(a % masks.ndim for a in axes)
    held = _held(masks)
    return np.broadcast_to(np.bitwise_or.reduce(held, axis=chosen, keepdims=True), masks.shape)


def _sized(model: Model, node: NodeProto, masks: Masks, *, output: int = 0) -> Masks:
    """Return ``masks``, constant along all axes on which the output is of another size, in the output's shape."""
    sizes = sizes_of(model, node.output[output])
    if sizes is None or len(sizes) != masks.ndim:
        raise ValueError(node.op_type)
    full = tuple(m if s == -1 else s for m, s in zip(masks.shape, sizes, strict=True))
    if any(m != s and not constant_along(masks, a) for a, (m, s) in enumerate(zip(masks.shape, full, strict=True))):
        raise ValueError(node.op_type)
    cut = tuple(slice(None) if m == s else slice(0, 1) for m, s in zip(masks.shape, full, strict=True))
    return np.broadcast_to(masks[cut], full)


Rule = Callable[[Model, NodeProto, list[Masks]], Sequence[Masks]]


def _rule(op: str) -> Rule:
    if op in ELEMENTWISE:
        return RULES.get(op, lambda model, node, given: [_either(*given)])
    if op in PRODUCTS:
        return _product
    if op in RULES:
        return RULES[op]
    if op in WINDOWED or op in SPATIAL:
        return _behind_first
    return _reduced if op.startswith(("Arg", "Reduce")) else _by_row


def _behind_first(model: Model, node: NodeProto, given: list[Masks]) -> Sequence[Masks]:
    """Combine all that is in a row of the first axis."""
    x, *others = given
    rows = _along(x, range(1, x.ndim))
    if any(m.any() for m in others):
        raise ValueError(node.op_type)
    return [_sized(model, node, rows)]


def _product(model: Model, node: NodeProto, given: list[Masks]) -> Sequence[Masks]:
    """Combine a row of the left operand with a column of the right one."""
    a, b = (given[i] for i in PRODUCTS[node.op_type])
    if a.ndim < 2 or b.ndim < 2:
        raise ValueError(node.op_type)
    rows, columns = _along(a, [-1])[..., :1], _along(b, [-2])[..., :1, :]
    return [_either(np.broadcast_to(rows, (*rows.shape[:-1], b.shape[-1])), columns)]


def _gemm(model: Model, node: NodeProto, given: list[Masks]) -> Sequence[Masks]:
    attrs = attributes(node)
    a = given[0].T if attrs.get("transA") else given[0]
    b = given[1].T if attrs.get("transB") else given[1]
    rows, columns = _along(a, [1])[:, :1], _along(b, [0])[:1]
    return [_either(np.broadcast_to(rows, (a.shape[0], b.shape[1])), columns, *given[2:])]


def _reduced(model: Model, node: NodeProto, given: list[Masks]) -> Sequence[Masks]:
    """Combine along the axes that are reduced."""
    attrs, x = attributes(node), given[0]
    axes = (attrs.get("axis", 0) % x.ndim,) if node.op_type.startswith("Arg") else reduced_axes(model, node)
    if axes is None:
        raise ValueError(node.op_type)
    if not axes and attrs.get("noop_with_empty_axes", 0):
        return [x]
    chosen = axes or tuple(range(x.ndim))
    keep = slice(0, 1) if attrs.get("keepdims", 1) else 0
    return [_along(x, chosen)[tuple(keep if a in chosen else slice(None) for a in range(x.ndim))]]


def _axis(default: int, *, to_end: bool = False) -> Rule:
    """Return the rule of what looks along one axis, or along all from there on."""

    def rule(model: Model, node: NodeProto, given: list[Masks]) -> Sequence[Masks]:
        x = given[0]
        axis = attributes(node).get("axis", default) % x.ndim
        return [_either(_along(x, range(axis, x.ndim) if to_end else [axis]), *given[1:])]

    return rule


def _top(model: Model, node: NodeProto, given: list[Masks]) -> Sequence[Masks]:
    x = _along(given[0], [attributes(node).get("axis", -1)])
    return [_sized(model, node, x), _sized(model, node, x, output=1)]


def _mean_variance(model: Model, node: NodeProto, given: list[Masks]) -> Sequence[Masks]:
    return [_along(given[0], attributes(node).get("axes", (0, 2, 3)))]


def _cumulated(model: Model, node: NodeProto, given: list[Masks]) -> Sequence[Masks]:
    axis = model.constants.get(node.input[1])
    return [_along(given[0], range(given[0].ndim) if axis is None else [int(axis.ravel()[0])])]


def _dynamic(model: Model, node: NodeProto, given: list[Masks]) -> Sequence[Masks]:
    """Follow the values; the scale, one for a whole batch, is taken for common."""
    return [given[0], *[np.zeros((), np.int32)] * 2]


def _by_row(model: Model, node: NodeProto, given: list[Masks]) -> Sequence[Masks]:
    """Take an operator that is not known for one that works row by row where images lie along the first axis only."""
    if any(not constant_along(m, a) for m in given for a in range(1, m.ndim)):
        raise ValueError(node.op_type)
    lines = [m.reshape(len(m), -1)[:, 0] for m in given if m.ndim and m.any()]
    if not lines:
        raise ValueError(node.op_type)
    found: list[Masks] = []
    for name in node.output:
        sizes = sizes_of(model, name) if name else ()
        if sizes is None or any(sizes and sizes[0] not in (-1, len(line)) for line in lines):
            raise ValueError(node.op_type)
        line = functools.reduce(np.bitwise_or, lines).reshape(-1, *[1] * (len(sizes) - 1))
        found.append(np.broadcast_to(line, (len(line), *(1 if s == -1 else s for s in sizes[1:]))))
    return found


RULES: dict[str, Rule] = {
    "BatchNormalization": lambda model, node, given: [given[0]],
    "CumSum": _cumulated,
    "DynamicQuantizeLinear": _dynamic,
    "Gemm": _gemm,
    "Hardmax": _axis(-1),
    "LayerNormalization": _axis(-1, to_end=True),
    "LogSoftmax": _axis(-1),
    "LpNormalization": _axis(-1),
    "MeanVarianceNormalization": _mean_variance,
    "QLinearSoftmax": _axis(-1),
    "RMSNormalization": _axis(-1, to_end=True),
    "Softmax": _axis(-1),
    "TopK": _top,
}
"""What becomes of masks where it is not what the operator's family says."""


def first_of(model: Model, source: str) -> Dim:
    """Return the first dimension of input ``source``; None where it has none."""
    shape = next(i.shape for i in model.inputs if i.name == source)
    return shape[0] if shape else None
