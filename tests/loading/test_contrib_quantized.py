"""ONNX Runtime's operators of integer weights: the loaded program is the original, and is explained."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nets import model_of, node
from onnx import ModelProto
from oracles import interpreted, needed, probe
from spec import normal
from test_contrib import MS, plainly

from fgcam_onnx import explain, load
from fgcam_onnx.graph.model import dims_of


def few_bits(bits: int, *, symmetric: bool) -> tuple[ModelProto, np.ndarray]:
    """Return a product with weights of ``bits`` bits in blocks, and the weights, taken apart another way."""
    rng, block, inputs, outputs = np.random.default_rng(bits), 16, 40, 6
    blocks = -(-inputs // block)
    q = rng.integers(0, 2**bits, (outputs, blocks, block))
    scales = rng.uniform(0.02, 0.1, (outputs, blocks)).astype(np.float32)
    zeros = np.full((outputs, blocks), 2 ** (bits - 1)) if symmetric else rng.integers(0, 2**bits, (outputs, blocks))

    def packed(numbers: np.ndarray) -> np.ndarray:
        flat = numbers.reshape(-1, numbers.shape[-1])
        if bits == 8:
            return flat.astype(np.uint8)
        flat = np.pad(flat, ((0, 0), (0, flat.shape[1] % 2)))
        return np.array([[low | high << 4 for low, high in zip(r[::2], r[1::2], strict=True)] for r in flat], np.uint8)

    weights: dict[str, Any] = {"b": packed(q).reshape(outputs, blocks, -1), "scales": scales.ravel()}
    names = ["x", "b", "scales"]
    if not symmetric:
        weights["zeros"] = packed(zeros).ravel()
        names.append("zeros")
    made = node("MatMulNBits", names, "y", domain=MS, K=inputs, N=outputs, bits=bits, block_size=block)
    w = np.array([[(q[n, k // block, k % block] - zeros[n, k // block]) * scales[n, k // block] for n in range(outputs)]
                  for k in range(inputs)])  # fmt: skip
    return model_of([made], weights, inputs={"x": [3, inputs]}, outputs=["y"], domains=[MS]), w


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [4, 8])
def test_weights_of_a_few_bits_are_the_numbers_they_stand_for(bits: int, symmetric: bool) -> None:
    model, w = few_bits(bits, symmetric=symmetric)
    x, seed = normal(3, 40).astype(np.float32), normal(3, 6, seed=1).astype(np.float32)
    expected, found = (plainly(m, {"x": x})[0] for m in (model, load(model).standalone()))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found, x @ w, rtol=1e-5, atol=1e-5)
    tested = probe(model, wrt=["x"], output="y")
    got = interpreted(tested.gradient, needed(tested.gradient, {"x": x, "seed": seed}))["d/x"]
    np.testing.assert_allclose(got, seed @ w.T, rtol=1e-5, atol=1e-5)


def test_attention_of_integers_is_written_out() -> None:
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.integers(-60, 60, (8, 24)).astype(np.int8), "b": normal(24).astype(np.float32),
        "ws": np.float32(0.01), "wz": np.int8(0), "mask": np.array([[1, 1, 1], [1, 1, 0]], np.int32),
    }  # fmt: skip
    nodes = [
        node("DynamicQuantizeLinear", ["x"], "q", "s", "z"),
        node("QAttention", ["q", "w", "b", "s", "ws", "mask", "z", "wz"], "y", domain=MS, num_heads=2),
    ]
    model = model_of(nodes, weights, inputs={"x": [2, 3, 8]}, outputs=["y"], domains=[MS])
    x = normal(2, 3, 8).astype(np.float32)
    expected, found = (plainly(m, {"x": x})[0] for m in (model, load(model).standalone()))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_an_lstm_of_integer_weights_is_written_out(direction: str) -> None:
    rng, d, hidden, width = np.random.default_rng(0), 2 if direction == "bidirectional" else 1, 4, 4
    weights = {
        "w": rng.integers(0, 255, (d, width, 4 * hidden)).astype(np.uint8),
        "r": rng.integers(0, 255, (d, hidden, 4 * hidden)).astype(np.uint8),
        "b": normal(d, 8 * hidden).astype(np.float32),
        "ws": rng.uniform(0.005, 0.01, d).astype(np.float32), "wz": rng.integers(100, 150, d).astype(np.uint8),
        "rs": rng.uniform(0.005, 0.01, d).astype(np.float32), "rz": rng.integers(100, 150, d).astype(np.uint8),
        "two": np.array([2]), "fc": normal(hidden * d, 3).astype(np.float32), "flat": np.array([0, -1]),
    }  # fmt: skip
    nodes = [
        node("Squeeze", ["x", "two"], "s"), node("Transpose", ["s"], "t", perm=[2, 0, 1]),
        node("DynamicQuantizeLSTM", ["t", "w", "r", "b", "", "", "", "", "ws", "wz", "rs", "rz"], "h", "last",
             domain=MS, hidden_size=hidden, direction=direction),
        node("Transpose", ["last"], "l", perm=[1, 0, 2]), node("Reshape", ["l", "flat"], "f"),
        node("MatMul", ["f", "fc"], "y"),
    ]  # fmt: skip
    model = model_of(nodes, weights, inputs={"x": ["N", width, 1, 5]}, outputs=["y"], domains=[MS])
    x = normal(1, width, 1, 5).astype(np.float32)
    found = explain(model, x, method="saliency", target=1)
    assert {n.domain for n in load(model).nodes} == {""}
    np.testing.assert_allclose(found.scores, plainly(model, {"x": x})[0], rtol=0, atol=2e-2)
    assert found.map.any()


def class_token(form: str) -> ModelProto:
    """Return a net that joins a class token to tokens of a free batch, in integers; its size is read of their values.

    What the shape is read of is made for that alone: once its sizes are constants, nothing reads it.
    """
    unit = ["s", "z"]
    weights = {
        "W": np.float32(normal(4, 3, 2, 2, seed=1)), "c": np.float32(normal(1, 1, 4, seed=2)),
        "V": np.float32(normal(4, 3, seed=3)), "s": np.array(0.05, np.float32),
        "z": np.array(128, np.uint8), "first": np.array(0), "axis": np.array([0]), "two": np.array([2]),
        "tail": np.array([1, 4]), "flat": np.array([-1]), "one": np.array([1]), "start": np.array([0]),
    }  # fmt: skip
    join = [node("QLinearConcat", [*unit, "cq", *unit, "t", *unit], "jq", domain=MS, axis=1)]
    if form == "QDQ":
        join = [
            node("DequantizeLinear", ["cq", *unit], "cd"),
            node("DequantizeLinear", ["t", *unit], "td"),
            node("Concat", ["cd", "td"], "joined", axis=1),
            node("QuantizeLinear", ["joined", *unit], "jq"),
        ]
    nodes = [
        node("Conv", ["x", "W"], "a", strides=[2, 2]),
        node("QuantizeLinear", ["a", *unit], "q"),
        node("DequantizeLinear", ["q", *unit], "real"),
        node("Shape", ["real"], "sizes"),
        node("Slice", ["sizes", "start", "two", "axis"], "front"),
        node("Concat", ["front", "flat"], "tokens", axis=0),
        node("Reshape", ["q", "tokens"], "r"),
        node("Transpose", ["r"], "t", perm=[0, 2, 1]),
        node("DequantizeLinear", ["t", *unit], "real tokens"),
        node("Shape", ["real tokens"], "size"),
        node("Gather", ["size", "first"], "many"),
        node("Unsqueeze", ["many", "axis"], "number"),
        node("Concat", ["number", "tail"], "wide", axis=0),
        node("Expand", ["c", "wide"], "ce"),
        node("QuantizeLinear", ["ce", *unit], "cq"),
        *join,
        node("DequantizeLinear", ["jq", *unit], "j"),
        node("Tanh", ["j"], "bent"),
        node("ReduceMean", ["bent", "one"], "m", keepdims=0),
        node("MatMul", ["m", "V"], "y"),
    ]
    return model_of(nodes, weights, inputs={"x": ["N", 3, 8, 8]}, outputs=["y"], domains=[MS])


@pytest.mark.parametrize("method", ["gradcam", "lrp"])
def test_what_only_shapes_are_read_of_has_its_sizes_whatever_the_batch(method: str) -> None:
    model = load(class_token("QOperator"))
    assert dims_of(model.types["real tokens"]) == ("N", 16, 4)
    x = np.float32(normal(2, 3, 8, 8, seed=4))
    found, expected = (
        explain(class_token(f), x, method=method, target=1, layers="a").map for f in ("QOperator", "QDQ")
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
