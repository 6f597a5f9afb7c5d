"""Inputs that are pictures in another shape, and inputs that are none: what their maps are, held by differences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.testing import assert_allclose
from onnx import ModelProto
from parsed import drawn, frozen, parsed, plain, slope

from fgcam_onnx import Explainer, explain, export
from fgcam_onnx.errors import InputError, LayerError
from fgcam_onnx.methods import METHODS

CONV = """a = Conv<pads=[1,1,1,1]>(i, W)  act = Relu(a)  p = GlobalAveragePool(act)
v = Flatten<axis=1>(p)  y = MatMul(v, V)"""
WEIGHTS = {"W": drawn(1, 4, 3, 3, 3), "V": drawn(2, 4, 3)}
FEW = {
    "iscam": {"samples": 3}, "sscam": {"samples": 2}, "rise": {"masks": 8, "cells": 3},
    "occlusion": {"window": 3, "stride": 3}, "smoothgrad": {"samples": 3}, "smoothgradcam++": {"samples": 3},
    "integratedgradients": {"steps": 4}, "gradientshap": {"samples": 3}, "kernelshap": {"samples": 9, "segments": 4},
    "lime": {"samples": 9, "segments": 4},
}  # fmt: skip


def net(shape: str, views: str, **constants: Any) -> ModelProto:
    return parsed(f"g (float[{shape}] x) => (float[M,3] y) {{ {views} {CONV} }}", **WEIGHTS, **constants)


Z = {"z": np.array([0])}
FRAMES: dict[str, tuple[ModelProto, tuple[int, ...], Any]] = {
    "no batch": (net("3,6,5", "i = Unsqueeze(x, z)", **Z), (3, 6, 5), lambda g: g[None]),
    "no batch, channels last": (
        net("6,5,3", "t = Transpose<perm=[2,0,1]>(x)  i = Unsqueeze(t, z)", **Z), (6, 5, 3),
        lambda g: g.transpose(2, 0, 1)[None],
    ),
    "no batch, the batch first": (
        net("6,5,3", "u = Unsqueeze(x, z)  i = Transpose<perm=[0,3,1,2]>(u)", **Z), (6, 5, 3),
        lambda g: g.transpose(2, 0, 1)[None],
    ),
    "preprocessed without a batch": (
        net("3,6,5", "s = Sub(x, m)  q = Mul(s, m)  i = Unsqueeze(q, z)", m=drawn(3, 3, 1, 1), **Z),
        (3, 6, 5), lambda g: g[None],
    ),
    "flat": (net("N,90", "i = Reshape(x, S)", S=np.array([-1, 3, 6, 5])), (2, 90), lambda g: g.reshape(2, 3, 6, 5)),
    "rows": (
        net("N,18,5", "i = Reshape(x, S)", S=np.array([-1, 3, 6, 5])), (2, 18, 5), lambda g: g.reshape(2, 3, 6, 5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FRAMES)
def test_the_map_is_that_of_the_picture_in_the_input(kind: str) -> None:
    model, shape, picture = FRAMES[kind]
    x = drawn(5, *shape)
    e = explain(model, x, method="saliency", target=1)
    assert_allclose(e.scores, plain(model, {"x": x}), rtol=1e-5, atol=1e-6)
    expected = np.zeros_like(e.map)
    for i in range(len(e.map)):
        expected[i] = np.abs(picture(slope(model, {"x": x}, "x", at=(i, 1)))[i]).max(axis=0)
    assert_allclose(e.map, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("chefer", "legrad", "cam")])
@pytest.mark.parametrize("kind", ["no batch", "no batch, channels last", "flat"])
def test_every_method_finds_what_it_finds_on_pictures(kind: str, method: str) -> None:
    model, shape, picture = FRAMES[kind]
    x = drawn(5, *shape)
    pictures = net("N,3,6,5", "i = Identity(x)")
    (found,), (expected,) = (
        Explainer(m, method=method, **FEW.get(method, {}))(given, target=1).maps.values()
        for m, given in ((model, x), (pictures, np.ascontiguousarray(picture(x))))
    )
    assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_copies_of_the_image_are_run_whatever_its_shape() -> None:
    model, shape, picture = FRAMES["flat"]
    x = drawn(6, *shape)
    found = explain(model, x, method="gradcam", aug_smooth=True, target=1).map
    pictures = net("N,3,6,5", "i = Identity(x)")
    expected = explain(pictures, picture(x), method="gradcam", aug_smooth=True, target=1).map
    assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_pictures_are_taken_in_either_shape_and_others_refused() -> None:
    model, shape, picture = FRAMES["no batch, channels last"]
    x = drawn(7, *shape)
    found, same = (explain(model, given, method="gradcam", target=1).map for given in (x, picture(x)))
    assert_allclose(found, same, rtol=1e-6, atol=0)
    two = explain(model, np.concatenate([picture(x)] * 2), method="gradcam", target=1).map
    assert_allclose(two[1], found[0], rtol=1e-6, atol=0)
    with pytest.raises(InputError, match=r"input 'x' is 6 x 5 x 3, got shape \(7, 5, 3\)"):
        explain(model, drawn(8, 7, 5, 3), method="gradcam")


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("method", ["saliency", "gradcam", "fgcam", "scorecam"])
def test_the_exported_file_takes_what_the_model_takes(kind: str, method: str, tmp_path: Path) -> None:
    model, shape, _ = FRAMES[kind]
    x = drawn(9, *shape)
    path = export(model, tmp_path / "e.onnx", method=method, target=2).path
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert len(session.get_inputs()[0].shape) == len(shape)
    (found,) = session.run(["explanation"], {"x": x})
    expected = explain(model, x, method=method, target=2).map
    assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def beside() -> ModelProto:
    """Return a net that reads a picture and a vector beside it."""
    return parsed(
        """g (float[N,1,4,4] x, float[N,3] v) => (float[N,3] y) {
        c = Conv(x, W)  r = Relu(c)  q = Flatten<axis=1>(r)  z = Concat<axis=1>(q, v)  h = Gemm(z, A, a)  k = Tanh(h)
        y = Gemm(k, B, b) }""",
        W=drawn(1, 2, 1, 3, 3), A=drawn(2, 11, 6), a=drawn(3, 6), B=drawn(4, 6, 3), b=drawn(5, 3),
    )  # fmt: skip


def test_a_vector_has_a_value_for_each_of_its_numbers() -> None:
    model, x = beside(), {"x": drawn(6, 2, 1, 4, 4), "v": drawn(7, 2, 3)}
    slopes = np.stack([slope(model, x, "v", at=(i, 1))[i] for i in range(2)])
    assert_allclose(explain(model, x, method="saliency", target=1, input="v").map, np.abs(slopes), rtol=1e-4, atol=1e-6)
    found = explain(model, x, method="inputxgradient", target=1, input="v").map
    assert_allclose(found, slopes * x["v"], rtol=1e-4, atol=1e-6)
    path = explain(model, x, method="integratedgradients", target=1, input="v")
    bare = plain(model, {**x, "v": np.zeros_like(x["v"])})
    assert_allclose(path.map.sum(1), (plain(model, x) - bare)[:, 1], rtol=1e-3, atol=1e-5)


def test_a_class_activation_map_of_a_vector_is_refused() -> None:
    for method in ("gradcam", "fgcam", "scorecam"):
        with pytest.raises(LayerError, match="no tensor on the way from input 'v'"):
            Explainer(beside(), method=method, input="v")


def test_a_vectors_exported_file_has_its_shape(tmp_path: Path) -> None:
    x = {"x": drawn(6, 2, 1, 4, 4), "v": drawn(7, 2, 3)}
    path = export(beside(), tmp_path / "v.onnx", method="saliency", input="v", target=1).path
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(["explanation"], x)
    expected = explain(frozen(beside(), x=x["x"][:1]), x["v"][:1], method="saliency", target=1).map
    assert found.shape == (2, 3)
    assert_allclose(found[:1], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["saliency", "integratedgradients", "smoothgrad", "lrp", "rise"])
def test_a_net_without_layers_is_explained_at_its_input(method: str) -> None:
    """Flatten and linear layers alone."""
    model = parsed(
        """g (float[N,1,6,6] x) => (float[N,3] y) { q = Flatten<axis=1>(x)  h = Gemm(q, A, a)  r = Relu(h)
        y = Gemm(r, B, b) }""",
        A=drawn(1, 36, 8), a=drawn(2, 8), B=drawn(3, 8, 3), b=drawn(4, 3),
    )  # fmt: skip
    x = drawn(5, 1, 1, 6, 6)
    found = explain(model, x, method=method, target=1, **FEW.get(method, {})).map
    assert found.shape == (1, 6, 6)
    if method == "saliency":
        assert_allclose(found, np.abs(slope(model, {"x": x}, "x", at=(0, 1)))[:, 0], rtol=1e-4, atol=1e-6)
