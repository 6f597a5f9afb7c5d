"""What the operators that only move elements do, on arrays: run on labels, they tell where each element went."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from ..graph.model import Model, dims_of

Labels = NDArray[np.int32]
Sizes = tuple[int, ...]

NOWHERE = -1
"""The label of an element that is nobody's: a pad, an extra token."""


@dataclass(frozen=True)
class Move:
    """One movement operator: its attributes, constant inputs, and the sizes of its outputs (-1 where free)."""

    attrs: dict[str, Any]
    constants: Sequence[NDArray[Any] | None]
    sizes: Sequence[Sizes]

    def ints(self, position: int) -> list[int]:
        """Return a constant input as a list.

        Raises
        ------
        LookupError
            The input is not constant.
        """
        array = self.constants[position] if position < len(self.constants) else None
        if array is None:
            raise LookupError(position)
        return [int(i) for i in array.ravel()]

    def given(self, position: int) -> bool:
        """Tell whether an input is constant."""
        return position < len(self.constants) and self.constants[position] is not None


def _slice(m: Move, x: Labels) -> list[Labels]:
    starts, ends = m.ints(1), m.ints(2)
    axes = m.ints(3) if m.given(3) else list(range(len(starts)))
    steps = m.ints(4) if m.given(4) else [1] * len(starts)
    cut = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = x.shape[axis]
        start = max(start, -size)
        past = end if end >= 0 or step > 0 or end + size >= 0 else None
        cut[axis] = slice(start, past, step)
    return [x[tuple(cut)]]


def _gather(m: Move, x: Labels) -> list[Labels]:
    indices = m.constants[1]
    if indices is None:
        raise LookupError(1)
    return [np.take(x, indices.astype(np.int64), axis=m.attrs.get("axis", 0))]


def _split(m: Move, x: Labels) -> list[Labels]:
    axis = m.attrs.get("axis", 0)
    sizes = m.ints(1) if m.given(1) else [s[axis] for s in m.sizes]
    return list(np.split(x, np.cumsum(sizes)[:-1], axis=axis))


def _pad(m: Move, x: Labels) -> list[Labels]:
    pads = m.ints(1)
    axes = m.ints(3) if m.given(3) else list(range(x.ndim))
    width = [(0, 0)] * x.ndim
    for i, axis in enumerate(axes):
        width[axis] = (pads[i], pads[i + len(axes)])
    if any(p < 0 for pair in width for p in pair):
        raise LookupError(1)
    mode = m.attrs.get("mode", b"constant").decode()
    if mode == "constant":
        return [np.pad(x, width, constant_values=NOWHERE)]
    return [np.pad(x, width, mode=mode)]


def _space_to_depth(m: Move, x: Labels) -> list[Labels]:
    n, c, h, w = x.shape
    b = m.attrs["blocksize"]
    blocks = x.reshape(n, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4)
    return [blocks.reshape(n, c * b * b, h // b, w // b)]


def _depth_to_space(m: Move, x: Labels) -> list[Labels]:
    n, c, h, w = x.shape
    b = m.attrs["blocksize"]
    if m.attrs.get("mode", b"DCR") == b"DCR":
        blocks = x.reshape(n, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        blocks = x.reshape(n, c // (b * b), b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    return [blocks.reshape(n, c // (b * b), h * b, w * b)]


def _reshape(m: Move, x: Labels) -> list[Labels]:
    return [x.reshape(m.sizes[0])]


MOVES: dict[str, Callable[..., list[Labels]]] = {
    "Concat": lambda m, *xs: [np.concatenate(xs, axis=m.attrs["axis"])],
    "DepthToSpace": _depth_to_space,
    "Expand": lambda m, x: [np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(m.ints(1))))],
    "Flatten": _reshape,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _reshape,
    "Tile": lambda m, x: [np.tile(x, m.ints(1))],
    "Transpose": lambda m, x: [x.transpose(m.attrs.get("perm"))],
    "Unsqueeze": _reshape,
}
"""Movement operators by name; each takes its :class:`Move` and the labels of its data inputs."""


def attributes(node: NodeProto) -> dict[str, Any]:
    """Return the attributes of ``node`` as plain values."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def sizes_of(model: Model, name: str) -> Sizes | None:
    """Return the size of a tensor for one image, -1 where one dimension is free; None where it is not known."""
    kind = model.types.get(name)
    if kind is None or not kind.tensor_type.HasField("shape"):
        return None
    dims = [d if isinstance(d, int) else -1 for d in dims_of(kind)]
    if dims.count(-1) > 1:
        dims[dims.index(-1)] = 1
    return tuple(dims) if dims.count(-1) <= 1 else None


def moved(model: Model, node: NodeProto, *data: Labels) -> list[Labels] | None:
    """Return where a movement operator puts the labels ``data``; None where the graph does not say."""
    sizes = [sizes_of(model, o) for o in node.output]
    if any(s is None for s in sizes):
        return None
    move = Move(attributes(node), [model.constants.get(i) for i in node.input], [s or () for s in sizes])
    try:
        return MOVES[node.op_type](move, *data)
    except (LookupError, ValueError):
        return None
