"""Principal components in the place of the channel sum: which vector, which sign, which layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bundled import NAMES, mask, prepared
from test_cams import file_of, golden_of

import fgcam_onnx
from fgcam_onnx import Explainer
from fgcam_onnx.cam.projection import kernel_principal, principal
from fgcam_onnx.errors import LayerError, OptionError


def test_the_projection_is_the_leading_eigenvector_of_the_covariance() -> None:
    x = np.random.default_rng(1).standard_normal((2, 6, 4, 5)) * np.arange(1, 7)[:, None, None]
    parts = principal(x)
    for part, image in zip(parts, x.reshape(2, 6, -1), strict=True):
        direction = np.linalg.eigh(np.cov(image))[1][:, -1]
        expected = direction @ (image - image.mean(1, keepdims=True))
        sign = np.sign(expected @ image.sum(0))
        np.testing.assert_allclose(part.sum(0).ravel(), sign * expected, rtol=0, atol=1e-5)
        one = direction[2] * (image[2] - image[2].mean())
        np.testing.assert_allclose(part[2].ravel(), sign * one, rtol=0, atol=1e-5)


def test_the_sign_of_the_projection_is_that_of_the_channel_sum() -> None:
    """So it does not depend on the library, and turns with its input."""
    x = np.random.default_rng(2).standard_normal((4, 5, 6, 6))
    parts = principal(x)
    centred = x.sum(1) - x.sum(1).mean((1, 2), keepdims=True)
    assert ((parts.sum(1) * centred).sum((1, 2)) > 0).all()
    np.testing.assert_allclose(principal(-x), -parts, rtol=0, atol=1e-6)
    np.testing.assert_allclose(principal(x[:, ::-1]), parts[:, ::-1], rtol=0, atol=1e-5)
    balanced = np.stack([x[0, 0], -x[0, 0]])[None]
    summed = principal(balanced).sum(1).ravel()
    assert summed[np.abs(summed).argmax()] > 0


@pytest.mark.parametrize("net", ["resnet_shapes", "vgg_shapes"])
@pytest.mark.parametrize("method", ["eigencam", "eigengradcam", "kpcacam"])
def test_the_positive_part_of_a_projection_lies_on_the_object(bundled: Path, net: str, method: str) -> None:
    """With the other sign it would lie on what is around."""
    x, _ = prepared(bundled, f"{net}.torchscript.onnx")
    found = fgcam_onnx.explain(file_of(bundled, net), x, method=method).fused(size=(96, 96))
    masks = np.stack([mask(bundled, n) for n in NAMES])
    on = [p[m].sum() / p.sum() for p, m in zip(found, masks, strict=True)]
    assert np.mean(on) >= 2 * masks.mean()


def test_components_that_are_constant_project_to_nothing() -> None:
    assert not principal(np.ones((1, 3, 4, 4))).any()
    assert not kernel_principal(np.ones((1, 3, 4, 4))).any()


def test_a_large_kernel_has_the_same_component_as_by_full_decomposition() -> None:
    x = np.random.default_rng(3).standard_normal((1, 7, 20, 21)) * np.linspace(0.5, 3, 7)[:, None, None]
    points = (x[0] - x[0].mean((1, 2), keepdims=True)).reshape(7, -1).T
    kernel = np.tanh(points @ points.T / 7 + 1)
    centre = np.eye(420) - 1 / 420
    values, vectors = np.linalg.eigh(centre @ kernel @ centre)
    expected = vectors[:, -1] * np.sqrt(values[-1])
    expected *= np.sign(expected[np.abs(expected).argmax()])
    np.testing.assert_allclose(kernel_principal(x).ravel(), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_kpcacam_refuses_a_layer_of_too_many_positions(bundled: Path) -> None:
    x, _, _ = golden_of(bundled, "vgg_shapes")
    with pytest.raises(LayerError, match="96 x 96 is too large"):
        fgcam_onnx.explain(file_of(bundled, "vgg_shapes"), x[:1], method="kpcacam", layers="input", base_layer="input")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "eigencam"}, "principal component itself"),
        ({"method": "fgcam", "base": "kpcacam"}, "principal component itself"),
        ({"method": "relevancecam"}, "not relevancecam"),
        ({"method": "refinecam"}, "not refinecam"),
    ],
    ids=str,
)
def test_eigen_smooth_is_refused_where_it_means_nothing(bundled: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Explainer(file_of(bundled, "vgg_shapes"), eigen_smooth=True, **options)  # type: ignore[arg-type]
