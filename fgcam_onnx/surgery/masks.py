"""Masks as products, which a processor computes several times as fast as choices.

``where(c, g, 0)`` is ``g * c``, but for what is not finite: infinity times 0 is no number. So only where ``g`` is made
of the graph's inputs by operators that hand on finite numbers as finite ones.

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
    finite = {i.name for i in model.inputs} | {"", *(n for n, a in model.constants.items() if _all_finite(a))}
    nodes: list[NodeProto] = []
    masks: set[str] = set()
    for node in model.nodes:
        side = _chosen(node, model)
        if side is None or node.input[side] not in finite:
            nodes.append(node)
        else:
            mask = f"{PREFIX}{'mask' if side == KEPT else 'mask/not'}/{node.input[0]}"
            if mask not in masks:
                masks.add(mask)
                nodes += _mask(node.input[0], mask, turned=side == DROPPED)
            nodes.append(helper.make_node("Mul", [node.input[side], mask], list(node.output), node.name))
        if _is_finite(node, finite, model.constants):
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


def _number(constants: Mapping[str, NDArray[np.generic]], name: str) -> float | None:
    """Return a constant that is one number; None of any other tensor."""
    value = constants.get(name)
    return float(value.item()) if value is not None and value.ndim == 0 and value.dtype.kind in "biuf" else None


def _is_finite(node: NodeProto, finite: set[str], constants: Mapping[str, NDArray[np.generic]]) -> bool:
    """Tell whether the outputs of ``node`` are finite where the tensors of ``finite`` are."""
    if node.domain:
        return False
    divisor = constants.get(node.input[1]) if node.op_type == "Div" else None
    divides = divisor is not None and bool(np.asarray(divisor != 0).all())
    hands_on = node.op_type in FINITE_OF_FINITE or divides
    return node.op_type in FINITE or (hands_on and all(i in finite for i in node.input))


def _all_finite(array: NDArray[np.generic]) -> bool:
    return array.dtype.kind in "biu" or (
        array.dtype.kind == "f" and bool(np.isfinite(np.asarray(array, np.float64)).all())
    )
