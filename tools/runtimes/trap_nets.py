"""A hand-made net of what a runtime has been seen to compute wrongly, or is likely to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

CLASSES, WIDTH, SIZE = 10, 32, 32


def write_traps(path: Path) -> Path:
    """Write a net whose weights are square, strided, grouped or tied to attention, and return its path.

    A stem, a grouped and a dense convolution of stride 2, an overlapping max pool, one attention head with a residual
    sum, two square linear layers. Weights are random, seed 5.
    """
    rng = np.random.default_rng(5)

    def normal(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    c = WIDTH
    weights = {
        "stem": normal(c, 3, 3, 3),
        "grouped": normal(c, c // 4, 3, 3) * 2,
        "dense": normal(c, c, 3, 3) * 2,
        "pointwise": normal(c, c, 1, 1) * 2,
        **{n: normal(c, c) for n in ("query", "key", "value", "mixed")},
        "hidden": normal(c, c),
        "hidden_bias": normal(c),
        "head": normal(c, CLASSES),
        "tokens": np.asarray([0, c, -1]),
        "grid": np.asarray([0, c, 4, 4]),
        "scale": np.float32(c**-0.5),
    }
    graph = helper.make_graph(
        list(_nodes()),
        "traps",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def _nodes() -> list[NodeProto]:
    node = helper.make_node
    return [
        node("Conv", ["x", "stem"], ["a"], pads=[1] * 4),
        node("Relu", ["a"], ["a_relu"]),
        node("MaxPool", ["a_relu"], ["pooled"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        node("Conv", ["pooled", "grouped"], ["b"], pads=[1] * 4, strides=[2, 2], group=4),
        node("Relu", ["b"], ["b_relu"]),
        node("Conv", ["b_relu", "pointwise"], ["c"]),
        node("Add", ["c", "b_relu"], ["c_sum"]),
        node("Relu", ["c_sum"], ["c_relu"]),
        node("Conv", ["c_relu", "dense"], ["d"], pads=[1] * 4, strides=[2, 2]),
        node("Relu", ["d"], ["d_relu"]),
        node("Reshape", ["d_relu", "tokens"], ["columns"]),
        node("Transpose", ["columns"], ["t"], perm=[0, 2, 1]),
        *(node("MatMul", ["t", n], [f"t_{n}"]) for n in ("query", "key", "value")),
        node("Transpose", ["t_key"], ["t_key_t"], perm=[0, 2, 1]),
        node("MatMul", ["t_query", "t_key_t"], ["alike"]),
        node("Mul", ["alike", "scale"], ["scaled"]),
        node("Softmax", ["scaled"], ["attention"], axis=-1),
        node("MatMul", ["attention", "t_value"], ["attended"]),
        node("MatMul", ["attended", "mixed"], ["mixture"]),
        node("Add", ["mixture", "t"], ["t_sum"]),
        node("Transpose", ["t_sum"], ["columns_out"], perm=[0, 2, 1]),
        node("Reshape", ["columns_out", "grid"], ["map"]),
        node("GlobalAveragePool", ["map"], ["mean"]),
        node("Flatten", ["mean"], ["flat"]),
        node("Gemm", ["flat", "hidden", "hidden_bias"], ["h"], transB=1),
        node("Tanh", ["h"], ["h_tanh"]),
        node("MatMul", ["h_tanh", "head"], ["logits"]),
    ]
