"""Swish written as ``x * sigmoid(x)``: one slope, and every gradient as if it were two operators."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from oracles import gradients, probe, slopes
from spec import normal

from fgcam_onnx import vjp
from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.graph.forms import in_forms
from fgcam_onnx.graph.tape import tape_between
from fgcam_onnx.loading.loading import load

PICTURE, VECTOR = (2, 3, 4, 5), (2, 7)


def swish(*shape: int, factors: str = "x s", twice: bool = False) -> ModelProto:
    """Return a model of a Swish, ``twice`` with a second reader of its Sigmoid."""
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["s"]),
        helper.make_node("Mul", factors.split(), ["p"]),
        helper.make_node("Mul", ["p", "s"], ["q"]) if twice else helper.make_node("Identity", ["p"], ["q"]),
        helper.make_node("Tanh", ["q"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.DOUBLE, shape)
    y = helper.make_tensor_value_info("y", TensorProto.DOUBLE, None)
    graph = helper.make_graph(nodes, "net", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def operators(proto: ModelProto, *sources: str, output: str = "y") -> list[str]:
    return [r.op for r in in_forms(tape_between(Emitter(load(proto)), sources=sources, output=output))]


@pytest.mark.parametrize("shape", [PICTURE, VECTOR])
@pytest.mark.parametrize("factors", ["x s", "s x"])
def test_a_swish_is_one_record_and_its_gradient_that_of_its_operators(shape: tuple[int, ...], factors: str) -> None:
    net, x, g = swish(*shape, factors=factors), normal(*shape), normal(*shape, seed=1)
    assert operators(net, "x").count("Swish") == 1
    assert {"Mul", "Sigmoid"}.isdisjoint(operators(net, "x"))
    parts = probe(net, wrt=["x"], output="y", rules=dict(vjp.RULES))
    found, expected = (gradients(p, {"x": x}, g)["x"] for p in (probe(net, wrt=["x"], output="y"), parts))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("shape", [PICTURE, VECTOR])
def test_a_swish_agrees_with_the_directional_difference(shape: tuple[int, ...]) -> None:
    tested = probe(swish(*shape), wrt=["x"], output="y")
    found = slopes(tested, {"x": normal(*shape)}, "x", np.random.default_rng(0))
    assert found.agree(rtol=1e-7), found
    assert not found.scaled(1.01).agree(rtol=1e-7)


def test_a_sigmoid_that_is_asked_for_keeps_its_gradient() -> None:
    net, x = swish(*VECTOR), normal(*VECTOR)
    assert "Swish" not in operators(net, "x", "s")
    found = gradients(probe(net, wrt=["x", "s"], output="y"), {"x": x}, np.ones(VECTOR))
    y = np.tanh(x / (1 + np.exp(-x)))
    np.testing.assert_allclose(found["s"], x * (1 - y * y), rtol=1e-12, atol=0)


def test_a_sigmoid_with_two_readers_is_left_as_it_is() -> None:
    net = swish(*VECTOR, twice=True)
    assert operators(net, "x").count("Sigmoid") == 1
    found = slopes(probe(net, wrt=["x"], output="y"), {"x": normal(*VECTOR)}, "x", np.random.default_rng(0))
    assert found.agree(rtol=1e-7), found


def test_the_product_with_another_sigmoid_is_left_as_it_is() -> None:
    assert "Swish" not in operators(swish(*VECTOR, factors="s s"), "x")
