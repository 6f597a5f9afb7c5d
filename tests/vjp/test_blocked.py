"""Weights in blocks and in four bits, scales along an axis, quantizers without their floor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nets import images, model_of, node, small_nodes, small_weights
from onnx import ModelProto, TensorProto, helper
from oracles import compiled_gradients, probe
from plain import run_plainly, same

from fgcam_onnx import explain, load, vjp
from fgcam_onnx.backward import backward
from fgcam_onnx.errors import UnsupportedOperatorError
from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.graph.tape import tape_between
from fgcam_onnx.quantized import on_real_values
from fgcam_onnx.runtime import Session

BLOCK = 3
RANGES = {"INT4": (-8, 7), "INT8": (-127, 127), "UINT4": (0, 15)}


def nets(kind: str, *, width: int, activations: bool = False) -> tuple[ModelProto, ModelProto]:
    """Return the net with its second convolution in blocks of channels, and the same in float."""
    weights = small_weights(width=width * BLOCK)
    low, high = RANGES[kind]
    dtype = helper.tensor_dtype_to_np_dtype(getattr(TensorProto, kind))
    w = weights.pop("layer2.conv.weight")
    grouped = w.reshape(w.shape[0], -1, BLOCK, *w.shape[2:])
    zero = (high + low) // 2
    scale = (np.abs(grouped).max(2) / (high - zero)).astype(np.float32)
    q = np.clip(np.round(grouped / scale[:, :, None]) + zero, low, high)
    stored = {
        "q": q.reshape(w.shape).astype(np.int8).astype(dtype),
        "scale": scale,
        "zero": np.full(scale.shape, zero, np.int8).astype(dtype),
    }
    plain = ((q - zero) * scale[:, :, None]).reshape(w.shape).astype(np.float32)
    dequantize = node("DequantizeLinear", ["q", "scale", "zero"], "layer2.conv.weight", axis=1, block_size=BLOCK)
    first: list[Any] = []
    source = "input"
    if activations:
        stored |= {"s": np.float32(0.02), "z": np.int8(3)}
        first = [node("QuantizeLinear", ["input", "s", "z"], "qx"), node("DequantizeLinear", ["qx", "s", "z"], "dx")]
        source = "dx"
    nodes = [*first, *small_nodes(source=source)]
    inputs = {"input": ["N", 3, 12, 10]}
    given = {n: a for n, a in stored.items() if n in ("s", "z")}
    return (
        model_of([dequantize, *nodes], {**weights, **stored}, inputs=inputs, outputs=["logits"], opset=21, ir=10),
        model_of(
            nodes, {**weights, **given, "layer2.conv.weight": plain}, inputs=inputs, outputs=["logits"], opset=21, ir=10
        ),
    )


@pytest.mark.parametrize("activations", [False, True])
@pytest.mark.parametrize("width", [1, 6])
@pytest.mark.parametrize("kind", RANGES)
def test_blocked_weights_are_the_floats_that_they_stand_for(kind: str, width: int, activations: bool) -> None:
    """Some weights are small enough to be folded while loading, some travel beside the graph."""
    blocked, plain = nets(kind, width=width, activations=activations)
    x = images()
    np.testing.assert_allclose(run_plainly(blocked, x), run_plainly(plain, x), rtol=1e-4, atol=1e-5)
    for method in ("fgcam", "gradcam", "relevancecam"):
        same(explain(blocked, x, target=1, method=method), explain(plain, x, target=1, method=method), tolerance=1e-4)


def test_a_block_of_another_size_would_be_seen() -> None:
    """Negative control."""
    blocked, plain = nets("INT4", width=6)
    for tensor in blocked.graph.initializer:
        if tensor.name == "scale":
            array = np.frombuffer(tensor.raw_data, np.float32).reshape(tuple(tensor.dims))
            tensor.raw_data = np.ascontiguousarray(array[:, ::-1]).tobytes()
    found, wanted = (explain(m, images(), target=1).map for m in (blocked, plain))
    assert np.abs(found - wanted).max() > 1e-2 * np.abs(wanted).max()


def test_activations_with_a_scale_for_each_channel_let_the_gradient_through() -> None:
    """The scales differ along the axis that the quantizers name, which is not the last."""
    weights = {"s": np.float32([0.1, 0.2, 0.05]), "z": np.int8([0, 1, -2])}
    ends = (("QuantizeLinear", "x", "q"), ("DequantizeLinear", "q", "y"))
    nodes = [node(op, [x, "s", "z"], y, axis=1) for op, x, y in ends]
    tested = probe(model_of(nodes, weights, inputs={"x": [2, 3, 5]}, outputs=["y"]), wrt=["x"], output="y")
    seed = np.random.default_rng(0).standard_normal((2, 3, 5)).astype(np.float32)
    found = compiled_gradients(tested, {"x": seed}, seed)["x"]
    np.testing.assert_allclose(found, seed, rtol=1e-6, atol=0)


def test_the_floor_of_a_quantizer_can_be_ignored() -> None:
    weights = {"s": np.float32(0.1), "z": np.uint8(0)}
    nodes = [
        node("Neg", ["x"], "n"),
        node("QuantizeLinear", ["n", "s", "z"], "q"),
        node("DequantizeLinear", ["q", "s", "z"], "y"),
    ]
    emitter = Emitter(load(model_of(nodes, weights, inputs={"x": [1, 2]}, outputs=["y"])))
    seed = emitter.input("seed", np.float32, (1, 2))
    tape = tape_between(emitter, sources=["x"], output="y")
    for name, floor in (("cut", True), ("through", False)):
        walk = on_real_values(vjp.pullback, units=True, floor=floor)
        emitter.output(name, backward(tape, seed, walk)["x"])
    x, ones = np.float32([[-1, 1]]), np.ones((1, 2), np.float32)
    found = Session(emitter.build(), threads=1).run({"x": x, "seed": ones})
    np.testing.assert_allclose(found["cut"], [[-1, 0]], rtol=1e-6, atol=0)
    np.testing.assert_allclose(found["through"], [[-1, -1]], rtol=1e-6, atol=0)


def test_activations_quantized_in_blocks_are_refused_by_name() -> None:
    weights = {"s": np.full((1, 2, 1, 1), 0.1, np.float32), "z": np.zeros((1, 2, 1, 1), np.int8)}
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], "q", axis=1, block_size=2),
        node("DequantizeLinear", ["q", "s", "z"], "y", axis=1, block_size=2),
    ]
    model = model_of(nodes, weights, inputs={"x": [1, 4, 1, 1]}, outputs=["y"], opset=21, ir=10)
    with pytest.raises(UnsupportedOperatorError, match=r"'DequantizeLinear' \(node 'y'\).*blocks"):
        probe(model, wrt=["x"], output="y")
