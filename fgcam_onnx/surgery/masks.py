"""Masks as products, which a processor computes several times as fast as choices.

``where(c, g, 0)`` is ``g * c``, but for what is not finite: infinity times 0 is no number. So only where ``g`` is made
of the graph's inputs by operators that hand on finite numbers as finite ones.

Imports graph.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import NodeProto, TensorProto, helper

from ..graph.emitter import PREFIX
from ..graph.model import Model, is_float32
from .quotients import FLOORED

FINITE_OF_FINITE = frozenset(
    "Abs Add AveragePool BatchNormalization Cast Clip Concat Conv ConvInteger ConvTranspose DepthToSpace"
    " DequantizeLinear Dropout DynamicQuantizeLinear Einsum Elu Expand Flatten Gather GatherElements GatherND Gemm"
    " GlobalAveragePool GlobalMaxPool HardSwish Identity LeakyRelu MatMul MatMulInteger Max MaxPool Min Mul Neg PRelu"
    " Pad QuantizeLinear ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Resize ScatterElements ScatterND Slice"
    " SpaceToDepth Split Squeeze Sub Sum Tile Transpose Unsqueeze Where".split()
)
"""Operators whose outputs are finite where their inputs are, and no sum or product exceeds what a float holds."""

FINITE = frozenset(
    "And ArgMax ArgMin ConstantOfShape Equal Erf Greater GreaterOrEqual HardSigmoid Less LessOrEqual Not OneHot Or"
    " Range Shape Sigmoid Sign Size Softmax Tanh Xor".split()
)
"""Operators whose outputs are finite whatever they read."""

KEPT, DROPPED = 1, 2
"""Inputs of a choice: what it hands on where its condition holds, and where it does not."""


def masked_by_products(model: Model) -> Model:
    """Return a model whose appended ``where(c, g, 0)`` and ``where(c, 0, g)`` of finite float32 ``g`` are products."""
    finite, made = _finite(model), dict[str, NodeProto]()
    nodes: list[NodeProto] = []
    for node in model.nodes:
        side = _chosen(node, model)
        if side is None or node.input[side] not in finite:
            nodes.append(node)
            continue
        name = node.input[0]
        for op, to in (("Not", None), ("Cast", TensorProto.FLOAT))[side == KEPT :]:
            name, read = f"{PREFIX}{op}/{name}", name
            if name not in made:
                made[name] = helper.make_node(op, [read], [name], name, to=to)
                nodes.append(made[name])
        nodes.append(helper.make_node("Mul", [node.input[side], name], list(node.output), name=node.name))
    return model.with_nodes(nodes) if made else model


def _chosen(node: NodeProto, model: Model) -> int | None:
    """Return which input an appended choice between a float32 tensor and 0 hands on; None of any other node."""
    if node.op_type != "Where" or not node.name.startswith(PREFIX) or not is_float32(model, node.output[0]):
        return None
    return DROPPED if _is_zero(model, node.input[KEPT]) else KEPT if _is_zero(model, node.input[DROPPED]) else None


def _is_zero(model: Model, name: str) -> bool:
    value = model.constants.get(name)
    return value is not None and value.ndim == 0 and not value


def _finite(model: Model) -> set[str]:
    """Return the tensors that are finite where the graph's inputs are."""
    finite = {i.name for i in model.inputs} | {"", *(n for n, a in model.constants.items() if _all_finite(a))}
    for node in model.nodes:
        told: Callable[[str], bool] = finite.__contains__
        divides = node.op_type == "Div" and _never_zero(model, node.input[1])
        if not node.domain and (
            node.op_type in FINITE or ((node.op_type in FINITE_OF_FINITE or divides) and all(map(told, node.input)))
        ):
            finite.update(node.output)
    return finite


def _never_zero(model: Model, name: str) -> bool:
    value = model.constants.get(name)
    return name.endswith(FLOORED) if value is None else bool(value.all())


def _all_finite(array: np.ndarray) -> bool:
    return array.dtype.kind in "biu" or (array.dtype.kind == "f" and bool(np.isfinite(array).all()))
