"""Real trained models and photographs: every fp32 CNN classifier is explained, and the maps lie on the objects."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fgcam_onnx
from fgcam_onnx.imaging import preprocess_from, read_image

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
import real_models

PICTURES = 24
CLASSIFIERS = (
    "cifar10_marabou_large keras_mobilenet_v1_0.25_224_imagenet keras_resnet8_cifar10_mlperftiny mcunet_in3_fp32_torch"
    " mnist_cntk mobilenet_v2_fp32_dequant regnetx200mf_fp32_dequant resnet20_onnc shufflenet_v2_fp32_dequant"
    " squeezenet1.1_fp32_rebuilt winml_mnist_model"
).split()


def entry(assets: Path, name: str) -> dict[str, Any]:
    rows = json.loads((assets / "models" / "models.json").read_text())
    return next(r for r in rows if r["file"] == f"{name}.onnx")


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_is_right_and_looks_at_the_object(assets: Path, name: str) -> None:
    """As right as published, within what a small sample allows; more on the boxes than chance gives."""
    row = entry(assets, name)
    explainer = fgcam_onnx.Explainer(assets / "models" / row["file"])
    spec = explainer.model.inputs[0]
    preprocess = preprocess_from(real_models.specification(row)).bound(spec.shape, spec.dtype)
    right, on, area = [], [], []
    for photo in real_models.photographs(assets, row["task"], PICTURES):
        image = read_image(photo.path)
        e = explainer(preprocess(image))
        assert np.abs(e.map).max() > 0
        right.append(e.target[0] - row["class_offset"] == photo.label)
        view = preprocess.view(image)
        found = real_models.inside(e.map[0], photo, (view.height, view.width))
        on.append(found[0])
        area.append(found[1])
    published = float(re.search(r"(?:acc|top1) (\.\d+)", row["measured"])[1])  # type: ignore[index]
    assert np.mean(right) >= published - 2 * np.sqrt(0.25 / PICTURES)
    if np.isfinite(on).any():
        assert np.nanmean(on) > np.nanmean(area) + 0.03


def test_a_model_with_free_height_and_width_is_bound_by_the_picture(assets: Path) -> None:
    explainer = fgcam_onnx.Explainer(assets / "models" / "paddle_ppocr_cls_textdir.onnx")
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, 48, 192)).astype(np.float32)
    e = explainer(x)
    assert e.map.shape == (2, 48, 192)
    assert explainer(x[..., :96]).map.shape == (2, 48, 96)
