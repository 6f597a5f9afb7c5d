"""Each published rule, re-derived by the textbook's loops on a dense matrix got by probing the layer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from test_lrp import LAYERS, Matrix, conv, dense, forward, graph, propagate

from fgcam_onnx.errors import OptionError
from fgcam_onnx.lrp import linear
from fgcam_onnx.lrp.rules import Rule

E = 1e-6
EPSILON, GAMMA = 0.3, 0.4
LOW, HIGH = (-3.0, -2.5, -4.0, -3.5), (3.0, 4.0, 2.5, 3.5)

Unit = Callable[[Matrix, Matrix, float, float, dict[str, Matrix]], Matrix]
"""Messages of one output unit: from its weights w, the inputs x, its bias b, its relevance r."""


def sign(z: float) -> float:
    return -1.0 if z < 0 else 1.0


def pos(v: Any) -> Any:
    return np.maximum(v, 0)


def neg(v: Any) -> Any:
    return np.minimum(v, 0)


def shared(parts: Matrix, rest: float, r: float, epsilon: float = E) -> Matrix:
    """Share r in proportion to ``parts``, where ``rest`` takes its share, too."""
    z = parts.sum() + rest
    return parts / (z + epsilon * sign(z)) * r


def lrp_0(w: Matrix, x: Matrix, b: float, r: float, _: dict[str, Matrix]) -> Matrix:
    return w * x / ((w * x).sum() + b) * r


def epsilon(w: Matrix, x: Matrix, b: float, r: float, _: dict[str, Matrix]) -> Matrix:
    return shared(w * x, b, r, EPSILON)


def gamma(w: Matrix, x: Matrix, b: float, r: float, _: dict[str, Matrix]) -> Matrix:
    return shared(x * (w + GAMMA * pos(w)), b + GAMMA * pos(b), r)


def generalized(w: Matrix, x: Matrix, b: float, r: float, _: dict[str, Matrix]) -> Matrix:
    z = (w * x).sum() + b
    if z == 0:
        return 0 * w
    favoured, other = (pos, neg) if z > 0 else (neg, pos)
    parts = pos(x) * (w + GAMMA * favoured(w)) + neg(x) * (w + GAMMA * other(w))
    return shared(parts, b + GAMMA * favoured(b), r)


def alpha_beta(alpha: float, beta: float) -> Unit:
    def unit(w: Matrix, x: Matrix, b: float, r: float, _: dict[str, Matrix]) -> Matrix:
        return alpha * shared(pos(w * x), pos(b), r) - beta * shared(neg(w * x), neg(b), r)

    return unit


def box(w: Matrix, x: Matrix, b: float, r: float, ends: dict[str, Matrix]) -> Matrix:
    return shared(w * x - pos(w) * ends["low"] - neg(w) * ends["high"], 0, r)


def w_square(w: Matrix, x: Matrix, b: float, r: float, _: dict[str, Matrix]) -> Matrix:
    return shared(w * w, b * b, r)


def flat(w: Matrix, x: Matrix, b: float, r: float, ends: dict[str, Matrix]) -> Matrix:
    return shared(ends["reached"], 0, r)


def without_bias(unit: Unit) -> Unit:
    return lambda w, x, b, r, ends: unit(w, x, 0.0, r, ends)


RULES: dict[str, tuple[Rule, Unit]] = {
    "LRP-0": (linear.lrp_0(), lrp_0),
    "epsilon": (linear.epsilon(EPSILON), epsilon),
    "epsilon, no bias": (linear.epsilon(EPSILON, bias=False), without_bias(epsilon)),
    "generalized gamma": (linear.generalized_gamma(GAMMA), generalized),
    "alpha 2 beta 1": (linear.alpha_beta(), alpha_beta(2, 1)),
    "alpha 1.5 beta 0.5": (linear.alpha_beta(1.5, 0.5), alpha_beta(1.5, 0.5)),
    "z+": (linear.z_plus(), alpha_beta(1, 0)),
    "z+, no bias": (linear.z_plus(bias=False), without_bias(alpha_beta(1, 0))),
    "zB": (linear.z_box(LOW, HIGH), box),
    "zB of one range": (linear.z_box(-3, 3), lambda w, x, b, r, _: box(w, x, b, r, {"low": -3, "high": 3})),
    "w square": (linear.w_square(), w_square),
    "flat": (linear.flat(), flat),
}
CONSERVING = ("alpha 2 beta 1", "z+, no bias", "zB", "w square", "flat")


@functools.cache
def matrix(name: str) -> Matrix:
    """Return the (out, in) matrix of a layer, all unit inputs at once."""
    build, shape = LAYERS[name]
    size = int(np.prod(shape))
    return forward(build(False), np.eye(size, dtype=np.float32).reshape(size, *shape)).reshape(size, -1).T.astype(float)


@functools.cache
def bias_of(name: str, shape: tuple[int, ...]) -> Matrix:
    """Return what a layer gives for no input, flat."""
    zero = np.zeros((1, *shape), np.float32)
    return forward(LAYERS[name][0](True), zero).reshape(-1).astype(np.float64)


def channel_ends(shape: tuple[int, ...]) -> dict[str, Matrix]:
    """Return the least and greatest input, flat, one for each channel; the same for all of a vector."""
    if len(shape) == 1:
        return {"low": np.full(shape, LOW[0]), "high": np.full(shape, HIGH[0])}
    return {k: np.broadcast_to(np.reshape(v, (-1, 1, 1)), shape).reshape(-1) for k, v in (("low", LOW), ("high", HIGH))}


def by_loops(name: str, unit: Unit, x: Matrix, r: Matrix) -> Matrix:
    """Return the relevance of one picture's inputs, unit after unit."""
    shape = LAYERS[name][1]
    w, b = matrix(name), bias_of(name, shape)
    total = np.zeros(w.shape[1])
    for j in range(len(w)):
        ends = {**channel_ends(shape), "reached": (w[j] != 0).astype(float)}
        total += unit(w[j], x.reshape(-1).astype(np.float64), float(b[j]), float(r.reshape(-1)[j]), ends)
    return total


def drawn(name: str, seed: int) -> tuple[Matrix, Matrix]:
    """Draw inputs and relevance of a layer; relevance only where no denominator is next to 0."""
    build, shape = LAYERS[name]
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((1, *shape)).astype(np.float32)
    y = forward(build(True), x)
    plain = forward(build(False), x)
    far = (np.abs(y) > 0.05 * np.abs(y).max()) & (np.abs(plain) > 0.05 * np.abs(plain).max())
    return x, (rng.standard_normal(y.shape) * far).astype(np.float32)


def boxed(name: str, rule: str) -> Rule:
    """Return a rule; the box of a vector is one range."""
    return linear.z_box(LOW[0], HIGH[0]) if rule == "zB" and name == "gemm" else RULES[rule][0]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", LAYERS)
def test_a_rule_is_the_textbook_formula(name: str, rule: str) -> None:
    x, r = drawn(name, 3)
    expected = by_loops(name, RULES[rule][1], x[0], r[0])
    found = propagate(LAYERS[name][0](True), boxed(name, rule), x, r)[0].reshape(-1)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=5e-5)


@pytest.mark.parametrize("rule", ["gamma", "generalized gamma"])
def test_gamma_is_the_textbook_formula_for_inputs_of_at_least_0(rule: str) -> None:
    chosen, unit = {"gamma": (linear.gamma(GAMMA), gamma), "generalized gamma": RULES["generalized gamma"]}[rule]
    x, r = drawn("conv 3x3", 4)
    y = forward(LAYERS["conv 3x3"][0](True), np.abs(x))
    r = np.where(np.abs(y) > 0.1, r, 0).astype(np.float32)
    expected = by_loops("conv 3x3", unit, np.abs(x[0]), r[0])
    found = propagate(LAYERS["conv 3x3"][0](True), chosen, np.abs(x), r)[0].reshape(-1)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=5e-5)


@pytest.mark.parametrize("rule", CONSERVING)
def test_what_no_bias_takes_is_kept(rule: str) -> None:
    """On a layer without bias the inputs share exactly what arrives."""
    build, _ = LAYERS["conv 3x3"]
    x, r = drawn("conv 3x3", 5)
    found = propagate(build(False), RULES[rule][0], x, r)
    np.testing.assert_allclose(found.sum(), r.sum(), rtol=0, atol=1e-4 * np.abs(r).sum())


def test_epsilon_absorbs() -> None:
    """Negative control: what epsilon adds to a denominator is lost, and so is what a bias takes."""
    x, r = drawn("conv 3x3", 6)
    for rule, biased in ((linear.epsilon(EPSILON), False), (linear.z_plus(), True)):
        found = propagate(LAYERS["conv 3x3"][0](biased), rule, x, np.abs(r))
        assert found.sum() < 0.97 * np.abs(r).sum()


def test_a_formula_one_percent_off_is_told_apart() -> None:
    """Negative control."""
    x, r = drawn("conv 3x3", 3)
    wrong = by_loops("conv 3x3", alpha_beta(2.02, 1.02), x[0], r[0])
    found = propagate(LAYERS["conv 3x3"][0](True), linear.alpha_beta(), x, r)[0].reshape(-1)
    assert np.abs(found - wrong).max() > 5e-5 * np.abs(wrong).max()


POOLED: dict[str, tuple[str, dict[str, Any]]] = {
    "average": ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "padded average": ("AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "global average": ("GlobalAveragePool", {}),
}


@pytest.mark.parametrize("name", POOLED)
def test_an_average_shares_by_contribution(name: str) -> None:
    op, attrs = POOLED[name]
    proto = graph([helper.make_node(op, ["x"], ["y"], **attrs)], ["N", 2, 5, 5])
    w = dense(proto, (2, 5, 5))
    rng = np.random.default_rng(8)
    x = rng.standard_normal((1, 2, 5, 5)).astype(np.float32)
    y = forward(proto, x)
    r = (rng.standard_normal(y.shape) * (np.abs(y) > 0.02)).astype(np.float32)
    flat_x, flat_r = x.reshape(-1).astype(np.float64), r.reshape(-1).astype(np.float64)
    expected = sum(shared(w[j] * flat_x, 0, flat_r[j]) for j in range(len(w)))
    found = propagate(proto, linear.epsilon(), x, r).reshape(-1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-5 * np.abs(expected).max())


def scaled_gemm() -> onnx.ModelProto:
    """Write a Gemm with every attribute away from its default."""
    rng = np.random.default_rng(9)
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], alpha=0.5, beta=2.0, transB=0)
    return graph([node], ["N", 5], w=rng.standard_normal((5, 4)), b=rng.standard_normal(4))


def test_a_scaled_bias_takes_its_share() -> None:
    proto = scaled_gemm()
    rng = np.random.default_rng(10)
    x, r = rng.standard_normal((1, 5)).astype(np.float32), rng.standard_normal((1, 4)).astype(np.float32)
    b = forward(proto, np.zeros_like(x))[0].astype(np.float64)
    units = np.eye(5, dtype=np.float32)
    w = np.stack([forward(proto, u[None])[0] - b for u in units], axis=1)
    expected = sum(alpha_beta(2, 1)(w[j], x[0].astype(np.float64), float(b[j]), float(r[0, j]), {}) for j in range(4))
    found = propagate(proto, linear.alpha_beta(), x, r)[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_lrp_0_passes_nothing_on_where_the_output_is_0() -> None:
    proto = conv("Conv", np.zeros((2, 3, 1, 1)), False, (3, 2, 2))
    found = propagate(proto, linear.lrp_0(), np.ones((1, 3, 2, 2), np.float32), np.ones((1, 2, 2, 2), np.float32))
    np.testing.assert_array_equal(found, np.zeros_like(found))


@pytest.mark.parametrize(("alpha", "beta"), [(2, 2), (0.5, -0.5), (1, 1)])
def test_alpha_and_beta_must_fit_each_other(alpha: float, beta: float) -> None:
    with pytest.raises(OptionError, match="differ by 1"):
        linear.alpha_beta(alpha, beta)


@pytest.mark.parametrize("make", [linear.epsilon, linear.gamma, linear.generalized_gamma])
def test_what_must_not_be_negative_is_refused(make: Callable[[float], Rule]) -> None:
    with pytest.raises(OptionError, match="at least 0"):
        make(-1.0)
