"""Relevance through products of one, two or three operands: each form of a function has the same relevance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from nets import model_of, node
from numpy.testing import assert_allclose
from onnx import ModelProto, NodeProto

from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.loading.loading import load
from fgcam_onnx.lrp.composites import Composite, fg_cam, relevance_cam
from fgcam_onnx.lrp.table import attn_lrp, cp_lrp, epsilon_gamma_box, epsilon_plus, find_composite
from fgcam_onnx.program import append_relevance
from fgcam_onnx.runtime import Session

RNG = np.random.default_rng(11)
W, V, FILTER = (RNG.normal(size=s).astype(np.float32) for s in ((6, 4), (6, 4), (3, 2, 3, 3)))
M = RNG.normal(size=(4, 4)).astype(np.float32)
X = RNG.normal(size=(2, 2, 4, 5)).astype(np.float32)
R = RNG.normal(size=(2, 4)).astype(np.float32)

COMPOSITES: Mapping[str, Composite] = {
    "attnlrp": attn_lrp(),
    "attnlrp with gamma": attn_lrp(gamma=0.25),
    "cplrp": cp_lrp(),
    "epsilongammabox": epsilon_gamma_box(),
    "epsilonplus": epsilon_plus(),
    "fgcam": fg_cam(),
    "relevancecam": relevance_cam(),
    "zplus": find_composite("zplus")(),
}
START = [
    node("Conv", ["x", "filter"], "c"),
    node("Relu", ["c"], "a"),
    node("Flatten", ["a"], "wide"),
    node("Slice", ["wide", "zero", "six", "one"], "f"),
    node("Slice", ["wide", "six", "twelve", "one"], "h"),
]
WEIGHTS = {
    "w": W, "v": V, "m": M, "filter": FILTER, "two": np.array(2, np.float32), "half": np.array(-0.5, np.float32),
    **{n: np.array([i]) for n, i in (("zero", 0), ("one", 1), ("six", 6), ("twelve", 12))},
    "joint": np.einsum("io,op->ip", W, M),
}  # fmt: skip


def net(*nodes: NodeProto) -> ModelProto:
    """Return a net whose convolution feeds ``f`` and ``h``, six units each, to ``nodes``, which make ``y``."""
    used = {i for n in (*START, *nodes) for i in n.input}
    weights = {n: a for n, a in WEIGHTS.items() if n in used}
    return model_of([*START, *nodes], weights, inputs={"x": ["N", 2, 4, 5]}, outputs=["y"])


def relevance(proto: ModelProto, composite: Composite, *, canonize: bool = False) -> np.ndarray[Any, Any]:
    emitter = Emitter(load(proto))
    seed = emitter.input("r", np.float32, ("N", *R.shape[1:]))
    emitter.output(
        "back",
        append_relevance(emitter, ["x"], output="y", seed=seed, pullback=composite, canonize=canonize)["x"],
    )
    return Session(emitter.build(), threads=1).run({"x": X, "r": R})["back"]


FORMS: Mapping[str, tuple[Sequence[NodeProto], Sequence[NodeProto]]] = {
    "Gemm whose third operand depends on the input": (
        [node("MatMul", ["h", "v"], "residual"), node("Gemm", ["f", "w", "residual"], "y")],
        [
            node("MatMul", ["h", "v"], "residual"),
            node("MatMul", ["f", "w"], "product"),
            node("Add", ["product", "residual"], "y"),
        ],
    ),
    "Gemm with a multiple of an operand that depends on the input": (
        [node("MatMul", ["h", "v"], "residual"), node("Gemm", ["f", "w", "residual"], "y", alpha=2.0, beta=-0.5)],
        [
            node("MatMul", ["h", "v"], "residual"),
            node("Gemm", ["f", "w"], "product", alpha=2.0),
            node("Mul", ["residual", "half"], "scaled"),
            node("Add", ["product", "scaled"], "y"),
        ],
    ),
    "Gemm that adds its own first operand": (
        [node("MatMul", ["h", "v"], "s"), node("Gemm", ["s", "m", "s"], "y")],
        [
            node("MatMul", ["h", "v"], "s"),
            node("Gemm", ["s", "m"], "product"),
            node("Add", ["product", "s"], "y"),
        ],
    ),
    "Einsum of one operand": (
        [
            node("Gemm", ["f", "w"], "z"),
            node("Einsum", ["z"], "t", equation="bo->ob"),
            node("Transpose", ["t"], "y", perm=[1, 0]),
        ],
        [
            node("Gemm", ["f", "w"], "z"),
            node("Transpose", ["z"], "t", perm=[1, 0]),
            node("Transpose", ["t"], "y", perm=[1, 0]),
        ],
    ),
    "Einsum of three operands, two of them weights": (
        [node("Einsum", ["f", "w", "m"], "y", equation="bi,io,op->bp")],
        [node("MatMul", ["f", "joint"], "y")],
    ),
    "Einsum of three operands, the input last": (
        [node("Einsum", ["w", "m", "f"], "y", equation="io,op,bi->bp")],
        [node("MatMul", ["f", "joint"], "y")],
    ),
    "Einsum of three operands, two of which depend on the input": (
        [node("Einsum", ["f", "h", "w"], "y", equation="bi,bi,io->bo")],
        [
            node("Einsum", ["w", "f"], "t", equation="io,bi->iob"),
            node("Einsum", ["t", "h"], "y", equation="iob,bi->bo"),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("form", FORMS)
def test_a_product_has_the_relevance_of_the_same_function_written_in_pairs(form: str, composite: str) -> None:
    given, spelled = (relevance(net(*nodes), COMPOSITES[composite]) for nodes in FORMS[form])
    assert np.abs(spelled).max() > 0
    assert_allclose(given, spelled, rtol=0, atol=1e-5 * np.abs(spelled).max())


@pytest.mark.parametrize("form", FORMS)
def test_products_in_pairs_are_canonized_alike(form: str) -> None:
    given, spelled = (relevance(net(*nodes), epsilon_plus(), canonize=True) for nodes in FORMS[form])
    assert_allclose(given, spelled, rtol=0, atol=1e-5 * np.abs(spelled).max())


def test_an_einsum_that_sums_shares_in_proportion_to_what_is_summed() -> None:
    """Of one operand all weights are 1: the z+ rule hands out by the positive part."""
    nodes = [node("Einsum", ["a"], "y", equation="bchw->bc")]
    proto = model_of([*START[:2], *nodes], {"filter": FILTER}, inputs={"x": ["N", 2, 4, 5]}, outputs=["y"])
    emitter = Emitter(load(proto))
    r = R[:, :3]
    seed = emitter.input("r", np.float32, ("N", 3))
    emitter.output("a_", emitter.value("a"))
    found = append_relevance(emitter, ["a"], output="y", seed=seed, pullback=fg_cam())["a"]
    emitter.output("back", found)
    outputs = Session(emitter.build(), threads=1).run({"x": X, "r": r})
    a = outputs["a_"].astype(np.float64)
    total = a.sum((2, 3), keepdims=True)
    shared = np.divide(a, total, out=np.zeros_like(a), where=total > 0) * r[..., None, None]
    assert_allclose(outputs["back"], shared, rtol=1e-5, atol=1e-6)
