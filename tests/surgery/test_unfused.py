"""Operators on integers written between quantizers compute what they did."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from fgcam_onnx import load
from fgcam_onnx.runtime import Session
from fgcam_onnx.surgery.unfused import real_output, stored_as, unfused

Array = np.ndarray[Any, Any]
MS = "com.microsoft"


def quantized_net(*, y_scale: float = 0.05) -> ModelProto:
    """QuantizeLinear, QLinearConv (a scale for each channel), MaxPool, QLinearAdd, QLinearGlobalAveragePool, QGemm."""
    rng = np.random.default_rng(5)
    constants: dict[str, Array] = {
        "xs": np.float32(0.02),
        "xz": np.uint8(120),
        "w": rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
        "ws": rng.uniform(0.004, 0.02, 4).astype(np.float32),
        "wz": np.zeros(4, np.int8),
        "b": rng.integers(-500, 500, 4).astype(np.int32),
        "ys": np.float32(y_scale),
        "yz": np.uint8(100),
        "ss": np.float32(0.09),
        "sz": np.uint8(110),
        "gs": np.float32(0.03),
        "gz": np.uint8(90),
        "v": rng.integers(-127, 128, (4, 5)).astype(np.int8),
        "vs": np.float32(0.01),
        "vz": np.int8(0),
        "os": np.float32(0.04),
        "oz": np.uint8(128),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        helper.make_node(
            "QLinearConv", ["xq", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["y"], pads=[1, 1, 1, 1], name="conv"
        ),
        helper.make_node("MaxPool", ["y"], ["m"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], name="pool"),
        helper.make_node("QLinearAdd", ["y", "ys", "yz", "m", "ys", "yz", "ss", "sz"], ["s"], domain=MS, name="add"),
        helper.make_node(
            "QLinearGlobalAveragePool", ["s", "ss", "sz", "gs", "gz"], ["g"], domain=MS, channels_last=0, name="mean"
        ),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node(
            "QGemm", ["f", "gs", "gz", "v", "vs", "vz", "", "os", "oz"], ["logits"], domain=MS, name="dense"
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.UINT8, [2, 5])],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(MS, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def run(model: Any, x: Array) -> Array:
    (found,) = Session(model, threads=1).run({"x": x}).values()
    return found.astype(np.int64)


@pytest.fixture
def x() -> Array:
    return np.random.default_rng(1).normal(0, 1, (2, 3, 8, 8)).astype(np.float32)


def test_a_model_of_integer_operators_computes_the_same_between_quantizers(x: Array) -> None:
    model = load(quantized_net())
    plain = unfused(model)
    assert {n.op_type for n in plain.nodes} == {
        *("QuantizeLinear", "DequantizeLinear", "Conv", "MaxPool", "Add", "GlobalAveragePool", "Flatten", "Gemm")
    }
    assert all(not n.domain for n in plain.nodes)
    onnx.checker.check_model(plain.standalone(), full_check=True)
    np.testing.assert_allclose(run(plain, x), run(model, x), rtol=0, atol=1)
    assert len(np.unique(run(model, x))) > 4


def test_another_scale_is_noticed(x: Array) -> None:
    """Negative control of the comparison above."""
    assert np.abs(run(unfused(load(quantized_net(y_scale=0.02))), x) - run(load(quantized_net()), x)).max() > 1


def test_tensors_keep_their_names_and_real_numbers_are_traced_to_them() -> None:
    plain = unfused(load(quantized_net()))
    made = {o for n in plain.nodes for o in n.output}
    assert {"y", "m", "s", "g", "logits"} <= made
    conv = next(n for n in plain.nodes if n.op_type == "MaxPool")
    assert stored_as(plain, conv.input[0]) == "y"
    assert stored_as(plain, "y") == "y"


def test_an_output_of_integers_has_real_numbers_beside_it(x: Array) -> None:
    model = load(quantized_net())
    real, name = real_output(model, "logits")
    found = Session(real, threads=1).run({"x": x})
    np.testing.assert_allclose(found[name], (found["logits"].astype(np.float64) - 128) * 0.04, rtol=1e-6, atol=0)


def test_a_float_model_stays_as_it_is() -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
    )
    model = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9))
    assert unfused(model) is model
    assert real_output(model, "y") == (model, "y")
