"""A refined map smoothed, and times the CAM that it was refined from, against loops over rows and columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nets import BASE, images, small_cnn
from numpy.typing import NDArray
from parsed import drawn, parsed

import fgcam_onnx
from fgcam_onnx.errors import OptionError
from fgcam_onnx.guiding import lie_alike
from fgcam_onnx.targets import Difference

PLAIN: dict[str, Any] = {"guided": False, "lowpass": 0.0}


def along(values: NDArray[Any], axis: int, line: Any) -> NDArray[Any]:
    """Return ``values`` with ``line`` done to each of its lines along ``axis``."""
    return np.apply_along_axis(line, axis, values.astype(np.float64))


def blurred(line: NDArray[Any], *, sigma: float) -> NDArray[Any]:
    """Smooth a line by a Gaussian: each position is spread, and what would leave comes back as from a mirror."""
    radius, size = int(np.ceil(4 * sigma)), len(line)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    found = np.zeros(size)
    for start, value in enumerate(line):
        for shift, tap in enumerate(taps / taps.sum(), start - radius):
            at = shift % (2 * size)
            found[min(at, 2 * size - 1 - at)] += tap * value
    return found


def widened(line: NDArray[Any], *, size: int) -> NDArray[Any]:
    """Bring a line to ``size`` linearly, the middles of positions at half steps."""
    return np.interp((np.arange(size) + 0.5) * len(line) / size - 0.5, np.arange(len(line)), line)


@pytest.mark.parametrize("widest", [0, 1024])
def test_the_map_is_the_refined_one_smoothed_and_times_its_cam_where_their_signs_agree(
    monkeypatch: pytest.MonkeyPatch, widest: int
) -> None:
    monkeypatch.setattr("fgcam_onnx.guiding.WIDEST", widest)
    x = images(2)
    plain, cam, found = (
        fgcam_onnx.explain(small_cnn(), x, target=1, **options).map
        for options in (
            {"method": "auto", **PLAIN},
            {"method": "gradcam", "layers": BASE},
            {"method": "auto", "lowpass": 0.4},
        )
    )
    for axis in (1, 2):
        size, steps = plain.shape[axis], cam.shape[axis]
        plain = along(plain, axis, lambda v, s=0.4 * size / steps: blurred(v, sigma=s))
    expected = np.zeros_like(plain)
    for sign in (1, -1):
        gate = np.maximum(sign * cam, 0) / np.abs(cam).max((1, 2), keepdims=True)
        for axis in (1, 2):
            gate = along(gate, axis, lambda v, n=plain.shape[axis]: widened(v, size=n))
        expected += np.where(sign * plain > 0, plain * gate, 0)
    assert (expected > 0).any()
    assert (expected < 0).any()
    assert (expected == 0).any()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * np.abs(plain).max())


@pytest.mark.parametrize("lowpass", [0.02, 0.25, 3.0])
def test_smoothing_keeps_the_sum_and_conservation_is_that_of_the_relevance(lowpass: float) -> None:
    x = images(2)
    plain = fgcam_onnx.explain(small_cnn(), x, target=1)
    smooth = fgcam_onnx.explain(small_cnn(), x, target=1, lowpass=lowpass)
    guided = fgcam_onnx.explain(small_cnn(), x, target=1, lowpass=lowpass, guided=True)
    np.testing.assert_allclose(smooth.map.sum((1, 2)), plain.map.sum((1, 2)), rtol=1e-4)
    np.testing.assert_array_equal(guided.conservation["input"], plain.conservation["input"])
    assert (np.abs(guided.map).sum((1, 2)) < np.abs(smooth.map).sum((1, 2))).all()


def test_the_base_itself_stays_as_it_is() -> None:
    x = images(2)
    auto = fgcam_onnx.explain(small_cnn(), x, method="auto", layers=BASE, target=1).map
    np.testing.assert_array_equal(auto, fgcam_onnx.explain(small_cnn(), x, method="gradcam", layers=BASE, target=1).map)


def test_what_speaks_for_one_class_speaks_against_the_opposite_score() -> None:
    x = images(2)
    found, opposite = (
        fgcam_onnx.explain(small_cnn(), x, method="auto", target=t).map for t in (Difference(0, 2), Difference(2, 0))
    )
    np.testing.assert_allclose(found, -opposite, rtol=1e-5, atol=1e-7)
    assert (found > 0).any()
    assert (found < 0).any()


HEAD = "act = Relu(c)  g = GlobalAveragePool(act)  f = Flatten<axis=1>(g)"
APART = {
    "two views of a row become rows": (
        f"g (float[1,6,6,5] x) => (float[1,3] y) {{ k = Conv<pads=[1,1,1,1]>(x, K)  r = Reshape(k, rows)  "
        f"c = Conv<pads=[1,1,1,1]>(r, W)  {HEAD}  p = Reshape(f, pairs)  y = MatMul(p, V) }}",
        {"rows": np.array([2, 3, 6, 5]), "pairs": np.array([1, 8]), "K": drawn(3, 6, 6, 3, 3), "V": drawn(2, 8, 3)},
    ),
    "a line is folded to a plane": (
        f"g (float[N,3,30] x) => (float[N,3] y) {{ k = Conv<pads=[1,1]>(x, K)  r = Reshape(k, plane)  "
        f"c = Conv<pads=[1,1,1,1]>(r, W)  {HEAD}  y = MatMul(f, V) }}",
        {"plane": np.array([-1, 3, 6, 5]), "K": drawn(3, 3, 3, 3), "V": drawn(2, 4, 3)},
    ),
}


@pytest.mark.parametrize("kind", APART)
def test_where_the_base_lies_otherwise_than_the_map_nothing_is_guided(kind: str) -> None:
    text, weights = APART[kind]
    model = parsed(text, W=drawn(1, 4, 3, 3, 3), **weights)
    options = fgcam_onnx.Explainer(model, method="auto", base_layer="act", layers="k").options()[0]
    where: dict[str, Any] = {"source": options.input}
    (layer,), base = options.layers, options.base_layer
    assert not lie_alike(options.model, layer, base, **where)
    assert lie_alike(options.model, base, base, **where)


def test_a_line_that_is_refined_from_a_plane_is_not_guided() -> None:
    text, weights = APART["a line is folded to a plane"]
    model = parsed(text, W=drawn(1, 4, 3, 3, 3), **weights)
    found, plain = (
        fgcam_onnx.explain(model, drawn(5, 2, 3, 30), method="auto", base_layer="act", layers="k", target=1, **o).map
        for o in ({}, PLAIN)
    )
    assert np.abs(plain).max() > 0
    np.testing.assert_array_equal(found, plain)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_batch_of_fixed_size_is_guided_as_a_free_one(batch: int) -> None:
    x, model = images(batch), small_cnn()
    free = fgcam_onnx.explain(model, x, method="auto", target=1).map
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    np.testing.assert_allclose(fgcam_onnx.explain(model, x, method="auto", target=1).map, free, rtol=1e-5, atol=1e-7)


def test_a_negative_scale_is_refused() -> None:
    with pytest.raises(OptionError, match="lowpass must be at least 0"):
        fgcam_onnx.Explainer(small_cnn(), method="auto", lowpass=-0.1)
