"""Facts known of tensors without running the model: what varies, what is non-negative, where channels are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, helper

from .memo import once
from .model import Model, TensorSpec, dims_of
from .operators import (
    ELEMENTWISE,
    KEEPS_SIGN,
    LINEAR_PREPROCESSING,
    NON_NEGATIVE,
    NORMALIZES,
    PRODUCTS,
    REARRANGES,
    SHAPES,
    SPATIAL,
    VIEWS,
)
from .quantization import units_of
from .shapes import Shape
from .subgraphs import reads

Node = NodeProto


@once
def producers_of(model: Model) -> Mapping[str, Node]:
    """Return the node that makes each tensor, by the tensor's name."""
    return {o: n for n in model.nodes for o in n.output if o}


def reached_from(model: Model, *sources: str, units: bool = True) -> set[str]:
    """Return ``sources`` and every tensor whose values depend on them.

    Without ``units``, not the scale and the zero point of what is quantized by its range: they say how numbers are
    written, as the statistics of a normalization do, and are held constant.
    """
    reached = set(sources)
    for node in model.nodes:
        if node.op_type not in SHAPES and not reached.isdisjoint(reads(node)):
            ranged = not units and node.op_type == "DynamicQuantizeLinear"
            reached.update(filter(None, node.output[:1] if ranged else node.output))
    return reached


@dataclass(frozen=True)
class Facts:
    """What is known of each tensor of a model.

    Attributes
    ----------
    varying : set of str
        Tensors that depend on a graph input, the units of what is quantized by its range aside.
    non_negative : set of str
        Tensors that are never below 0.
    channel_axis : mapping of str to int
        The axis of the channels, where the graph shows it.
    preprocessed : set of str
        The graph inputs, and what linear preprocessing inside the graph makes of them.
    """

    varying: frozenset[str]
    non_negative: frozenset[str]
    channel_axis: Mapping[str, int]
    preprocessed: frozenset[str]


@once
def facts_of(model: Model) -> Facts:
    """Return the facts of ``model``, found in a few sweeps over its nodes."""
    preprocessed = {i.name for i in model.inputs}
    varying = reached_from(model, *preprocessed, units=False)
    for node in model.nodes:
        data = [i for i in reads(node) if i in varying]
        if node.op_type in LINEAR_PREPROCESSING and len(data) == 1 and data[0] in preprocessed:
            preprocessed.add(node.output[0])
    return Facts(
        frozenset(varying),
        frozenset(_non_negative(model, varying)),
        _channel_axes(model, varying),
        frozenset(preprocessed),
    )


def _non_negative(model: Model, varying: set[str]) -> set[str]:
    found: set[str] = set()

    def known(name: str) -> bool:
        if name in found or name in varying:
            return name in found
        array = model.constants.get(name)
        return array is not None and array.dtype.kind in "fiu" and bool(np.all(array >= 0))

    units = units_of(model)
    for node in model.nodes:
        if node.output[0] not in varying:
            continue
        op = node.op_type
        read = units.get(node.output[0])
        starts_at_zero = read is not None and _starts_at_zero(model, read[1])
        if op in NON_NEGATIVE or starts_at_zero or _clips_at_zero(model, node):
            found.update(node.output)
        elif op in ("Max", "Clip"):
            if any(known(i) for i in node.input[: 1 if op == "Clip" else None]):
                found.update(node.output)
        elif op in ("Pad", "Resize", "Split", "Slice", "Gather", "Expand", "Tile") or op in VIEWS:
            mode = next((a.s for a in node.attribute if a.name == "mode"), b"")
            if known(node.input[0]) and mode != b"cubic":
                found.add(node.output[0])
                found.update(node.output if op == "Split" else [])
        elif (op in KEEPS_SIGN and all(known(i) for i in node.input[op == "Where" :] if i)) or (
            op == "Mul" and len(set(node.input)) == 1
        ):
            found.update(node.output)
    return found


def _clips_at_zero(model: Model, node: NodeProto) -> bool:
    """Tell a Clip, or a dequantized integer whose zero point is its lowest value, that cannot go below 0."""
    if node.op_type == "Clip" and len(node.input) > 1 and node.input[1] in model.constants:
        return bool(np.all(model.constants[node.input[1]] >= 0))
    return node.op_type == "DequantizeLinear" and len(node.input) > 2 and _starts_at_zero(model, node.input[2])


def _starts_at_zero(model: Model, zero_point: str) -> bool:
    """Tell whether integers with this zero point stand for nothing below 0."""
    zero = model.constants.get(zero_point)
    return zero is not None and zero.dtype.kind in "iu" and bool(np.all(zero == np.iinfo(zero.dtype).min))


def _shape(model: Model, name: str) -> Shape | None:
    kind = model.types.get(name)
    return dims_of(kind) if kind is not None and kind.tensor_type.HasField("shape") else None


def _channel_axes(model: Model, varying: set[str]) -> dict[str, int]:
    """Follow the channel axis from the spatial operators through Transpose and what keeps the axes."""
    axis: dict[str, int] = {}
    ranks = {n: len(s) for n in varying if (s := _shape(model, n)) is not None}
    for node in model.nodes:
        if node.op_type in SPATIAL:
            for name in (node.input[0], node.output[0]):
                if ranks.get(name, 0) >= 3:
                    axis[name] = 1
    for nodes in (model.nodes, list(reversed(model.nodes)), model.nodes):
        for node in nodes:
            if node.op_type in REARRANGES or not node.output:
                continue
            ends = [n for n in (*node.input, *node.output) if n in ranks]
            if node.op_type == "Transpose":
                _through_transpose(node, axis)
            elif (known := next((n for n in ends if n in axis), None)) is not None:
                for name in ends:
                    if ranks[name] == ranks[known]:
                        axis.setdefault(name, axis[known])
    for spec in model.inputs:
        if spec.name not in axis:
            axis[spec.name] = (
                _axis_by_size(spec.shape) if len(spec.shape) == 4 else _axis_of(model, spec, axis, varying)
            )
    return {name: a for name, a in axis.items() if a >= 0}


def _axis_of(model: Model, spec: TensorSpec, known: Mapping[str, int], varying: set[str]) -> int:
    """Return where the channels are of an input of other than four axes that no spatial operator reads; -1 if unclear.

    Frames (N, T, C, H, W) are folded into the batch of pictures, whose channels are known; a product with weights sums
    over the last axis of (N, T, C), step by step or of all; and a signal (N, 1, L) has one channel.
    """
    rank, same = len(spec.shape), {spec.name}
    if rank < 3:
        return -1
    for node in model.nodes:
        if same.isdisjoint(node.input) or not node.output:
            continue
        name, after = node.output[0], _shape(model, node.output[0]) or ()
        if node.op_type == "Reshape" and name in known:
            folded = (
                len(after) == rank - 1 and after[1:] == spec.shape[2:] and all(isinstance(d, int) for d in after[1:])
            )
            return known[name] + 1 if folded else -1
        if node.op_type in PRODUCTS:
            a, b = (node.input[i] for i in PRODUCTS[node.op_type])
            if a in same and b not in varying:
                return rank - 1
        elif node.op_type in ELEMENTWISE or node.op_type in NORMALIZES or _keeps_last(node):
            same.update(o for o in node.output if (_shape(model, o) or ())[-1:] == spec.shape[-1:])
    return 1 if rank == 3 and spec.shape[1] == 1 else -1


def _keeps_last(node: Node) -> bool:
    """Tell an operator that moves elements and may leave the last axis as it is."""
    perm = next((list(a.ints) for a in node.attribute if a.name == "perm"), [1, 0])
    if node.op_type == "Transpose":
        return perm[-1] == max(perm)
    return node.op_type in VIEWS or node.op_type in ("Gather", "Slice", "Split")


def _through_transpose(node: NodeProto, axis: dict[str, int]) -> None:
    perm = next((helper.get_attribute_value(a) for a in node.attribute if a.name == "perm"), None)
    x, y = node.input[0], node.output[0]
    if perm is None:
        return
    if x in axis:
        axis.setdefault(y, list(perm).index(axis[x]))
    elif y in axis:
        axis.setdefault(x, perm[axis[y]])


def _axis_by_size(shape: Shape) -> int:
    """Return where a picture's 1, 3 or 4 channels are, for inputs that no spatial operator reads; -1 if unclear."""
    few = [a for a in (1, 3) if shape[a] in (1, 3, 4)]
    return few[0] if few else -1
