"""Relevance rules, re-derived from the textbook formula on a dense matrix got by probing the layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.loading.loading import load
from fgcam_onnx.lrp.composites import fg_cam
from fgcam_onnx.lrp.rules import positive_input, z_box, z_plus, z_rule
from fgcam_onnx.program import append_relevance
from fgcam_onnx.runtime import Session

Matrix = np.ndarray[Any, Any]
RNG = np.random.default_rng(7)


def graph(nodes: list[onnx.NodeProto], shape: list[Any], **weights: Matrix) -> onnx.ModelProto:
    """Return a model from ``x`` of ``shape`` to ``y``."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    inits = [numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()]
    g = helper.make_graph(nodes, "g", [x], [y], inits)
    return helper.make_model(g, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def propagate(proto: onnx.ModelProto, pullback: Any, x: Matrix, r: Matrix, source: str = "x") -> Matrix:
    """Return the relevance at ``source`` for relevance ``r`` at the output."""
    model = load(proto)
    emitter = Emitter(model)
    seed = emitter.input("r", np.float32, ("N", *r.shape[1:]))
    found = append_relevance(emitter, [source], output="y", seed=seed, pullback=pullback)
    emitter.output("back", found[source])
    return Session(emitter.build()).run({"x": x, "r": r})["back"]


def forward(proto: onnx.ModelProto, x: Matrix) -> Matrix:
    return Session(load(proto)).run({"x": x})["y"]


def dense(proto: onnx.ModelProto, shape: tuple[int, ...]) -> Matrix:
    """Return the (out, in) matrix of a linear layer without bias, one unit input at a time."""
    size = int(np.prod(shape))
    units = np.eye(size, dtype=np.float32).reshape(size, *shape)
    return np.concatenate([forward(proto, u[None]).reshape(1, -1) for u in units]).T.astype(np.float64)


def share(contributions: Matrix, r: Matrix) -> Matrix:
    """Return what each input gets when unit j shares r_j in proportion to ``contributions[j, i]``."""
    z = contributions.sum(axis=1, keepdims=True)
    return (np.divide(contributions, z, out=np.zeros_like(contributions), where=z != 0) * r[:, None]).sum(axis=0)


def plus(w: Matrix, x: Matrix) -> Matrix:
    return np.maximum(w, 0) * np.maximum(x, 0) + np.minimum(w, 0) * np.minimum(x, 0)


def box(w: Matrix, x: Matrix) -> Matrix:
    return w * x - np.maximum(w, 0) * x.min() - np.minimum(w, 0) * x.max()


LAYERS: dict[str, tuple[Callable[[bool], onnx.ModelProto], tuple[int, ...]]] = {}


def layer(name: str, shape: tuple[int, ...]) -> Callable[[Callable[[bool], onnx.ModelProto]], None]:
    def keep(build: Callable[[bool], onnx.ModelProto]) -> None:
        LAYERS[name] = (build, shape)

    return keep


def conv(op: str, w: Matrix, bias: bool, shape: tuple[int, ...], **attrs: Any) -> onnx.ModelProto:
    out = w.shape[0] if op == "Conv" else w.shape[1]
    weights = {"w": w, "b": np.linspace(-1, 1, out)} if bias else {"w": w}
    node = helper.make_node(op, ["x", *weights], ["y"], **attrs)
    return graph([node], ["N", *shape], **weights)


W3 = RNG.standard_normal((8, 4, 3, 3))
W1 = RNG.standard_normal((6, 4, 1, 1))
WD = RNG.standard_normal((4, 1, 3, 3))
WT = RNG.standard_normal((4, 5, 3, 3))
WG = RNG.standard_normal((12, 7))

layer("conv 3x3", (4, 5, 6))(lambda b: conv("Conv", W3, b, (4, 5, 6), pads=[1, 1, 1, 1]))
layer("conv stride 2", (4, 5, 6))(lambda b: conv("Conv", W3, b, (4, 5, 6), pads=[1, 0, 1, 1], strides=[2, 2]))
layer("conv 1x1", (4, 3, 3))(lambda b: conv("Conv", W1, b, (4, 3, 3)))
layer("conv 1x1 stride 2", (4, 5, 5))(lambda b: conv("Conv", W1, b, (4, 5, 5), strides=[2, 2]))
layer("conv depthwise", (4, 5, 5))(lambda b: conv("Conv", WD, b, (4, 5, 5), group=4, pads=[1, 1, 1, 1]))
layer("transposed conv", (4, 3, 4))(lambda b: conv("ConvTranspose", WT, b, (4, 3, 4), strides=[2, 2]))
layer("gemm", (12,))(
    lambda b: graph(
        [helper.make_node("Gemm", ["x", "w", "b"] if b else ["x", "w"], ["y"], transB=1)],
        ["N", 12], w=WG.T, **({"b": np.linspace(-1, 1, 7)} if b else {}),
    )
)  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(("rule", "formula"), [(z_plus, plus), (z_box, box)], ids=["z+", "zB"])
def test_a_rule_shares_as_the_formula_on_the_dense_matrix_does(name: str, rule: Any, formula: Any) -> None:
    build, shape = LAYERS[name]
    w = dense(build(False), shape)
    x = RNG.standard_normal((2, *shape)).astype(np.float32)
    r = RNG.standard_normal(forward(build(True), x).shape).astype(np.float32)
    found = propagate(build(True), rule, x, r)
    for n in range(2):
        expected = share(formula(w, x[n].reshape(-1).astype(np.float64)), r[n].reshape(-1).astype(np.float64))
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found[n].reshape(-1) / scale, expected / scale, rtol=0, atol=2e-5)


def test_a_rule_one_percent_off_is_told_apart() -> None:
    """Negative control."""
    build, shape = LAYERS["conv 3x3"]
    w = dense(build(False), shape)
    x = RNG.standard_normal((1, *shape)).astype(np.float32)
    r = RNG.standard_normal(forward(build(True), x).shape).astype(np.float32)
    expected = share(plus(1.01 * np.maximum(w, 0) + np.minimum(w, 0), x[0].reshape(-1)), r[0].reshape(-1))
    found = propagate(build(True), z_plus, x, r)[0].reshape(-1)
    assert np.abs(found - expected).max() / np.abs(expected).max() > 2e-5


def test_a_unit_without_positive_products_passes_nothing_on() -> None:
    w = -np.ones((2, 3, 1, 1))
    w[1] = 1
    proto = conv("Conv", w, True, (3, 2, 2))
    x = RNG.uniform(0.5, 1, (1, 3, 2, 2)).astype(np.float32)
    r = np.ones((1, 2, 2, 2), np.float32)
    found = propagate(proto, z_plus, x, r)
    np.testing.assert_allclose(found.sum(), r[:, 1].sum(), rtol=1e-6, atol=0)
    assert np.isfinite(found).all()


POOLS = {
    "average": ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "padded average": ("AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "global average": ("GlobalAveragePool", {}),
}


@pytest.mark.parametrize("name", POOLS)
def test_averages_share_by_the_positive_part(name: str) -> None:
    op, attrs = POOLS[name]
    proto = graph([helper.make_node(op, ["x"], ["y"], **attrs)], ["N", 2, 5, 5])
    w = dense(proto, (2, 5, 5))
    x = RNG.standard_normal((1, 2, 5, 5)).astype(np.float32)
    r = RNG.standard_normal(forward(proto, x).shape).astype(np.float32)
    expected = share(w * np.maximum(x.reshape(-1), 0), r.reshape(-1).astype(np.float64))
    found = propagate(proto, positive_input, x, r).reshape(-1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_max_pooling_sends_all_to_the_first_maximum_and_nothing_where_it_is_zero() -> None:
    attrs = {"kernel_shape": [2, 2], "strides": [2, 2]}
    proto = graph([helper.make_node("MaxPool", ["x"], ["y"], **attrs)], ["N", 1, 2, 6])
    x = np.array([[1, 3, 0, 0, 5, 5], [2, 0, 0, 0, 5, 1]], np.float32)[None, None]
    r = np.array([7, 11, 13], np.float32)[None, None, None]
    expected = np.array([[0, 7, 0, 0, 13, 0], [0, 0, 0, 0, 0, 0]], np.float32)
    np.testing.assert_array_equal(propagate(proto, fg_cam(), x, r)[0, 0], expected)
    np.testing.assert_array_equal(propagate(proto, z_rule, x, r)[0, 0], expected)


def residual(a: Matrix, b: Matrix) -> dict[str, tuple[Matrix, Matrix]]:
    """Return the shares of a and b under each choice, from the formulas."""

    def pair(p: Matrix, q: Matrix) -> tuple[Matrix, Matrix]:
        z = np.where(p + q == 0, 1, p + q)
        return p / z, q / z

    return {
        "positive": pair(np.maximum(a, 0), np.maximum(b, 0)),
        "signed": pair(a, b),
        "ratio": pair(np.abs(a), np.abs(b)),
    }


@pytest.mark.parametrize("choice", ["positive", "signed", "ratio"])
def test_a_residual_sum_shares_as_chosen(choice: str) -> None:
    w = RNG.standard_normal((4, 4, 1, 1))
    v = RNG.standard_normal((4, 4, 1, 1))
    branches = [helper.make_node("Conv", ["x", n], [out]) for n, out in (("w", "a"), ("v", "b"))]
    proto = graph([*branches, helper.make_node("Add", ["a", "b"], ["y"])], ["N", 4, 3, 3], w=w, v=v)
    x = RNG.standard_normal((1, 4, 3, 3)).astype(np.float32)
    r = RNG.standard_normal((1, 4, 3, 3)).astype(np.float32)
    a, b = (np.einsum("oi,nihw->nohw", m[:, :, 0, 0], x) for m in (w, v))
    for name, part in zip("ab", residual(a, b)[choice], strict=True):
        expected = part * r
        found = propagate(proto, fg_cam(choice), x, r, source=name)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=1e-4)


def test_a_bias_that_is_added_takes_no_relevance() -> None:
    proto = graph([helper.make_node("Add", ["x", "b"], ["y"])], ["N", 3, 2, 2], b=np.ones((3, 1, 1)))
    x, r = (RNG.standard_normal((1, 3, 2, 2)).astype(np.float32) for _ in range(2))
    np.testing.assert_array_equal(propagate(proto, fg_cam(), x, r), r)


GATED = {
    "squeeze and excitation": [
        helper.make_node("GlobalAveragePool", ["s"], ["p"]),
        helper.make_node("Conv", ["p", "w"], ["c"]),
        helper.make_node("Sigmoid", ["c"], ["g"]),
        helper.make_node("Mul", ["g", "s"], ["y"]),
    ],
    "SiLU": [helper.make_node("Sigmoid", ["s"], ["g"]), helper.make_node("Mul", ["s", "g"], ["y"])],
    "hard swish": [
        helper.make_node("HardSigmoid", ["s"], ["g"]),
        helper.make_node("Mul", ["g", "s"], ["y"]),
    ],
    "Mish": [
        helper.make_node("Softplus", ["s"], ["p"]),
        helper.make_node("Tanh", ["p"], ["g"]),
        helper.make_node("Mul", ["s", "g"], ["y"]),
    ],
    "GELU, written out": [
        helper.make_node("Erf", ["s"], ["e"]),
        helper.make_node("Add", ["e", "one"], ["g"]),
        helper.make_node("Mul", ["s", "g"], ["y"]),
    ],
}


@pytest.mark.parametrize("name", GATED)
def test_the_signal_takes_all_and_the_gate_nothing(name: str) -> None:
    w = RNG.standard_normal((4, 4, 1, 1))
    head = helper.make_node("Conv", ["x", "w"], ["s"])
    proto = graph([head, *GATED[name]], ["N", 4, 3, 3], w=w, one=np.ones(1))
    x, r = (RNG.standard_normal((1, 4, 3, 3)).astype(np.float32) for _ in range(2))
    np.testing.assert_array_equal(propagate(proto, fg_cam(), x, r, source="s"), r)


def product_of_two(x: Matrix, r: Matrix, products: str) -> tuple[Matrix, Matrix]:
    """Return the relevance of two convolutions whose outputs are multiplied."""
    branches = [helper.make_node("Conv", ["x", n], [out]) for n, out in (("w", "a"), ("v", "b"))]
    w, v = RNG.standard_normal((2, 4, 4, 1, 1))
    proto = graph([*branches, helper.make_node("Mul", ["a", "b"], ["y"])], ["N", 4, 3, 3], w=w, v=v)
    a, b = (propagate(proto, fg_cam(products=products), x, r, source=n) for n in "ab")
    return a, b


@pytest.mark.parametrize("products", ["value", "split"])
def test_of_a_product_without_a_gate_each_operand_takes_half(products: str) -> None:
    x, r = (RNG.standard_normal((1, 4, 3, 3)).astype(np.float32) for _ in range(2))
    for part in product_of_two(x, r, products):
        np.testing.assert_allclose(part, r / 2, rtol=1e-6, atol=0)


ATTENTION = [
    *(helper.make_node("MatMul", ["x", n], [n.lower()]) for n in ("Q", "K", "V")),
    helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
    helper.make_node("MatMul", ["q", "kt"], ["s"]),
    helper.make_node("Softmax", ["s"], ["p"]),
    helper.make_node("MatMul", ["p", "v"], ["y"]),
]


def attention() -> onnx.ModelProto:
    weights = dict(zip("QKV", RNG.standard_normal((3, 6, 6)), strict=True))
    return graph(ATTENTION, ["N", 5, 6], **weights)


def test_attention_hands_relevance_to_the_values_in_proportion_to_their_weights() -> None:
    proto = attention()
    x, r = (RNG.standard_normal((1, 5, 6)).astype(np.float32) for _ in range(2))
    model = load(proto)
    emitter = Emitter(model)
    for name in "pv":
        emitter.output(name, emitter.value(name))
    found = Session(emitter.build()).run({"x": x})
    p, v = found["p"][0].astype(np.float64), found["v"][0].astype(np.float64)
    contributions = p[:, :, None] * np.maximum(v, 0)[None]
    z = contributions.sum(axis=1, keepdims=True)
    expected = (np.divide(contributions, z, out=np.zeros_like(contributions), where=z != 0) * r[0][:, None]).sum(axis=0)
    got = propagate(proto, fg_cam(), x, r, source="v")[0]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_split_products_hand_half_to_the_attention_weights() -> None:
    proto = attention()
    x = RNG.standard_normal((1, 5, 6)).astype(np.float32)
    r = np.abs(RNG.standard_normal((1, 5, 6))).astype(np.float32)
    halves = [propagate(proto, fg_cam(products="split"), x, r, source=n).sum() for n in "pv"]
    reached = propagate(proto, fg_cam(), x, r, source="v").sum()
    np.testing.assert_allclose(halves, [reached / 2, reached / 2], rtol=1e-4, atol=0)


def test_statistics_of_a_normalisation_are_held_constant() -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["m"], keepdims=1),
        helper.make_node("Sub", ["x", "m"], ["c"]),
        helper.make_node("Mul", ["c", "c"], ["s"]),
        helper.make_node("ReduceMean", ["s", "axes"], ["v"], keepdims=1),
        helper.make_node("Sqrt", ["v"], ["d"]),
        helper.make_node("Div", ["c", "d"], ["y"]),
    ]
    proto = graph(nodes, ["N", 4, 6])
    proto.graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), "axes"))
    x, r = (RNG.standard_normal((1, 4, 6)).astype(np.float32) for _ in range(2))
    np.testing.assert_array_equal(propagate(proto, fg_cam(), x, r), r)


def test_joined_and_cut_tensors_keep_every_share() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["p"]),
        helper.make_node("Split", ["p", "sizes"], ["a", "b"], axis=1),
        helper.make_node("Concat", ["b", "a"], ["c"], axis=1),
        helper.make_node("Pad", ["c", "pads"], ["y"]),
    ]
    proto = graph(nodes, ["N", 4, 3, 3])
    for name, value in (("sizes", [1, 3]), ("pads", [0, 0, 1, 0, 0, 0, 0, 2])):
        proto.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))
    x = RNG.standard_normal((1, 4, 3, 3)).astype(np.float32)
    r = RNG.standard_normal((1, 4, 4, 5)).astype(np.float32)
    inner = r[:, :, 1:, :3]
    expected = np.concatenate([inner[:, 3:], inner[:, :3]], axis=1)
    np.testing.assert_array_equal(propagate(proto, fg_cam(), x, r), expected)
