"""Several inputs: only what depends on the chosen one is a layer of it, for every method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.testing import assert_allclose
from onnx import ModelProto
from parsed import drawn, frozen, parsed, slope

from fgcam_onnx import Explainer, export
from fgcam_onnx.errors import InputError, LayerError
from fgcam_onnx.layers.layers import candidate_layers, default_base
from fgcam_onnx.loading.loading import load
from fgcam_onnx.methods import METHODS

SIDES = ("left", "right")
FEW = {
    "iscam": {"samples": 3}, "sscam": {"samples": 2}, "rise": {"masks": 8, "cells": 3},
    "occlusion": {"window": 4, "stride": 4}, "smoothgrad": {"samples": 3}, "smoothgradcam++": {"samples": 3},
    "integratedgradients": {"steps": 4}, "gradientshap": {"samples": 3}, "kernelshap": {"samples": 9, "segments": 4},
    "lime": {"samples": 9, "segments": 4},
}  # fmt: skip
NOT_HERE = {
    "chefer": "there is no attention",
    "legrad": "there is no attention",
    "cam": "the head is no linear layer behind an average",
}
SHARES = ("relevancecam", "lrp", "attnlrp", "cplrp", "deeptaylor", "excitationbackprop")
"""Methods whose rules share what a sum of both towers gets among the two, which a constant takes no part in."""
CUT_OFF = ("guidedgradcam",)
"""Methods that keep what is positive at a layer: of the second operand of a difference, nothing."""
ONE_SIDED = ("deeptaylor", "excitationbackprop")
"""Methods that follow what adds to a difference, and so only its first operand."""


def siamese() -> ModelProto:
    """Return one net on two pictures, its weights used twice, and a linear layer on the distance of the two."""
    return parsed(
        """g (float[N,3,8,6] left, float[N,3,8,6] right) => (float[N,3] y) {
        a0 = Conv<pads=[1,1,1,1]>(left, W)  a1 = Relu(a0)  a2 = MaxPool<kernel_shape=[2,2], strides=[2,2]>(a1)
        a3 = Conv<pads=[1,1,1,1]>(a2, U)  a4 = Relu(a3)
        b0 = Conv<pads=[1,1,1,1]>(right, W)  b1 = Relu(b0)  b2 = MaxPool<kernel_shape=[2,2], strides=[2,2]>(b1)
        b3 = Conv<pads=[1,1,1,1]>(b2, U)  b4 = Relu(b3)
        pa = GlobalAveragePool(a4)  pb = GlobalAveragePool(b4)  d = Sub(pa, pb)  e = Abs(d)  v = Flatten<axis=1>(e)
        y = MatMul(v, V) }""",
        W=drawn(1, 4, 3, 3, 3), U=drawn(2, 6, 4, 3, 3), V=drawn(3, 6, 3),
    )  # fmt: skip


def pair(count: int = 2) -> dict[str, np.ndarray]:
    return {"left": drawn(4, count, 3, 8, 6), "right": drawn(5, count, 3, 8, 6)}


def merged_late() -> ModelProto:
    """Return a net that reads a picture and, behind a linear layer of its own, a vector."""
    return parsed(
        """g (float[N,2,8,8] x, float[N,3] v) => (float[N,5] y) {
        c = Conv(x, W)  r = Relu(c)  g = GlobalAveragePool(r)  q = Flatten<axis=1>(g)
        e = MatMul(v, A)  z = Concat<axis=1>(q, e)  y = Gemm(z, V, b) }""",
        W=drawn(1, 4, 2, 3, 3), A=drawn(2, 3, 6), V=drawn(3, 10, 5), b=drawn(4, 5),
    )  # fmt: skip


def triplet() -> ModelProto:
    """Return a net of three pictures of two sizes that meet one after the other."""
    return parsed(
        """g (float[N,3,8,8] a, float[N,3,8,8] b, float[N,1,6,6] c) => (float[N,2] y) {
        ca = Conv<pads=[1,1,1,1]>(a, W)  ra = Relu(ca)  cb = Conv<pads=[1,1,1,1]>(b, W)  rb = Relu(cb)
        ab = Concat<axis=1>(ra, rb)  cab = Conv<pads=[1,1,1,1]>(ab, U)  rab = Relu(cab)  pab = GlobalAveragePool(rab)
        cc = Conv(c, X)  rc = Relu(cc)  pc = GlobalAveragePool(rc)
        z = Concat<axis=1>(pab, pc)  f = Flatten<axis=1>(z)  y = MatMul(f, V) }""",
        W=drawn(1, 4, 3, 3, 3), U=drawn(2, 5, 8, 3, 3), X=drawn(3, 4, 1, 3, 3), V=drawn(4, 9, 2),
    )  # fmt: skip


def maps_of(model: Any, x: Any, method: str, **options: Any) -> dict[str, np.ndarray]:
    explainer = Explainer(model, method=method, **FEW.get(method, {}), **options)
    return explainer(x, target=1).maps


@pytest.mark.parametrize("method", [m for m in METHODS if m not in NOT_HERE])
@pytest.mark.parametrize("side", SIDES)
def test_a_tower_is_explained_as_if_the_other_picture_were_a_constant(method: str, side: str) -> None:
    x = pair(1)
    (other,) = set(SIDES) - {side}
    alone = frozen(siamese(), **{other: x[other]})
    found = maps_of(siamese(), x, method, input=side)
    expected = maps_of(alone, x[side], method)
    assert list(found) == list(expected)
    for name, m in found.items():
        scale = np.abs(expected[name]).max()
        assert scale > 0 or method in CUT_OFF
        if method not in SHARES:
            assert_allclose(m, expected[name], rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("method", [m for m in METHODS if m not in (*NOT_HERE, *ONE_SIDED)])
def test_towers_that_change_places_change_their_maps(method: str) -> None:
    """The distance is the same, whichever of the two pictures comes first."""
    x = pair()
    turned = {"left": x["right"], "right": x["left"]}
    (a,), (b,) = (
        maps_of(siamese(), given, method, input=side).values() for given, side in ((x, "left"), (turned, "right"))
    )
    assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(a).max())
    (other,) = maps_of(siamese(), x, method, input="right").values()
    assert np.abs(a - other).max() > 1e-3 * np.abs(a).max()


@pytest.mark.parametrize("side", SIDES)
def test_the_gradient_is_that_of_the_chosen_picture(side: str) -> None:
    x = pair(1)
    found = maps_of(siamese(), x, "saliency", input=side)["input"]
    expected = np.abs(slope(siamese(), x, side, at=(0, 1))).max(axis=1)
    assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_only_what_depends_on_the_chosen_input_is_a_layer() -> None:
    model = load(triplet())
    names = {n: [x.name for x in candidate_layers(model, logits="y", source=n)] for n in "abc"}
    assert names == {
        "a": ["a", "ca", "ra", "ab", "cab", "rab"], "b": ["b", "cb", "rb", "ab", "cab", "rab"], "c": ["c", "cc", "rc"],
    }  # fmt: skip
    assert [default_base(model, logits="y", source=n).name for n in "abc"] == ["rab", "rab", "rc"]
    on_every_path = {x.name for x in candidate_layers(model, logits="y", source="a") if x.every_path}
    assert on_every_path == set(names["a"])


def test_a_layer_of_the_other_tower_is_refused_by_name() -> None:
    with pytest.raises(LayerError, match="no path from input 'left'"):
        Explainer(siamese(), method="gradcam", input="left", layers="b4")


@pytest.mark.parametrize("method", ["gradcam", "scorecam", "ablationcam", "reciprocam", "fgcam", "lrp"])
@pytest.mark.parametrize("side", SIDES)
def test_the_exported_file_explains_the_chosen_tower(method: str, side: str, tmp_path: Path) -> None:
    x = pair()
    path = export(siamese(), tmp_path / "out.onnx", method=method, input=side, target=1).path
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(["explanation"], x)
    (expected,) = maps_of(siamese(), x, method, input=side).values()
    assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("method", ["scorecam", "iscam", "sscam", "ablationcam", "reciprocam", "fgcam"])
def test_what_another_input_makes_alone_is_read_with_each_image(method: str) -> None:
    x = {"x": drawn(6, 2, 2, 8, 8), "v": drawn(7, 2, 3)}
    options = {"base": "scorecam"} if method == "fgcam" else {}
    (found,) = maps_of(merged_late(), x, method, input="x", **options).values()
    for i in range(2):
        alone = frozen(merged_late(), v=x["v"][i : i + 1])
        (expected,) = maps_of(alone, x["x"][i : i + 1], method, batch=1, **options).values()
        assert_allclose(found[i], expected[0], rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_an_inner_tensor_called_input_is_not_the_graphs_input() -> None:
    model = parsed(
        """g (float[N,3,8,12] x) => (float[N,3] y) { a = Conv<pads=[1,1,1,1], strides=[2,2]>(x, W)  input = Relu(a)
        p = GlobalAveragePool(input)  v = Flatten<axis=1>(p)  y = MatMul(v, V) }""",
        W=drawn(1, 4, 3, 3, 3), V=drawn(2, 4, 3),
    )  # fmt: skip
    x = drawn(3, 1, 3, 8, 12)
    expected = np.abs(slope(model, {"x": x}, "x", at=(0, 1))).max(axis=1)
    assert_allclose(maps_of(model, x, "saliency")["input"], expected, rtol=1e-4, atol=1e-6)
    assert maps_of(model, x, "occlusion")["input"].shape == (1, 8, 12)
    assert maps_of(model, x, "gradcam", layers="a")["a"].shape == (1, 4, 6)


def test_which_of_several_inputs_is_meant_is_asked() -> None:
    with pytest.raises(InputError, match="several inputs: left, right"):
        Explainer(siamese(), method="gradcam")
