"""Nets of one and three spatial axes: the same nets written with two, all methods; and central differences."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from onnx import ModelProto
from parsed import drawn, parsed, plain, slope
from PIL import Image

from fgcam_onnx import Explainer, explain, export
from fgcam_onnx.errors import InputError, LayerError, OptionError
from fgcam_onnx.methods import BASES, METHODS

FEW: Mapping[str, Mapping[str, Any]] = {
    "iscam": {"samples": 3}, "sscam": {"samples": 2}, "rise": {"masks": 12, "cells": 3},
    "occlusion": {"window": 3, "stride": 2}, "smoothgrad": {"samples": 3}, "smoothgradcam++": {"samples": 3},
    "integratedgradients": {"steps": 4}, "gradientshap": {"samples": 3}, "kernelshap": {"samples": 9, "segments": 4},
    "lime": {"samples": 9, "segments": 4},
}  # fmt: skip
NO_ATTENTION = ("chefer", "legrad")

Shape = tuple[int, ...]


def net(size: Shape, weights: Mapping[str, NDArray[Any]], *, beside: int | None = None) -> ModelProto:
    """Return a net with strides, padding, pooling, a residual sum and normalization on an input of ``size``.

    ``beside`` is an axis of length 1 on which nothing is done.
    """
    axes = range(len(size))

    def each(value: int, idle: int) -> str:
        return ",".join(str(idle if a == beside else value) for a in axes)

    def both(value: int) -> str:
        return ",".join([each(value, 0)] * 2)

    shaped = {n: w if beside is None or w.ndim < 3 else np.expand_dims(w, beside + 2) for n, w in weights.items()}
    dims = ",".join(map(str, size))
    last = ",".join(map(str, range(2, 2 + len(size))))
    return parsed(
        f"""g (float[N,2,{dims}] x) => (float[N,3] y) {{
        a = Conv<pads=[{both(1)}], strides=[{each(2, 1)}]>(x, K0, b0)
        n = BatchNormalization(a, s, t, u, v)
        r = Relu(n)
        c = Conv<pads=[{both(1)}]>(r, K1)
        e = Add(c, r)
        f = Relu(e)
        p = MaxPool<kernel_shape=[{each(2, 1)}], strides=[{each(1, 1)}]>(f)
        q = AveragePool<kernel_shape=[{each(2, 1)}], strides=[{each(1, 1)}]>(p)
        d = Conv(q, K2)
        h = Sigmoid(d)
        l = Constant<value_ints=[{last}]>()
        m = ReduceMean<keepdims=0>(h, l)
        y = Gemm(m, V, z) }}""",
        **shaped,
    )


def weights_of(axes: int) -> dict[str, NDArray[Any]]:
    small = 0.5 if axes == 1 else 0.15
    return {
        "K0": drawn(1, 4, 2, *[3] * axes) * small, "b0": drawn(2, 4), "K1": drawn(3, 4, 4, *[3] * axes) * small,
        "K2": drawn(4, 5, 4, *[2] * axes), "V": drawn(5, 5, 3), "z": drawn(6, 3), "s": abs(drawn(7, 4)) + 0.5,
        "t": drawn(8, 4), "u": drawn(9, 4), "v": abs(drawn(10, 4)) + 0.5,
    }  # fmt: skip


PAIRS: dict[str, tuple[ModelProto, ModelProto, Shape, int]] = {
    "a signal is a picture of one row": (
        net((31,), weights_of(1)), net((1, 31), weights_of(1), beside=0), (2, 2, 31), 2,
    ),
    "a picture is a volume of depth 1": (
        net((16, 13), weights_of(2)), net((1, 16, 13), weights_of(2), beside=0), (2, 2, 16, 13), 2,
    ),
}  # fmt: skip
"""Two ways of writing one net, the input of the first, and the axis that the second has beside."""


def alike(found: NDArray[Any], expected: NDArray[Any]) -> None:
    """Compare two maps: kernels of one and two axes add up in another order, which quotients of near sums enlarge."""
    assert_allclose(found, expected, rtol=0, atol=5e-6 * max(1.0, float(np.abs(expected).max())))


@pytest.mark.parametrize("method", [m for m in METHODS if m not in (*NO_ATTENTION, "cam")])
@pytest.mark.parametrize("pair", PAIRS)
def test_an_axis_of_one_position_changes_no_map(pair: str, method: str) -> None:
    fewer, more, shape, axis = PAIRS[pair]
    x = drawn(20, *shape)
    one = Explainer(fewer, method=method, **FEW.get(method, {}))(x, target=[0, 2])
    other = Explainer(more, method=method, **FEW.get(method, {}))(np.expand_dims(x, axis), target=[0, 2])
    assert one.map.ndim == x.ndim - 1
    assert np.abs(one.map).max() > 0
    alike(np.expand_dims(one.map, axis - 1), other.map)
    assert_allclose(one.scores, other.scores, rtol=1e-5, atol=1e-6)
    for name, value in one.conservation.items():
        assert_allclose(value, other.conservation[name], rtol=1e-4, atol=1e-5)


OPTIONS: dict[str, dict[str, Any]] = {
    "augmented": {"method": "gradcam", "aug_smooth": True},
    "denoised": {"method": "fgcam", "denoise": True},
    "eigen": {"method": "gradcam", "eigen_smooth": True},
    "at every layer": {"method": "fgcam", "layers": "all"},
    "in cells": {"method": "auto"},
    "traced": {"method": "lrp", "trace": True},
} | {f"on {base}": {"method": "fgcam", "base": base, **FEW.get(base, {})} for base in BASES if BASES[base].channels}


@pytest.mark.parametrize("options", [o for o in OPTIONS if o != "on cam"])
def test_options_and_bases_do_not_see_it_either(options: str) -> None:
    fewer, more, shape, axis = PAIRS["a picture is a volume of depth 1"]
    x = drawn(21, *shape)
    one = Explainer(fewer, **OPTIONS[options])(x, target=1)
    other = Explainer(more, **OPTIONS[options])(np.expand_dims(x, axis), target=1)
    for found, expected in zip(one.maps.values(), other.maps.values(), strict=True):
        alike(np.expand_dims(found, axis - 1), expected)
    for a, b in zip(one.trace, other.trace, strict=True):
        assert_allclose(a.leaving, b.leaving, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("resize", ["none", "input"])
@pytest.mark.parametrize("method", "saliency fgcam gradcam scorecam ablationcam reciprocam refinecam".split())
@pytest.mark.parametrize("axes", [1, 3])
def test_a_file_finds_what_the_explainer_finds(axes: int, method: str, resize: str, tmp_path: Path) -> None:
    size = {1: (31,), 3: (9, 8, 10)}[axes]
    model, x = net(size, weights_of(axes)), drawn(22, 2, 2, *size)
    path = export(model, tmp_path / "e.onnx", method=method, target=1, resize=resize, normalize="minmax").path
    (found,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(["explanation"], {"x": x})
    raw = explain(model, x, method=method, target=1).map
    raw = enlarged(raw, size) if resize == "input" else raw
    space = tuple(range(1, raw.ndim))
    low = raw.min(space, keepdims=True)
    positive = raw - low if method == "reciprocam" else np.maximum(raw, 0)
    positive = positive - positive.min(space, keepdims=True)
    top = positive.max(space, keepdims=True)
    assert found.shape == (2, *(size if resize == "input" else raw.shape[1:]))
    assert found.max() > 0.99 or raw.max() <= 0
    assert_allclose(found, positive / np.where(top > 0, top, 1), rtol=1e-3, atol=1e-4)


def enlarged(maps: NDArray[Any], size: Shape) -> NDArray[np.float64]:
    """Return maps of ``size``, each axis by itself, as NumPy interpolates."""
    for axis, wide in enumerate(size, 1):
        count = maps.shape[axis]
        at = (np.arange(wide) + 0.5) * count / wide - 0.5
        maps = np.apply_along_axis(lambda line, at=at, count=count: np.interp(at, np.arange(count), line), axis, maps)
    return maps


@pytest.mark.parametrize("axes", [1, 3])
def test_the_gradient_is_that_of_central_differences(axes: int) -> None:
    size = {1: (15,), 3: (4, 3, 5)}[axes]
    model = parsed(
        f"""g (float[N,2,{",".join(map(str, size))}] x) => (float[N,3] y) {{
        a = Conv<pads=[{",".join("1" * 2 * axes)}]>(x, K, b)  t = Tanh(a)
        p = MaxPool<kernel_shape=[{",".join("2" * axes)}], strides=[{",".join("1" * axes)}]>(t)
        f = Flatten<axis=1>(p)  y = MatMul(f, V) }}""",
        K=drawn(33, 4, 2, *[3] * axes) * 0.2, b=drawn(34, 4), V=drawn(35, 4 * int(np.prod([n - 1 for n in size])), 3),
    )  # fmt: skip
    x = drawn(23, 1, 2, *size)
    e = explain(model, x, method="saliency", target=1)
    assert_allclose(e.scores, plain(model, {"x": x}), rtol=1e-5, atol=1e-6)
    expected = np.abs(slope(model, {"x": x}, "x", at=(0, 1))[0]).max(axis=0)
    assert_allclose(e.map[0], expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(AssertionError):
        assert_allclose(1.01 * e.map[0], expected, rtol=1e-4, atol=1e-6)


def test_maps_of_cams_fit_the_head_of_cam() -> None:
    """CAM is Grad-CAM times the number of positions where the average and a linear layer follow."""
    for size in ((9,), (5, 4, 6)):
        axes = len(size)
        model = parsed(
            f"""g (float[N,2,{",".join(map(str, size))}] x) => (float[N,3] y) {{
            a = Conv(x, K)  r = Relu(a)  p = GlobalAveragePool(r)  f = Flatten<axis=1>(p)  y = MatMul(f, V) }}""",
            K=drawn(30, 4, 2, *[2] * axes), V=drawn(31, 4, 3),
        )  # fmt: skip
        x = drawn(32, 1, 2, *size)
        cam, gradcam = (explain(model, x, method=m, target=2).map for m in ("cam", "gradcam"))
        assert_allclose(cam, gradcam * gradcam[0].size, rtol=1e-5, atol=1e-6)


# ---- rows of numbers, and perceptrons on pictures

DENSE = "q = Flatten<axis=1>(x)  h = Gemm(q, W, b)  r = Relu(h)  y = Gemm(r, V, c)"
AT_INPUT = [m for m in METHODS if METHODS[m].at == "input" and m not in (*NO_ATTENTION, "fgcam")]


def perceptron(*size: int) -> ModelProto:
    given = ",".join(map(str, size))
    weights = {"W": drawn(40, int(np.prod(size)), 8), "b": drawn(41, 8), "V": drawn(42, 8, 3), "c": drawn(43, 3)}
    return parsed(f"g (float[N,{given}] x) => (float[N,3] y) {{ {DENSE} }}", **weights)


@pytest.mark.parametrize("method", AT_INPUT)
@pytest.mark.parametrize("size", [(36,), (1, 6, 6), (1, 36)])
def test_a_perceptron_has_maps_at_its_input(size: Shape, method: str) -> None:
    x = drawn(44, 2, *size)
    e = Explainer(perceptron(*size), method=method, **FEW.get(method, {}))(x, target=1)
    assert e.map.shape == (2, *(size if len(size) == 1 else size[1:]))
    row = Explainer(perceptron(36), method=method, **FEW.get(method, {}))(x.reshape(2, 36), target=1)
    if method not in ("occlusion", "rise", "kernelshap", "lime"):
        assert_allclose(e.map.reshape(2, 36), row.map, rtol=1e-5, atol=1e-6 * float(np.abs(row.map).max()))
    if method == "inputxgradient":
        expected = x * slope(perceptron(*size), {"x": x}, "x", at=(0, 1))
        assert_allclose(e.map[0].ravel(), expected[0].ravel(), rtol=1e-3, atol=1e-4)


def test_where_nothing_has_positions_a_cam_is_refused_and_says_what_would_do() -> None:
    with pytest.raises(LayerError, match="saliency"):
        Explainer(perceptron(36), method="gradcam")


def test_a_row_of_numbers_has_no_mirror_image() -> None:
    with pytest.raises(OptionError, match="mirror"):
        Explainer(perceptron(36), method="saliency", aug_smooth=True)


@pytest.mark.parametrize("size", [(31,), (9, 8, 10)])
def test_a_notebook_shows_what_is_no_picture(size: Shape) -> None:
    e = explain(net(size, weights_of(len(size))), drawn(90, 2, 2, *size), method="gradcam", target=1)
    found = [base64.b64decode(text) for text in re.findall(r'src="data:image/jpeg;base64,([^"]+)"', e._repr_html_())]
    assert len(found) == 2
    for data in found:
        with Image.open(BytesIO(data)) as shown:
            assert len(shown.convert("RGB").getcolors(2**24)) > 20
    with pytest.raises(InputError, match="the input was no picture"):
        e.overlay(Image.new("RGB", (10, 10)))
