"""The engine: what it adds up, what it refuses, and a whole network held against a directional difference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from oracles import compiled_gradients, gradients, probe, scaled, slopes
from spec import apart, normal

from fgcam_onnx import vjp
from fgcam_onnx.errors import LayerError, UnsupportedOperatorError


def model(
    nodes: Sequence[NodeProto],
    *,
    shapes: dict[str, Sequence[int]],
    weights: dict[str, np.ndarray] | None = None,
    kind: int = TensorProto.DOUBLE,
    output: str = "y",
    **domains: int,
) -> ModelProto:
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(n, kind, s) for n, s in shapes.items()],
        [helper.make_tensor_value_info(output, kind, None)],
        [numpy_helper.from_array(w.astype(dtype) if w.dtype.kind == "f" else w, n) for n, w in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", 18), *(helper.make_opsetid(d, v) for d, v in domains.items())]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def node(op: str, inputs: str, output: str, **attrs: object) -> NodeProto:
    return helper.make_node(op, inputs.split(), output.split(), name=f"/{op.lower()}", **attrs)


def test_the_gradients_of_two_readers_add_up() -> None:
    net = model([node("Mul", "x x", "s"), node("Sin", "x", "t"), node("Add", "s t", "y")], shapes={"x": [3]})
    x = normal(3)
    found = gradients(probe(net, wrt=["x"], output="y"), {"x": x}, np.ones(3))
    np.testing.assert_allclose(found["x"], 2 * x + np.cos(x), rtol=1e-14, atol=0)


def test_an_input_that_was_broadcast_gets_the_sum() -> None:
    net = model([node("Mul", "x w", "y")], shapes={"x": [2, 3, 4], "w": [3, 1]})
    x, w, g = normal(2, 3, 4), normal(3, 1), normal(2, 3, 4, seed=1)
    found = gradients(probe(net, wrt=["x", "w"], output="y"), {"x": x, "w": w}, g)
    np.testing.assert_allclose(found["w"], (g * x).sum((0, 2))[:, None], rtol=1e-14, atol=0)


def test_a_tensor_between_gets_its_own_gradient() -> None:
    net = model([node("Exp", "x", "a"), node("Mul", "a a", "y")], shapes={"x": [3]})
    tested = probe(net, wrt=["a", "x"], output="y")
    x = normal(3)
    found = gradients(tested, {"x": x}, np.ones(3))
    np.testing.assert_allclose(found["a"], 2 * np.exp(x), rtol=1e-14, atol=0)
    np.testing.assert_allclose(found["x"], 2 * np.exp(2 * x), rtol=1e-14, atol=0)


def test_an_operator_without_a_rule_is_named_with_its_node() -> None:
    net = model([node("Det", "x", "d"), node("Neg", "d", "y")], shapes={"x": [2, 3, 3]})
    with pytest.raises(UnsupportedOperatorError, match=r"'Det' \(node '/det'\).*Choose a layer after it"):
        probe(net, wrt=["x"], output="y")


def test_a_rule_that_is_passed_in_fills_the_gap() -> None:
    net = model([node("Det", "x", "y")], shapes={"x": [2, 2, 2]})
    cofactors = np.array([[0, 1], [-1, 0.0]])

    def det_x(g, y, x):
        turn = x.emitter.constant(cofactors)
        adjugate = turn @ x.transpose((0, 2, 1)) @ x.emitter.constant(cofactors.T)
        return g.reshape((2, 1, 1)) * adjugate.transpose((0, 2, 1))

    tested = probe(net, wrt=["x"], output="y", rules={**vjp.RULES, "Det": (det_x,)})
    found = slopes(tested, {"x": normal(2, 2, 2)}, "x", np.random.default_rng(0))
    assert found.agree(rtol=1e-7), found


@pytest.mark.parametrize("step", ["Floor", "Round", "Sign", "Ceil"])
def test_a_step_on_the_only_path_is_an_error_and_not_zeros(step: str) -> None:
    net = model([node(step, "x", "s"), node("Mul", "s s", "y")], shapes={"x": [3]})
    with pytest.raises(UnsupportedOperatorError, match=rf"'{step}' \(node '/{step.lower()}'\) has no derivative"):
        probe(net, wrt=["x"], output="y")


def test_a_hard_comparison_on_the_only_path_is_an_error() -> None:
    net = model(
        [node("Greater", "x w", "c"), node("Where", "c w v", "y")],
        shapes={"x": [3]},
        weights={"w": normal(3), "v": normal(3)},
    )
    with pytest.raises(UnsupportedOperatorError, match="has no derivative"):
        probe(net, wrt=["x"], output="y")


def test_a_step_beside_the_path_changes_nothing() -> None:
    net = model([node("Floor", "x", "s"), node("Mul", "s x", "y")], shapes={"x": [3]})
    found = gradients(probe(net, wrt=["x"], output="y"), {"x": np.array([1.5, 2.5, -0.5])}, np.ones(3))
    np.testing.assert_array_equal(found["x"], [1, 2, -1])


def test_a_shape_is_no_path() -> None:
    net = model([node("Shape", "x", "s"), node("Expand", "w s", "y")], shapes={"x": [3], "w": [1]})
    with pytest.raises(LayerError, match="'x' does not lie on a path"):
        probe(net, wrt=["x"], output="y")


def test_a_source_after_the_output_is_a_layer_error() -> None:
    net = model([node("Neg", "x", "a"), node("Exp", "a", "y")], shapes={"x": [3]})
    with pytest.raises(LayerError, match="'y' does not lie on a path to 'a'"):
        probe(net, wrt=["y"], output="a")


def test_a_second_output_without_a_formula_is_refused() -> None:
    net = model(
        [
            helper.make_node("LayerNormalization", ["x", "w"], ["n", "mean"], name="/norm"),
            node("Neg", "mean", "y"),
        ],
        shapes={"x": [2, 3]},
        weights={"w": normal(3)},
        kind=TensorProto.FLOAT,
    )
    with pytest.raises(UnsupportedOperatorError, match="first output of 'LayerNormalization'"):
        probe(net, wrt=["x"], output="y")


def test_a_split_leads_back_from_each_of_its_parts() -> None:
    split = helper.make_node("Split", ["x"], ["a", "b", "c"], name="/split", axis=0, num_outputs=3)
    net = model([split, node("Mul", "a c", "y")], shapes={"x": [6]})
    x = normal(6)
    found = gradients(probe(net, wrt=["x"], output="y"), {"x": x}, np.ones(2))
    np.testing.assert_array_equal(found["x"], [*x[4:], 0, 0, *x[:2]])


def network(kind: int) -> ModelProto:
    """A residual network of ten layers with a squeeze-and-excitation gate and two classes."""
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c1", "one", "b1", "b1", "one"], ["n1"]),
        helper.make_node("Sigmoid", ["n1"], ["s1"]),
        helper.make_node("Mul", ["n1", "s1"], ["a1"]),
        helper.make_node("Conv", ["a1", "w2"], ["c2"], pads=[1, 1, 1, 1], group=2),
        helper.make_node("GlobalAveragePool", ["c2"], ["p2"]),
        helper.make_node("HardSigmoid", ["p2"], ["h2"]),
        helper.make_node("Mul", ["c2", "h2"], ["g2"]),
        helper.make_node("Add", ["g2", "a1"], ["r2"]),
        helper.make_node("Relu", ["r2"], ["a2"]),
        helper.make_node("MaxPool", ["a2"], ["m3"], kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]),
        helper.make_node("Flatten", ["m3"], ["f3"]),
        helper.make_node("Gemm", ["f3", "w3", "b3"], ["z"], transB=1),
        helper.make_node("LogSoftmax", ["z"], ["y"]),
    ]
    weights = {
        "w1": normal(4, 3, 3, 3),
        "b1": normal(4),
        "one": np.array([0.8, 1.1, 1.3, 0.6]),
        "w2": normal(4, 2, 3, 3, seed=1) / 3,
        "w3": normal(2, 36, seed=2) / 6,
        "b3": normal(2, seed=3),
    }
    return model(nodes, shapes={"x": [2, 3, 12, 12]}, weights=weights, kind=kind)


def test_the_gradient_of_a_network_agrees_with_the_directional_difference() -> None:
    tested = probe(network(TensorProto.DOUBLE), wrt=["x"], output="y")
    found = slopes(tested, {"x": apart(2, 3, 12, 12, step=0.01)}, "x", np.random.default_rng(0))
    assert found.agree(rtol=1e-6), found
    assert not found.scaled(1.01).agree(rtol=1e-6)


def test_one_wrong_rule_in_a_network_is_seen() -> None:
    wrong = probe(network(TensorProto.DOUBLE), wrt=["x"], output="y", rules=scaled(vjp.RULES, "HardSigmoid"))
    feeds = {"x": apart(2, 3, 12, 12, step=0.01)}
    assert not slopes(wrong, feeds, "x", np.random.default_rng(0)).agree(rtol=1e-6)


def test_a_network_compiled_in_float32_agrees_with_float64() -> None:
    double = probe(network(TensorProto.DOUBLE), wrt=["x", "a1"], output="y")
    single = probe(network(TensorProto.FLOAT), wrt=["x", "a1"], output="y")
    x, g = apart(2, 3, 12, 12, step=0.01), normal(2, 2)
    expected = gradients(double, {"x": x}, g)
    found = compiled_gradients(single, {"x": x.astype(np.float32)}, g.astype(np.float32))
    for name in ("x", "a1"):
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-5 * np.abs(expected[name]).max())
