"""Relevance through recurrent cells: gates take none, and what a walk made of nothing is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nets import model_of, node
from numpy.typing import NDArray
from onnx import ModelProto

from fgcam_onnx import explain
from fgcam_onnx.assembling import ExcessWarning

Array = NDArray[Any]
STEPS, WIDTH, HIDDEN, CLASSES = 9, 4, 6, 3
GATES = {"GRU": 3, "LSTM": 4}


def weights(op: str, seed: int) -> dict[str, Array]:
    rng, rows = np.random.default_rng(seed), GATES[op] * HIDDEN
    sizes = {"w": (1, rows, WIDTH), "r": (1, rows, HIDDEN), "b": (1, 2 * rows), "fc": (HIDDEN, CLASSES)}
    return {n: rng.normal(size=s).astype(np.float32) * (1 if n == "fc" else 0.4) for n, s in sizes.items()}


def reader(op: str, seed: int) -> ModelProto:
    """Return a net that reads columns of a picture (N, WIDTH, 1, STEPS), and scores the last state."""
    attrs = {"linear_before_reset": 1} if op == "GRU" else {}
    nodes = [
        node("Squeeze", ["x", "two"], "s"),
        node("Transpose", ["s"], "t", perm=[2, 0, 1]),
        node(op, ["t", "w", "r", "b"], "y", "h", hidden_size=HIDDEN, **attrs),
        node("Squeeze", ["h", "zero"], "last"),
        node("MatMul", ["last", "fc"], "logits"),
    ]  # fmt: skip
    whole = weights(op, seed) | {"two": np.array([2]), "zero": np.array([0])}
    return model_of(nodes, whole, inputs={"x": ["N", WIDTH, 1, STEPS]}, outputs=["logits"])


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def by_hand(x: Array, w: dict[str, Array], target: int) -> Array:
    """Return the relevance of every element of ``x`` (STEPS, WIDTH) by the equations of Arras et al., 2017."""
    wx, rh, (wb, rb) = w["w"][0].T, w["r"][0].T, np.split(w["b"][0], 2)
    h, c, past = np.zeros(HIDDEN), np.zeros(HIDDEN), []
    for row in x:
        i, o, f, g = np.split(row @ wx + h @ rh + wb + rb, 4)
        old, zg, fresh = (h, c), g, sigmoid(i) * np.tanh(g)
        kept = sigmoid(f) * c
        c = kept + fresh
        h = sigmoid(o) * np.tanh(c)
        past.append((old, kept, fresh, c, zg))
    r_h, r_c, found = h * w["fc"][:, target] / (h @ w["fc"][:, target]), np.zeros(HIDDEN), np.zeros_like(x)
    wg, rg = wx[:, 3 * HIDDEN :], rh[:, 3 * HIDDEN :]
    for t in reversed(range(len(x))):
        (h, c), kept, fresh, now, zg = past[t]
        r_c = r_c + r_h
        share = fresh / now * r_c / zg
        r_h, r_c = h * (rg @ share), kept / now * r_c
        found[t] = x[t] * (wg @ share)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_an_lstm_hands_relevance_back_as_its_equations_do(seed: int) -> None:
    x = np.random.default_rng(10 + seed).normal(size=(1, WIDTH, 1, STEPS)).astype(np.float32)
    net = reader("LSTM", seed)
    found = explain(net, x, method="lrp", target=1, composite="epsilon", epsilon=1e-9, start="plain").map[0, 0]
    w = {n: a.astype(np.float64) for n, a in weights("LSTM", seed).items()}
    wanted = by_hand(x[0, :, 0].T.astype(np.float64), w, 1).sum(1)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * abs(wanted).max())


@pytest.mark.parametrize("op", ["GRU", "LSTM"])
def test_the_map_of_a_recurrent_net_is_of_the_size_of_its_score(op: str) -> None:
    x = np.random.default_rng(3).normal(size=(40, WIDTH, 1, STEPS)).astype(np.float32)
    for seed in range(3):
        e = explain(reader(op, seed), x, method="lrp", target=1)
        assert np.median(abs(e.map).sum((1, 2))) < 20, seed


def test_relevance_that_was_made_of_nothing_is_warned_of() -> None:
    x = np.random.default_rng(3).normal(size=(60, WIDTH, 1, STEPS)).astype(np.float32)
    with pytest.warns(ExcessWarning, match="times the relevance that the walk began with"):
        explain(reader("LSTM", 2), x, method="attnlrp", target=1)
