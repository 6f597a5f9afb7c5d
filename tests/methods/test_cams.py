"""Class activation maps against pytorch-grad-cam's raw maps and textbook loops, and as bases of FG-CAM.

The maps in ``goldens/`` were made by ``tools/peers/peers_gradcam.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fgcam_onnx
from fgcam_onnx import Explainer
from fgcam_onnx.cam import gradient
from fgcam_onnx.errors import OptionError
from fgcam_onnx.imaging import find_sidecar, preprocess_from, read_image
from fgcam_onnx.methods import BASES

GOLDENS = Path(__file__).parents[1] / "goldens"
NETS = ("resnet_shapes", "vgg_shapes", "smooth")
UNSIGNED = ("eigencam", "eigengradcam")
PUBLISHED = (
    *("gradcam", "gradcam++", "hirescam", "gradcamelementwise", "xgradcam", "layercam", "shapleycam", "finercam"),
    *("eigencam", "eigengradcam", "kpcacam", "fem"),
)


def file_of(bundled: Path, net: str) -> Path:
    return GOLDENS / "smooth.onnx" if net == "smooth" else bundled / f"{net}.torchscript.onnx"


def golden_of(bundled: Path, net: str) -> tuple[np.ndarray, dict[str, np.ndarray], list[str]]:
    """Return pictures, pytorch-grad-cam's maps by ``method@layer``, and the layers."""
    maps = dict(np.load(GOLDENS / f"cams.{net}.npz"))
    layers = [key.removeprefix("gradcam@") for key in maps if key.startswith("gradcam@")]
    if net == "smooth":
        return maps.pop("input"), maps, layers
    sidecar = find_sidecar(file_of(bundled, net))
    assert sidecar is not None
    preprocess = preprocess_from(sidecar).bound(("N", 3, 96, 96), np.float32)
    names = ("circle", "star", "two")
    return np.concatenate([preprocess(read_image(bundled / "pictures" / f"{n}.png")) for n in names]), maps, layers


def assert_same(ours: np.ndarray, theirs: np.ndarray, *, up_to_sign: bool = False) -> None:
    """Within 2e-5 of the largest value of each image."""
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        sign = np.sign((a * b).sum()) if up_to_sign else 1
        np.testing.assert_allclose(sign * a, b, rtol=0, atol=2e-5 * np.abs(b).max())


@pytest.mark.parametrize("method", PUBLISHED)
@pytest.mark.parametrize("net", NETS)
def test_the_raw_map_is_that_of_pytorch_grad_cam(bundled: Path, net: str, method: str) -> None:
    x, maps, layers = golden_of(bundled, net)
    found = fgcam_onnx.explain(file_of(bundled, net), x, method=method, layers=layers)
    for layer in layers:
        assert_same(found.maps[layer], maps[f"{method}@{layer}"], up_to_sign=method in UNSIGNED)


@pytest.mark.parametrize("method", ["gradcam", "layercam"])
@pytest.mark.parametrize("net", NETS)
def test_with_eigen_smooth_too(bundled: Path, net: str, method: str) -> None:
    x, maps, layers = golden_of(bundled, net)
    found = fgcam_onnx.explain(file_of(bundled, net), x, method=method, layers=layers, eigen_smooth=True)
    for layer in layers:
        assert_same(found.maps[layer], maps[f"{method} eigen_smooth@{layer}"], up_to_sign=True)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(("how", "method"), [("mean", "gradcam"), ("product", "gradcam++")])
def test_fused_layers_are_those_of_pytorch_grad_cam(bundled: Path, net: str, how: str, method: str) -> None:
    """Its GradCAM with several layers takes the mean, its RefineCAM the product."""
    x, maps, layers = golden_of(bundled, net)
    fused = fgcam_onnx.explain(file_of(bundled, net), x[:1], method=method, layers=layers).fused(how, size=x.shape[2:])
    assert_same(fused, maps[f"fused {how}@{'+'.join(layers)}"])


def test_a_wrong_map_is_told_from_the_right_one(bundled: Path) -> None:
    """Negative control."""
    _, maps, layers = golden_of(bundled, "smooth")
    with pytest.raises(AssertionError):
        assert_same(1.001 * maps[f"gradcam@{layers[0]}"], maps[f"gradcam@{layers[0]}"])
    with pytest.raises(AssertionError):
        assert_same(maps[f"gradcam@{layers[0]}"], maps[f"shapleycam@{layers[0]}"])


def grad_cam(a: Any, g: Any) -> Any:
    return g.mean(), a


def grad_cam_plus_plus(a: Any, g: Any) -> Any:
    weight = 0.0
    for i, j in np.ndindex(g.shape):
        if g[i, j] > 0:
            weight += g[i, j] ** 3 / (2 * g[i, j] ** 2 + a.sum() * g[i, j] ** 3 + 1e-6)
    return weight, a


def x_grad_cam(a: Any, g: Any) -> Any:
    return sum(a[p] / (a.sum() + 1e-7) * g[p] for p in np.ndindex(a.shape)), a


def fem(a: Any, g: Any) -> Any:
    return sum(v > a.mean() + 2 * a.std() for v in a.ravel()) / a.size, a


def each(rule: Any) -> Any:
    """Weigh nothing, but take ``rule`` of each activation and its gradient."""

    def one(a: Any, g: Any) -> Any:
        found = np.zeros_like(a)
        for p in np.ndindex(a.shape):
            found[p] = rule(a[p], g[p])
        return 1, found

    return one


TEXTBOOK = {
    gradient.grad_cam: grad_cam,
    gradient.grad_cam_plus_plus: grad_cam_plus_plus,
    gradient.x_grad_cam: x_grad_cam,
    gradient.fem: fem,
    gradient.hires_cam: each(lambda a, g: a * g),
    gradient.layer_cam: each(lambda a, g: a * max(g, 0)),
    gradient.grad_cam_element_wise: each(lambda a, g: max(a * g, 0)),
    gradient.class_weights: lambda a, g: (g.sum(), a),
}
"""For one channel: its weight, and what is weighed."""


@pytest.mark.parametrize("formula", TEXTBOOK, ids=lambda f: f.__name__)
@pytest.mark.parametrize("space", [(2, 3), (1, 2)], ids=["channels first", "channels last"])
def test_a_formula_is_the_textbooks(formula: Any, space: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    a = np.maximum(rng.standard_normal((2, 4, 5, 6)), 0) ** 3
    g = rng.standard_normal((2, 4, 5, 6)) * (rng.random((2, 4, 5, 6)) > 0.2)
    a[0, 1] = 0
    expected = np.zeros_like(a)
    for n, c in np.ndindex(2, 4):
        weight, weighed = TEXTBOOK[formula](a[n, c], g[n, c])
        expected[n, c] = weight * weighed
    last = space == (1, 2)
    found = formula(*(np.moveaxis(v, 1, -1) if last else v for v in (a, g)), space)
    np.testing.assert_allclose(np.moveaxis(found, -1, 1) if last else found, expected, rtol=1e-9, atol=1e-12)


def test_hirescam_sums_to_the_score_without_bias_behind_a_linear_head(bundled: Path) -> None:
    x, _, _ = golden_of(bundled, "resnet_shapes")
    model = fgcam_onnx.load(file_of(bundled, "resnet_shapes"))
    found = fgcam_onnx.explain(model, x, method="hirescam")
    bias = model.constants["fc.bias"][found.target]
    np.testing.assert_allclose(found.map.sum((1, 2)), found.score - bias, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("base", [n for n in BASES if BASES[n].channels and n not in ("cam", "scorecam")])
def test_fgcam_refines_every_cam_and_keeps_its_sum(bundled: Path, base: str) -> None:
    """On a net without dead ends the refined map sums to the components, unless those sum to nothing."""
    x, _, _ = golden_of(bundled, "vgg_shapes")
    found = fgcam_onnx.explain(file_of(bundled, "vgg_shapes"), x[:2], base=base)
    assert found.map.shape == (2, 96, 96)
    assert np.abs(found.map).max() > 0
    if base not in UNSIGNED:
        (kept,) = found.conservation.values()
        np.testing.assert_allclose(kept, 1, rtol=0, atol=1e-4)


def test_fgcam_refuses_a_base_without_channels(bundled: Path) -> None:
    with pytest.raises(OptionError, match="kpcacam gives a map"):
        Explainer(file_of(bundled, "vgg_shapes"), base="kpcacam")


def test_fgcam_takes_eigen_smoothed_components(bundled: Path) -> None:
    """At the base layer itself they are the map."""
    x, _, layers = golden_of(bundled, "vgg_shapes")
    options = {"layers": layers[-1], "eigen_smooth": True}
    fine = fgcam_onnx.explain(file_of(bundled, "vgg_shapes"), x, base="layercam", base_layer=layers[-1], **options)
    coarse = fgcam_onnx.explain(file_of(bundled, "vgg_shapes"), x, method="layercam", **options)
    np.testing.assert_allclose(fine.map, coarse.map, rtol=0, atol=1e-5 * np.abs(coarse.map).max())


@pytest.mark.parametrize("method", ["gradcam++", "layercam", "fem", "eigencam", "kpcacam", "shapleycam", "refinecam"])
def test_the_map_of_a_channels_last_net_is_that_of_the_same_net_channels_first(bundled: Path, method: str) -> None:
    x, _, _ = golden_of(bundled, "vgg_shapes")
    first = fgcam_onnx.explain(bundled / "vgg_shapes.torchscript.onnx", x, method=method).map
    last = fgcam_onnx.explain(bundled / "vgg_shapes.keras.onnx", x.transpose(0, 2, 3, 1), method=method).map
    np.testing.assert_allclose(last, first, rtol=0, atol=2e-5 * np.abs(first).max())
