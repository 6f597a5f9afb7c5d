"""Half precision: a float32 model with float16 weights and arithmetic, its inputs and outputs as they were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ..errors import ModelError
from ..graph.model import Model
from ..graph.quantization import MS, layout_of
from ..graph.subgraphs import CONTROL
from ..loading.loading import bind

FULL = frozenset(
    "Exp GroupNormalization InstanceNormalization LayerNormalization LogSoftmax LpNormalization"
    " MeanVarianceNormalization Pow RMSNormalization ReduceL2 ReduceLogSumExp ReduceSum ReduceSumSquare Softmax".split()
)
"""Operators that stay in float32: squares, powers and long sums pass 65504, the largest half."""

ONLY_FULL = frozenset("GridSample NonMaxSuppression Range Resize RoiAlign Upsample".split())
"""Operators that stay in float32 because a standard or a runtime has some of their inputs in no other type."""

INTEGER = frozenset({"ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "QuantizeLinear"})

HALF = "/half"
LARGEST = float(np.finfo(np.float16).max)


def halved(model: Model) -> Model:
    """Return ``model`` with weights and arithmetic in float16; inputs and outputs stay float32.

    Raises
    ------
    ModelError
        The model is quantized or holds no float32 weights, it holds graphs inside operators, or a weight is too
        large for half precision.
    """
    for node in model.nodes:
        if node.op_type in INTEGER or node.domain == MS.rstrip(".") or layout_of(node) is not None:
            raise ModelError(f"fp16 is for float models; {node.op_type} (node {node.name!r}) is quantized")
        if node.op_type in CONTROL:
            raise ModelError(f"fp16 is not for models with {node.op_type} (node {node.name!r})")
    constants = _constants(model)
    single = {n for n, t in model.types.items() if t.tensor_type.elem_type == TensorProto.FLOAT}
    ends = {i.name for i in (*model.proto.graph.input, *model.proto.graph.output)}
    stays = {o for n in model.nodes if n.op_type in FULL | ONLY_FULL for o in n.output}
    twins = (ends | stays) & single
    proto = ModelProto()
    proto.CopyFrom(model.proto)
    del proto.graph.node[:]
    for info in proto.graph.input:
        if info.name in twins:
            proto.graph.node.append(_cast(info.name, info.name + HALF, TensorProto.FLOAT16))
    for node in model.nodes:
        proto.graph.node.extend(_written(node, single, twins))
    return bind(replace(model, proto=proto, constants=constants, types={}), {})


def _constants(model: Model) -> Mapping[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for name, array in model.constants.items():
        if array.dtype == np.float32:
            if array.size and np.abs(array).max() > LARGEST:
                raise ModelError(f"weight {name!r} reaches {np.abs(array).max():g}, too large for half precision")
            array = array.astype(np.float16)
        found[name] = array
    if not any(a.dtype == np.float16 and model.constants[n].dtype == np.float32 for n, a in found.items()):
        raise ModelError("fp16 is for models with float32 weights; this one has none")
    return found


def _written(node: NodeProto, single: set[str], twins: set[str]) -> Iterator[NodeProto]:
    """Yield ``node`` in half precision, or in float32 where it stays so, with the casts that others need.

    ``twins`` are tensors that are there in float32, under their own name, and in half precision.
    """
    result = NodeProto()
    result.CopyFrom(node)
    full = node.op_type in FULL | ONLY_FULL
    for i, name in enumerate(node.input):
        if full and name in single and name not in twins:
            result.input[i] = f"{node.output[0]}/reads/{i}"
            yield _cast(name, result.input[i], TensorProto.FLOAT)
        elif not full and name in twins:
            result.input[i] = name + HALF
    after = []
    for i, name in enumerate(node.output):
        if name in twins and full:
            after.append(_cast(name, name + HALF, TensorProto.FLOAT16))
        elif name in twins:
            result.output[i] = name + HALF
            after.append(_cast(name + HALF, name, TensorProto.FLOAT))
    if not full:
        _retype(result)
    yield result
    yield from after


def _retype(node: NodeProto) -> None:
    """Write float16 where an attribute says float32."""
    for attribute in node.attribute:
        if attribute.name in ("dtype", "to") and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        if attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT:
            attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(np.float16)))


def _cast(source: str, target: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], name=target, to=kind)
