"""Masks as products, which a processor computes several times as fast as choices.

``where(c, g, 0)`` is ``g * c``, and ``where(z < tiny, 0, r / z)`` is ``r * c / max(z, tiny)`` with ``c`` where ``z`` is
not, but for what is not finite: infinity times 0 is no number. So only where ``g`` and ``r`` are made of the graph's
inputs by operators that hand on finite numbers as finite ones.

Imports graph.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from ..graph.emitter import PREFIX
from ..graph.model import Model, is_float32

FINITE_OF_FINITE = frozenset(
    "Abs Add AveragePool BatchNormalization Cast Clip Concat Conv ConvInteger ConvTranspose DepthToSpace"
    " DequantizeLinear Dropout DynamicQuantizeLinear Einsum Elu Erf Expand Flatten Gather GatherElements GatherND Gemm"
    " GlobalAveragePool GlobalMaxPool HardSigmoid HardSwish Identity LeakyRelu MatMul MatMulInteger Max MaxPool Min Mul"
    " Neg PRelu Pad QuantizeLinear ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Resize ScatterElements"
    " ScatterND Sigmoid Sign Slice Softmax SpaceToDepth Split Squeeze Sub Sum Tanh Tile Transpose Unsqueeze"
    " Where".split()
)
"""Operators whose outputs are finite where their inputs are, and no sum or product exceeds what a float holds."""

FINITE = frozenset("And ArgMax ArgMin Equal Greater GreaterOrEqual Less LessOrEqual Not Or Shape Size Xor".split())
"""Operators whose outputs are no numbers of floating point, or a size, whatever they read."""

KEPT, DROPPED = 1, 2
"""Inputs of a choice: what it hands on where its condition holds, and where it does not."""


def masked_by_products(model: Model) -> Model:
    """Return a model whose appended choices between 0 and what is finite, of float32, are products."""
    made = {o: n for n in model.nodes for o in n.output}
    finite = {i.name for i in model.inputs} | {"", *(n for n, a in model.constants.items() if _all_finite(a))}
    nodes: list[NodeProto] = []
    masks: set[str] = set()
    for node in model.nodes:
        instead = [node]
        if (side := _chosen(node, model)) is not None:
            given, guarded = node.input[side], _guarded(node, side, made, model.constants)
            out, mask = list(node.output), f"{PREFIX}{'mask' if side == KEPT else 'mask/not'}/{node.input[0]}"
            if given in finite:
                instead = [helper.make_node("Mul", [given, mask], out, node.name)]
            elif guarded is not None and guarded[0] in finite:
                (r, z, tiny), part, least = guarded, f"{node.name}/part", f"{node.name}/least"
                instead = [
                    helper.make_node("Mul", [r, mask], [part], part),
                    helper.make_node("Max", [z, tiny], [least], least),
                    helper.make_node("Div", [part, least], out, node.name),
                ]
                finite.update(out)
            if instead != [node] and mask not in masks:
                masks.add(mask)
                nodes += _mask(node.input[0], mask, turned=side == DROPPED)
        nodes += instead
        if _is_finite(node, finite, made, model.constants):
            finite.update(node.output)
    return model.with_nodes(nodes) if masks else model


def _mask(condition: str, name: str, *, turned: bool) -> list[NodeProto]:
    """Return what makes 1 of a condition that holds, and 0 of one that does not; ``turned``, the other way round."""
    turn = [helper.make_node("Not", [condition], [f"{name}/holds"], f"{name}/holds")] if turned else []
    read = f"{name}/holds" if turned else condition
    return [*turn, helper.make_node("Cast", [read], [name], name, to=TensorProto.FLOAT)]


def _chosen(node: NodeProto, model: Model) -> int | None:
    """Return which input an appended choice between a float32 tensor and 0 hands on; None of any other node."""
    if node.op_type != "Where" or not node.name.startswith(PREFIX) or not is_float32(model, node.output[0]):
        return None
    zero = [_number(model.constants, node.input[k]) == 0 for k in (KEPT, DROPPED)]
    return DROPPED if zero[0] else KEPT if zero[1] else None


def _guarded(
    node: NodeProto, side: int, made: Mapping[str, NodeProto], constants: Mapping[str, NDArray[np.generic]]
) -> tuple[str, str, str] | None:
    """Return ``r``, ``z`` and ``tiny`` of an appended ``where(z < tiny, 0, r / z)``; None of any other choice."""
    less, quotient = made.get(node.input[0]), made.get(node.input[side])
    if side == KEPT or less is None or quotient is None or (less.op_type, quotient.op_type) != ("Less", "Div"):
        return None
    (z, tiny), (r, divisor) = less.input, quotient.input
    return (r, z, tiny) if z == divisor and (_number(constants, tiny) or 0) > 0 else None


def _number(constants: Mapping[str, NDArray[np.generic]], name: str) -> float | None:
    """Return a constant that is one number; None of any other tensor."""
    value = constants.get(name)
    return float(value.item()) if value is not None and value.ndim == 0 and value.dtype.kind in "biuf" else None


def _is_finite(
    node: NodeProto, finite: set[str], made: Mapping[str, NodeProto], constants: Mapping[str, NDArray[np.generic]]
) -> bool:
    """Tell whether the outputs of ``node`` are finite where the tensors of ``finite`` are."""
    if node.domain:
        return False
    divides = node.op_type == "Div" and _never_zero(node.input[1], made, constants)
    hands_on = node.op_type in FINITE_OF_FINITE or divides
    return node.op_type in FINITE or (hands_on and all(i in finite for i in node.input))


def _never_zero(name: str, made: Mapping[str, NodeProto], constants: Mapping[str, NDArray[np.generic]]) -> bool:
    """Tell a constant without zeros, and an appended ``max(whole, tiny)``, by which only parts of it are divided."""
    divisor, value = made.get(name), constants.get(name)
    if value is not None:
        return bool(np.asarray(value != 0).all())
    return (
        divisor is not None
        and divisor.op_type == "Max"
        and divisor.name.startswith(PREFIX)
        and any((_number(constants, i) or 0) > 0 for i in divisor.input)
    )


def _all_finite(array: NDArray[np.generic]) -> bool:
    return array.dtype.kind in "biu" or (
        array.dtype.kind == "f" and bool(np.isfinite(np.asarray(array, np.float64)).all())
    )
