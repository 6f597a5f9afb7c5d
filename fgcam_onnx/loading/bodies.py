"""Operators that the standard defines by a body of others, written out."""

from __future__ import annotations

import onnx.inliner
from onnx import ModelProto, NodeProto

WRITTEN_OUT = frozenset({"Attention", "MeanVarianceNormalization", "RotaryEmbedding"})
"""Those that a backward walk knows by their body; the other functions of the standard are operators to it."""


ODD = frozenset({"left_window_size", "right_window_size"})
"""Attributes with which Attention has no formula of its own."""


def _odd(node: NodeProto) -> bool:
    """Tell all but an Attention that has a formula."""
    asks = len(node.input) > 6 or len(node.output) > 3
    return node.op_type != "Attention" or asks or any(a.name in ODD for a in node.attribute)


def written_out(proto: ModelProto) -> ModelProto:
    """Return ``proto`` with the operators in ``WRITTEN_OUT`` replaced by their bodies.

    Where onnx cannot, as for an optional input that is left out before one that is given, they stay.
    """
    found = sorted({n.op_type for n in proto.graph.node if n.op_type in WRITTEN_OUT and not n.domain and _odd(n)})
    if not found:
        return proto
    try:
        return onnx.inliner.inline_selected_functions(proto, [("", op) for op in found], inline_schema_functions=True)
    except Exception:  # onnx raises several unrelated types here
        return proto
