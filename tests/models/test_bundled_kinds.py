"""The bundled transformer and detector: they name and find what the pictures show, and their maps lie on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bundled import NAMES, mask, prepared
from PIL import Image

import fgcam_onnx
from fgcam_onnx import Explainer
from fgcam_onnx.imaging import preprocess_from, read_image, read_labels
from fgcam_onnx.targets import Detection

VIT, BOXES = "vit_shapes.dynamo.onnx", "boxes_shapes.dynamo.onnx"


def two(bundled: Path, model: str) -> np.ndarray:
    preprocess = preprocess_from((bundled / model).with_suffix(".json")).bound(("N", 3, 96, 96), np.float32)
    return np.asarray(preprocess(read_image(bundled / "pictures" / "two.png")))


def share(found: np.ndarray, where: np.ndarray) -> float:
    """Return how much of the positive map lies in a mask, the map enlarged to its size."""
    positive = Image.fromarray(np.maximum(found, 0)).resize(where.shape[::-1], Image.Resampling.BILINEAR)
    return float(np.asarray(positive)[where].sum() / np.asarray(positive).sum())


def box_of(where: np.ndarray) -> tuple[int, int, int, int]:
    box = Image.fromarray(where).getbbox()
    assert box is not None
    return box


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    inside = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return inside / (sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)) - inside)


def test_the_transformer_names_the_bundled_pictures_and_looks_at_them(bundled: Path) -> None:
    x, classes = prepared(bundled, VIT)
    found = fgcam_onnx.explain(bundled / VIT, x, method="auto")
    assert found.target.tolist() == classes
    masks = [mask(bundled, name) for name in NAMES]
    shares = [share(m, where) for m, where in zip(found.map, masks, strict=True)]
    assert np.mean(shares) >= 3 * np.mean(masks)


def test_the_transformers_tokens_are_folded_to_their_grid(bundled: Path) -> None:
    assert Explainer(bundled / VIT, method="gradcam")(two(bundled, VIT)).map.shape == (1, 12, 12)


@pytest.mark.parametrize("label", ["star", "ring"])
def test_the_detectors_best_box_of_a_class_is_where_the_shape_is_and_so_is_its_map(bundled: Path, label: str) -> None:
    where = mask(bundled, f"two.{label}")
    index = read_labels(bundled / "shapes.labels.txt").index(label)
    explainer = Explainer(bundled / BOXES, method="lrp", cells=True)
    found = explainer(two(bundled, BOXES), target=index)
    box = tuple(float(v) for v in found.described[0].split()[-4:])
    assert overlap(box, box_of(where)) >= 0.6
    assert found.score[0] >= 0.9
    assert share(found.map[0], where) >= 0.5
    near = explainer(two(bundled, BOXES), target=Detection(box_of(where), index))
    np.testing.assert_array_equal(near.map, found.map)


@pytest.mark.parametrize("method", ["gradcam", "auto", "reciprocam"])
def test_the_detector_is_explained_at_what_its_boxes_are_read_from_and_not_as_a_transformer(
    bundled: Path, method: str
) -> None:
    explainer = Explainer(bundled / BOXES, method=method)
    found = explainer(two(bundled, BOXES))
    options = explainer.options()[0]
    assert options.base_layer.scope.startswith("net.neck")
    assert options.base_layer.grid is None
    assert options.base == {"auto": "gradcam"}.get(method, "")
    assert found.map.shape == ((1, 96, 96) if method == "auto" else (1, 12, 12))
