"""Float8 between a quantizer and its inverse: rounding is passed straight through, as that of integers is."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from nets import node
from numpy.testing import assert_allclose
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from parsed import drawn, slope

from fgcam_onnx import explain


def net(*between: NodeProto, kind: int, output: str = "y", **more: np.ndarray) -> ModelProto:
    """Return a net with ``between`` from its convolution's output ``a`` to ``d``."""
    weights = {"W": drawn(1, 4, 3, 3, 3), "v": drawn(2, 4, 5), "s": np.array(0.05, np.float32), **more}
    nodes = [
        node("Conv", ["x", "W"], "a", pads=[1] * 4),
        *between,
        node("Tanh", ["d"], "c"),
        node("GlobalAveragePool", ["c"], "p"),
        node("Flatten", ["p"], "f"),
        node("MatMul", ["f", "v"], "y"),
    ]
    shape = ["N", 5] if output == "y" else ["N", 4, "h", "w"]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 6, 5])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
        [*(numpy_helper.from_array(a, n) for n, a in weights.items()), helper.make_tensor("z", kind, [], [0])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2])
def test_a_gradient_passes_float8_as_if_the_rounding_were_added(kind: int) -> None:
    rounded = [node("QuantizeLinear", ["a", "s", "z"], "q"), node("DequantizeLinear", ["q", "s"], "d")]
    x = drawn(3, 1, 3, 6, 5)
    ends = [net(*rounded, kind=kind, output=o).SerializeToString() for o in ("a", "d")]
    a, d = (onnxruntime.InferenceSession(e).run(None, {"x": x})[0] for e in ends)
    assert np.abs(a - d).max() > 1e-3
    found = explain(net(*rounded, kind=kind), x, method="saliency", target=1)
    added = net(node("Add", ["a", "offset"], "d"), kind=kind, offset=d - a)
    assert_allclose(found.map, np.abs(slope(added, {"x": x}, "x", at=(0, 1))).max(axis=1), rtol=1e-4, atol=1e-6)
