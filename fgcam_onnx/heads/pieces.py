"""Pieces: what an output is joined from along an axis, followed back through the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..graph.facts import producers_of
from ..graph.model import Model, dims_of
from ..graph.tape import attributes

SAME = frozenset({"Cast", "Dropout", "Identity"})
ARITHMETIC = frozenset({"Add", "Div", "Exp", "Mul", "Pow", "Sub"})
TAKING = frozenset(
    "Cast Concat Expand Flatten Gather GatherElements GatherND Identity Max ReduceMax Reshape Slice Split Squeeze TopK "
    "Transpose Unsqueeze".split()
)
"""Operators whose elements are among those that they read."""

CUTS = frozenset({"Slice", "Split", "StridedSlice"})
DEEPEST = 64


@dataclass(frozen=True)
class Piece:
    """One of the tensors that are joined.

    Attributes
    ----------
    width : int
        Its size along the axis.
    tensor : str
    act : str
        The Sigmoid or Softmax that made its values; empty where there is none.
    scaled : bool
        Whether arithmetic follows that.
    """

    width: int
    tensor: str
    act: str
    scaled: bool


def pieces_of(model: Model, name: str, axis: int, depth: int = 0) -> list[Piece]:
    """Return what tensor ``name`` is joined from along ``axis``; one piece where it is not."""
    dims, node = _dims(model, name), producers_of(model).get(name)
    if not dims or not -len(dims) <= axis < len(dims) or depth > DEEPEST:
        return []
    axis %= len(dims)
    if node is not None and node.op_type in SAME:
        return pieces_of(model, node.input[0], axis, depth + 1)
    if node is not None and node.op_type == "Transpose":
        perm = attributes(node).get("perm", list(range(len(dims)))[::-1])
        return pieces_of(model, node.input[0], perm[axis], depth + 1)
    if node is not None and node.op_type == "Concat":
        joined = attributes(node).get("axis", 0) % len(dims)
        if joined != axis:
            return pieces_of(model, node.input[0], axis, depth + 1)
        return [p for i in node.input for p in pieces_of(model, i, axis, depth + 1)]
    if node is not None and node.op_type in ("Flatten", "Reshape", "Squeeze", "Unsqueeze"):
        before = _dims(model, node.input[0])
        at = _kept(before, dims, axis)
        if at is not None:
            found = pieces_of(model, node.input[0], at, depth + 1)
            if len(found) > 1:
                return found
    width = dims[axis]
    if not isinstance(width, int):
        return []
    act, scaled = _activation(model, name)
    return [Piece(width, name, act, scaled)]


def _kept(before: tuple[Any, ...], after: tuple[Any, ...], axis: int) -> int | None:
    """Return which axis of ``before`` is ``axis`` of ``after``: of the same size, as far from the front or the end."""
    behind = len(after) - axis - 1
    at = len(before) - behind - 1
    if at >= 0 and before[at] == after[axis] and before[at + 1 :] == after[axis + 1 :]:
        return at
    if axis < len(before) and before[axis] == after[axis] and before[1:axis] == after[1:axis]:
        return axis
    return None


def _activation(model: Model, name: str) -> tuple[str, bool]:
    """Return the Sigmoid or Softmax behind a tensor, and whether arithmetic lies between."""
    producers, scaled = producers_of(model), False
    for _ in range(DEEPEST):
        node = producers.get(name)
        if node is None:
            return "", scaled
        if node.op_type in ("Sigmoid", "Softmax"):
            return node.op_type, scaled
        if node.op_type in ARITHMETIC:
            scaled = True
        elif node.op_type not in TAKING:
            return "", scaled
        name = next((i for i in node.input if i and i not in model.constants), "")
    return "", scaled


def made_of(model: Model, name: str) -> str:
    """Return the tensor made by a Sigmoid that ``name`` is cut from, arithmetic aside; empty where there is none."""
    producers, cut = producers_of(model), False
    for _ in range(DEEPEST):
        node = producers.get(name)
        if node is None:
            return ""
        if node.op_type == "Sigmoid":
            return name if cut else ""
        if node.op_type not in TAKING and node.op_type not in ARITHMETIC:
            return ""
        cut = cut or node.op_type in CUTS
        name = next((i for i in node.input if i and i not in model.constants), "")
    return ""


def _dims(model: Model, name: str) -> tuple[Any, ...]:
    kind = model.types.get(name)
    if kind is not None and kind.tensor_type.HasField("shape"):
        return dims_of(kind)
    array = model.constants.get(name)
    return tuple(array.shape) if array is not None else ()
