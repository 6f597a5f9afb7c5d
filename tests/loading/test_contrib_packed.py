"""Attention over texts packed end to end, which runs on CUDA alone, is refused with what else would do."""

from __future__ import annotations

import numpy as np
import pytest
from nets import model_of, node
from onnx import ModelProto
from spec import normal

from fgcam_onnx import Explainer, load
from fgcam_onnx.errors import UnsupportedOperatorError
from fgcam_onnx.graph.model import dims_of


def packed(op: str) -> ModelProto:
    """Return a net of patches whose attention is ``op``."""
    weights = {
        "w": np.float32(normal(8, 3, 4, 4)), "qkv": np.float32(normal(8, 24)), "b": np.zeros(24, np.float32),
        "rows": np.array([-1, 8]), "grid": np.array([-1, 4, 8]), "offset": np.zeros((1, 4), np.int32),
        "lengths": np.array([0, 4], np.int32), "v": np.float32(normal(8, 3)), "one": np.array([1]),
    }  # fmt: skip
    given = ["r", "qkv", "b"] if op == "PackedAttention" else ["r", "r", "r", ""]
    nodes = [
        node("Conv", ["x", "w"], "a", strides=[4, 4]),
        node("Transpose", ["a"], "t", perm=[0, 2, 3, 1]),
        node("Reshape", ["t", "rows"], "r"),
        node(op, [*given, "offset", "lengths"], "p", domain="com.microsoft", num_heads=2),
        node("Reshape", ["p", "grid"], "g"),
        node("ReduceMean", ["g", "one"], "m", keepdims=0),
        node("MatMul", ["m", "v"], "y"),
    ]
    return model_of(nodes, weights, inputs={"x": [1, 3, 8, 8]}, outputs=["y"], domains=["com.microsoft"])


@pytest.mark.parametrize("op", ["PackedAttention", "PackedMultiHeadAttention"])
def test_packed_attention_has_a_size_and_no_rule(op: str) -> None:
    model = load(packed(op))
    assert dims_of(model.types["p"]) == (4, 8)
    with pytest.raises(UnsupportedOperatorError, match="without packing, which writes Attention, or choose a layer"):
        Explainer(model, method="saliency")
