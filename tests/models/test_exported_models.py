"""The bundled models: what their sidecars say is so, and the maps lie on the objects."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from bundled import EXPORTERS, MODELS, NAMES, NETS, mask, prepared

import fgcam_onnx
from fgcam_onnx.imaging import find_sidecar, preprocess_from, read_image, read_labels


@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_small_and_states_an_accuracy_of_95_percent_or_more(bundled: Path, model: str) -> None:
    assert (bundled / model).stat().st_size <= 1_000_000
    assert json.loads((bundled / model).with_suffix(".json").read_text())["accuracy"] >= 0.95


@pytest.mark.parametrize("model", MODELS)
def test_a_model_names_every_bundled_picture(bundled: Path, model: str) -> None:
    x, classes = prepared(bundled, model)
    assert fgcam_onnx.explain(bundled / model, x).target.tolist() == classes


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("options", [{}, {"base": "scorecam"}, {"denoise": True}], ids=str)
def test_most_of_the_map_lies_on_the_object(bundled: Path, model: str, options: dict[str, object]) -> None:
    """On average over the pictures; an uninformed map would have the object's share of the picture."""
    x, _ = prepared(bundled, model)
    positive = np.maximum(fgcam_onnx.explain(bundled / model, x, **options).map, 0)
    masks = np.stack([mask(bundled, n) for n in NAMES])
    on = [p[m].sum() / p.sum() for p, m in zip(positive, masks, strict=True)]
    by_chance = masks.mean(axis=(1, 2))
    assert np.mean(on) >= 4 * by_chance.mean()


@pytest.mark.parametrize("model", MODELS)
def test_the_map_moves_with_the_target_on_a_picture_of_two_objects(bundled: Path, model: str) -> None:
    sidecar = find_sidecar(bundled / model)
    assert sidecar is not None
    x = preprocess_from(sidecar).bound(("N", 3, 96, 96), np.float32)(read_image(bundled / "pictures" / "two.png"))
    labels = read_labels(bundled / "shapes.labels.txt")
    share = {}
    for name in ("star", "ring"):
        positive = np.maximum(fgcam_onnx.explain(bundled / model, x, target=labels.index(name)).map[0], 0)
        star, ring = (positive[mask(bundled, f"two.{n}")].sum() for n in ("star", "ring"))
        share[name] = star / (star + ring)
    assert share["star"] > share["ring"]


@pytest.mark.parametrize("net", NETS)
def test_both_exporters_files_give_the_same_maps(bundled: Path, net: str) -> None:
    x, _ = prepared(bundled, f"{net}.dynamo.onnx")
    a, b = (fgcam_onnx.explain(bundled / f"{net}.{e}.onnx", x).map for e in EXPORTERS)
    np.testing.assert_allclose(a / np.abs(a).max(), b / np.abs(a).max(), rtol=0, atol=1e-4)


def test_scopes_of_both_exporters_name_the_same_layers(bundled: Path) -> None:
    x, _ = prepared(bundled, "resnet_shapes.dynamo.onnx")
    for scope in ("layer1", "layer2.1", "layer3"):
        a, b = (fgcam_onnx.explain(bundled / f"resnet_shapes.{e}.onnx", x[:2], layers=scope).map for e in EXPORTERS)
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * np.abs(a).max())
