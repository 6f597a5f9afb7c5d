"""Relevance through attention: AttnLRP by the paper's formulas, Chefer's rollout by finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from attention_net import GRID, Array, forward, picture, softmax, transformer, weights
from nets import model_of, node, small_cnn
from test_lrp import graph, propagate

import fgcam_onnx
from fgcam_onnx.errors import LayerError, OptionError
from fgcam_onnx.layers.attention import attention_weights, tokens_of
from fgcam_onnx.loading.loading import load
from fgcam_onnx.lrp.table import attn_lrp, cp_lrp
from fgcam_onnx.methods.attention import rolled

CASES = {"class token": (1, False), "two tokens": (2, False), "no class token": (0, True), "pooled": (1, True)}


@pytest.mark.parametrize("case", CASES)
def test_chefers_map_is_the_rollout_of_attention_and_its_finite_differences(case: str) -> None:
    prefix, pooled = CASES[case]
    w, x = weights(prefix=prefix), picture()
    logits, attention = forward(x, w, prefix=prefix, pooled=pooled, layers=2)
    target = int(logits.argmax())
    gradients = []
    for i, a in enumerate(attention):
        slope = np.zeros_like(a)
        for at in np.ndindex(a.shape):
            step = np.zeros_like(a)
            step[at] = 1e-5
            up, down = (forward(x, w, prefix=prefix, pooled=pooled, layers=2, change={i: s})[0] for s in (step, -step))
            slope[at] = (up - down)[target] / 2e-5
        gradients.append(slope)
    total = np.eye(len(attention[0][0]))
    for a, g in zip(attention, gradients, strict=True):
        total = total + np.maximum(a * g, 0).mean(0) @ total
    patches = slice(prefix, None)
    row = (total - np.eye(len(total)))[patches].mean(0) if pooled else total[0]
    e = fgcam_onnx.explain(transformer(prefix=prefix, pooled=pooled), x, method="chefer")
    assert e.target[0] == target
    expected = row[patches].reshape(GRID, GRID)
    np.testing.assert_allclose(e.map[0], expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_the_rollout_is_the_papers_recursion() -> None:
    rng = np.random.default_rng(0)
    a, g = rng.uniform(size=(3, 2, 4, 5, 5)), rng.standard_normal((3, 2, 4, 5, 5))
    for n in range(2):
        total = np.eye(5)
        for layer in range(3):
            total = total + np.maximum(a[layer, n] * g[layer, n], 0).mean(0) @ total
        np.testing.assert_allclose(rolled(list(a), list(g))[n] + np.eye(5), total, rtol=1e-12)


def test_tokens_that_the_score_is_read_from_are_found() -> None:
    for prefix, pooled, read in ((1, False, (0,)), (0, True, tuple(range(16))), (2, True, tuple(range(2, 18)))):
        model = load(transformer(prefix=prefix, pooled=pooled))
        names = attention_weights(model, logits="logits")
        assert names == ["A0", "A1"]
        tokens = tokens_of(model, names[0], logits="logits")
        assert (tokens.grid.before, tokens.grid.size, tokens.read) == (prefix, (4, 4), read)


def test_attention_that_an_older_operator_set_flattens_is_found() -> None:
    """Softmax before opset 13 is over all axes from one on, and is raised to Flatten, Softmax, Reshape."""
    model = transformer()
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for n in nodes:
        if n.op_type != "Softmax":
            model.graph.node.append(n)
            continue
        name = n.output[0]
        model.graph.node.extend(
            [
                node("Shape", [n.input[0]], f"{name}_shape"),
                node("Flatten", [n.input[0]], f"{name}_flat", axis=3),
                node("Softmax", [f"{name}_flat"], f"{name}_soft", axis=-1),
                node("Reshape", [f"{name}_soft", f"{name}_shape"], name),
            ]
        )
    assert attention_weights(load(model), logits="logits") == ["A0", "A1"]
    found = fgcam_onnx.explain(model, picture(), method="chefer").map
    expected = fgcam_onnx.explain(transformer(), picture(), method="chefer").map
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_what_chefers_method_cannot_explain_is_refused() -> None:
    with pytest.raises(LayerError, match="no self-attention"):
        fgcam_onnx.explain(small_cnn(), np.zeros((1, 3, 12, 10), np.float32), method="chefer")
    with pytest.raises(OptionError, match="leave layers"):
        fgcam_onnx.explain(transformer(), picture(), method="chefer", layers="conv")


def test_windows_of_one_size_in_two_stages_are_not_rolled_out() -> None:
    """Four windows of four tokens, then one: the numbers of tokens agree, their places do not."""
    nodes = [
        node("Softmax", ["x"], "A0", axis=-1),
        node("MatMul", ["A0", "x"], "av0"),
        node("ReduceMean", ["av0", "axis0"], "pooled", keepdims=1),
        node("Softmax", ["pooled"], "A1", axis=-1),
        node("MatMul", ["A1", "pooled"], "av1"),
        node("ReduceMean", ["av1", "axis1"], "logits", keepdims=0),
    ]
    axes = {"axis0": np.array([0], np.int64), "axis1": np.array([1], np.int64)}
    model = load(model_of(nodes, axes, inputs={"x": [4, 4, 4]}, outputs=["logits"]))
    with pytest.raises(LayerError, match="4 x 4, in windows"):
        attention_weights(model, logits="logits")


# ---- AttnLRP

E = 1e-9


def over(r: Array, z: Array) -> Array:
    return r / (z + np.where(z < 0, -E, E))


def attention_relevance(x: Array, w: dict[str, Array], r: Array, *, through_weights: bool) -> tuple[Array, Array]:
    """Return the relevance of x for a head's output o = softmax(x Q (x K)^T) x V, by the paper's propositions.

    Every step by loops over outputs: Softmax by Taylor (3.1), products half to each operand (3.3), epsilon for
    the linear maps (3.2).
    """
    q, k, v = (x @ w[n] for n in "QKV")
    s = q @ k.T
    a = softmax(s)
    o = a @ v
    tokens, width = o.shape
    half = 0.5 if through_weights else 1.0
    r_a, r_v = np.zeros_like(a), np.zeros_like(v)
    for j in range(tokens):
        for p in range(width):
            share = half * over(r[j, p], o[j, p])
            r_a[j] += a[j] * v[:, p] * share
            r_v[:, p] += a[j] * v[:, p] * share
    r_x = _linear(x, w["V"], v, r_v)
    if through_weights:
        r_s = np.stack([s[j] * (r_a[j] - a[j] * r_a[j].sum()) for j in range(tokens)])
        r_q, r_k = np.zeros_like(q), np.zeros_like(k)
        for i in range(tokens):
            for j in range(tokens):
                share = 0.5 * over(r_s[i, j], s[i, j])
                r_q[i] += q[i] * k[j] * share
                r_k[j] += q[i] * k[j] * share
        r_x = r_x + _linear(x, w["Q"], q, r_q) + _linear(x, w["K"], k, r_k)
    return r_x, a


def _linear(x: Array, w: Array, y: Array, r: Array) -> Array:
    return x * (over(r, y) @ w.T)


ATTENTION = [
    *(node("MatMul", ["x", n], n.lower()) for n in "QKV"),
    node("Transpose", ["k"], "kt", perm=[0, 2, 1]),
    node("MatMul", ["q", "kt"], "s"),
    node("Softmax", ["s"], "p", axis=-1),
    node("MatMul", ["p", "v"], "y"),
]


@pytest.mark.parametrize("variant", ["attnlrp", "cplrp", "attnlrp by value"])
def test_attention_shares_as_the_paper_says(variant: str) -> None:
    rng = np.random.default_rng(4)
    w = {n: rng.standard_normal((6, 6)) for n in "QKV"}
    x, r = (rng.standard_normal((1, 5, 6)).astype(np.float32) for _ in range(2))
    composite = {"attnlrp": attn_lrp(), "cplrp": cp_lrp(), "attnlrp by value": attn_lrp(products="value")}[variant]
    found = propagate(graph(ATTENTION, ["N", 5, 6], **w), composite, x, r)[0]
    expected, _ = attention_relevance(x[0].astype(np.float64), w, r[0], through_weights=variant == "attnlrp")
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4 * np.abs(expected).max())


def test_a_layer_normalization_shares_as_the_linear_map_that_it_is_at_its_spread() -> None:
    rng = np.random.default_rng(6)
    scale, shift = rng.standard_normal((2, 7))
    proto = graph([node("LayerNormalization", ["x", "g", "b"], "y", axis=-1)], ["N", 3, 7], g=scale, b=shift)
    x, r = (rng.standard_normal((1, 3, 7)).astype(np.float32) for _ in range(2))
    found = propagate(proto, attn_lrp(), x, r)[0]
    for row in range(3):
        v = x[0, row].astype(np.float64)
        spread = np.sqrt(v.var() + 1e-5)
        matrix = scale[:, None] * (np.eye(7) - 1 / 7) / spread
        y = matrix @ v + shift
        expected = sum(matrix[j] * v * over(r[0, row, j], y[j]) for j in range(7))
        np.testing.assert_allclose(found[row], expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_a_batch_normalization_that_is_left_over_gives_its_shift_a_share() -> None:
    rng = np.random.default_rng(8)
    s, b, m = rng.standard_normal((3, 4))
    v = rng.uniform(0.5, 2, 4)
    proto = graph([node("BatchNormalization", ["x", *"sbmv"], "y")], ["N", 4, 2, 2], s=s, b=b, m=m, v=v)
    x, r = (rng.standard_normal((1, 4, 2, 2)).astype(np.float32) for _ in range(2))
    part = x[0] * (s / np.sqrt(v + 1e-5))[:, None, None]
    expected = part * over(r[0], part + (b - m * s / np.sqrt(v + 1e-5))[:, None, None])
    found = propagate(proto, attn_lrp(), x, r)[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("op", ["InstanceNormalization", "GroupNormalization"])
def test_other_normalizations_share_as_layer_normalization_does(op: str) -> None:
    rng = np.random.default_rng(7)
    scale, shift = rng.standard_normal((2, 4))
    attrs = {"num_groups": 2} if op == "GroupNormalization" else {}
    opset = 21
    nodes = [node(op, ["x", "g", "b"], "y", **attrs)]
    weights_ = {"g": scale.astype(np.float32), "b": shift.astype(np.float32)}
    proto = model_of(nodes, weights_, inputs={"x": ["N", 4, 3, 3]}, outputs=["y"], opset=opset, ir=10)
    x, r = (rng.standard_normal((1, 4, 3, 3)).astype(np.float32) for _ in range(2))
    found = propagate(proto, attn_lrp(), x, r)[0]
    for members in [[0, 1], [2, 3]] if attrs else [[c] for c in range(4)]:
        v = x[0, members].astype(np.float64)
        g, b = scale[members][:, None, None], shift[members][:, None, None]
        spread = np.sqrt(v.var() + 1e-5)
        share = over(r[0, members], (v - v.mean()) / spread * g + b) * g / spread
        expected = v * (share - share.mean())
        np.testing.assert_allclose(found[members], expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("pooled", [False, True])
def test_cp_lrp_of_a_whole_transformer_is_input_times_slope_of_what_is_left_when_its_gates_are_frozen(
    pooled: bool,
) -> None:
    """With attention, spreads and the slopes of GELU held constant the net is linear: differences give its slope."""
    w, x = weights(prefix=1), picture()
    frozen: list[Array] = []
    logits, _ = forward(x, w, prefix=1, pooled=pooled, layers=2, frozen=frozen)
    target = int(logits.argmax())
    slope = np.zeros(x.shape)
    for at in np.ndindex(x.shape):
        moved = x.astype(np.float64)
        moved[at] += 1
        slope[at] = (forward(moved, w, prefix=1, pooled=pooled, layers=2, frozen=frozen)[0] - logits)[target]
    expected = (x * slope)[0].sum(0)
    e = fgcam_onnx.explain(transformer(pooled=pooled), x, method="cplrp", start="logit", epsilon=1e-12)
    np.testing.assert_allclose(e.map[0], expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    other = fgcam_onnx.explain(transformer(pooled=pooled), x, method="attnlrp", start="logit").map[0]
    assert np.abs(other - expected).max() > 1e-3 * np.abs(expected).max()
