"""What onnx's type inference leaves out."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import ModelProto

KEEPS_TYPE = frozenset({"GroupNormalization", "MeanVarianceNormalization"})
"""Functions of the standard that onnx finds no type for: their output has the type of their input."""


def infer_shapes(proto: ModelProto, **options: Any) -> ModelProto:
    """Infer shapes as onnx does, through the operators that it stops at as well."""
    kept = {i: n for i, n in enumerate(proto.graph.node) if n.op_type in KEEPS_TYPE and not n.domain}
    if not kept:
        return onnx.shape_inference.infer_shapes(proto, **options)
    stand_in = ModelProto()
    stand_in.CopyFrom(proto)
    for i, node in kept.items():
        identity = onnx.helper.make_node("Identity", node.input[:1], node.output, name=node.name)
        stand_in.graph.node[i].CopyFrom(identity)
    typed = onnx.shape_inference.infer_shapes(stand_in, **options)
    for i, node in kept.items():
        typed.graph.node[i].CopyFrom(node)
    return typed
