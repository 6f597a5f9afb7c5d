"""What reads only constants is computed before a program runs, to the bit as ONNX Runtime computes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from fgcam_onnx import runtime
from fgcam_onnx.explainer import Explainer
from fgcam_onnx.graph.emitter import PREFIX
from fgcam_onnx.graph.model import Model
from fgcam_onnx.loading.loading import load
from fgcam_onnx.program import TARGET
from fgcam_onnx.surgery.precomputed import COMPUTED, precomputed

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4, 5)).astype(np.float32)
Q = RNG.integers(-128, 128, (3, 4, 5), np.int8)
SCALES = RNG.uniform(0.01, 1, 4).astype(np.float32)
CASES: dict[str, tuple[str, list[NDArray[Any]], dict[str, Any]]] = {
    "abs": ("Abs", [X], {}),
    "add": ("Add", [X, X[0]], {}),
    "cast": ("Cast", [Q], {"to": TensorProto.FLOAT}),
    "cast of large integers": ("Cast", [np.array([2**24 + 1, -(2**31) + 1], np.int32)], {"to": TensorProto.FLOAT}),
    "dequantized": ("DequantizeLinear", [Q, np.float32(0.037), np.int8(-7)], {}),
    "dequantized by channel": ("DequantizeLinear", [Q, SCALES, np.array([0, 3, -128, 127], np.int8)], {"axis": -2}),
    "dequantized bias": ("DequantizeLinear", [np.array([2**30 + 1, -5], np.int32), np.float32(1e-5)], {}),
    "max": ("Max", [X, np.float32(0), X[:, :1]], {}),
    "min": ("Min", [X, np.float32(0)], {}),
    "mul": ("Mul", [X, SCALES[:, None]], {}),
    "neg": ("Neg", [X], {}),
    "relu": ("Relu", [X], {}),
    "reshape": ("Reshape", [X, np.array([0, -1], np.int64)], {}),
    "slice": ("Slice", [X, *(np.array(v, np.int64) for v in ([1, -9], [99, -1], [1, 2]))], {}),
    "slice backwards": ("Slice", [X, *(np.array(v, np.int64) for v in ([-1], [-99], [2], [-2]))], {}),
    "slice of the first axes": ("Slice", [X, np.array([1], np.int64), np.array([-1], np.int64)], {}),
    "sub": ("Sub", [Q.astype(np.int32), np.int32(3)], {}),
    "transpose": ("Transpose", [X], {}),
    "transpose by axes": ("Transpose", [X], {"perm": [1, 2, 0]}),
}


def of(op: str, arrays: list[NDArray[Any]], attrs: dict[str, Any]) -> ModelProto:
    """Return a model whose output is an operator on constants, times the input, which is 1."""
    names = [f"c{n}" for n in range(len(arrays))]
    kept = [numpy_helper.from_array(np.asarray(a), n) for n, a in zip(names, arrays, strict=True)]
    nodes = [
        helper.make_node(op, names, ["made"], **attrs),
        helper.make_node("Identity", ["made"], ["y"], name=f"{PREFIX}reader"),
        helper.make_node("Identity", ["x"], ["z"]),
    ]
    x, z = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "xz")
    y = helper.make_empty_tensor_value_info("y")
    return helper.make_model(
        helper.make_graph(nodes, "g", [x], [y, z], kept), opset_imports=[helper.make_opsetid("", 18)], ir_version=8
    )


def as_model(proto: ModelProto) -> Model:
    """Return a model as a program is, nothing of it folded."""
    bare = ModelProto()
    bare.CopyFrom(proto)
    bare.graph.ClearField("initializer")
    return Model(bare, {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}, {})


def test_every_operator_has_a_case() -> None:
    assert {op for op, _, _ in CASES.values()} == set(COMPUTED)


@pytest.mark.parametrize("name", CASES)
def test_values_are_the_runtime_s_to_the_bit(name: str) -> None:
    proto = of(*CASES[name])
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = session.run(["y"], {"x": np.ones(1, np.float32)})[0]
    found = precomputed(as_model(proto))
    assert [n.op_type for n in found.nodes] == ["Identity", "Identity"]
    np.testing.assert_array_equal(found.constants[found.nodes[0].input[0]], wanted, strict=True)


@pytest.mark.parametrize(
    "case",
    [
        ("Max", [np.zeros((300, 1), np.float32), np.zeros((1, 300), np.float32)], {}),
        ("Cast", [X], {"to": TensorProto.INT8}),
        ("Reshape", [X, np.array([7, 7], np.int64)], {}),
        ("Erf", [X], {}),
    ],
    ids=["grows", "narrows", "is not valid", "has no row"],
)
def test_what_is_not_surely_the_same_is_left_to_the_runtime(case: Any) -> None:
    model = as_model(of(*case))
    assert precomputed(model) is model


def qdq_net() -> ModelProto:
    """Return a convolution and a linear layer between quantizers, as static quantization writes them."""
    kept = {
        "xs": np.float32(0.02), "xz": np.uint8(128), "w": RNG.integers(-127, 128, (4, 3, 3, 3), np.int8),
        "ws": RNG.uniform(0.005, 0.02, 4).astype(np.float32), "wz": np.zeros(4, np.int8), "ys": np.float32(0.05),
        "yz": np.uint8(0), "v": RNG.integers(-127, 128, (4, 5), np.int8), "vs": np.float32(0.01), "vz": np.int8(0),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("Conv", ["xd", "wd"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "ys", "yz"], ["rq"]),
        helper.make_node("DequantizeLinear", ["rq", "ys", "yz"], ["rd"]),
        helper.make_node("GlobalAveragePool", ["rd"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("DequantizeLinear", ["v", "vs", "vz"], ["vd"]),
        helper.make_node("MatMul", ["f", "vd"], ["logits"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 8, 8])
    y = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [2, 5])
    graph = helper.make_graph(
        nodes, "net", [x], [y], [numpy_helper.from_array(np.asarray(a), n) for n, a in kept.items()]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("method", ["fgcam", "inputxgradient", "relevancecam"])
def test_a_walk_reads_values_of_integer_weights_and_the_model_keeps_its_quantizers(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs: list[tuple[Model, Model]] = []

    def seen(model: Model) -> Model:
        programs.append((model, precomputed(model)))
        return programs[-1][1]

    monkeypatch.setattr(runtime, "precomputed", seen)
    explainer = Explainer(load(qdq_net()), method=method)
    x = RNG.normal(size=(2, 3, 8, 8)).astype(np.float32)
    found = explainer(x, target=1)
    plain, program = programs[-1]
    weights = {n.output[0] for n in program.nodes if n.op_type == "DequantizeLinear" and n.input[0] in ("w", "v")}
    assert weights == {"wd", "vd"}
    assert not [n.name for n in program.nodes if n.name.startswith(PREFIX) and not weights.isdisjoint(n.input)]
    assert [n.name for n in plain.nodes if n.name.startswith(PREFIX) and not weights.isdisjoint(n.input)]
    session = onnxruntime.InferenceSession(plain.standalone().SerializeToString(), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    wanted = dict(zip(names, session.run(names, {"x": x, TARGET: [1, 1]}), strict=True))
    for n, layer in enumerate(found.maps):
        np.testing.assert_allclose(found.maps[layer], wanted[f"map/{n}"], rtol=1e-5, atol=1e-6)
