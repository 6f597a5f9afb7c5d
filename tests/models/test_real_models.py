"""Real trained models and photographs: every classifier is explained, and the maps lie on the objects."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import real_models

import fgcam_onnx
from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.graph.score import find_score
from fgcam_onnx.imaging import preprocess_from, read_image
from fgcam_onnx.program import TARGET, append_gradients, append_target
from fgcam_onnx.runtime import Session

PICTURES = 40
CLASSIFIERS = (
    "cifar10_marabou_large keras_mobilenet_v1_0.25_224_imagenet keras_resnet8_cifar10_mlperftiny mcunet_in3_fp32_torch"
    " mnist_cntk mobilenet_v2_fp32_dequant regnetx200mf_fp32_dequant resnet20_onnc shufflenet_v2_fp32_dequant"
    " squeezenet1.1_fp32_rebuilt winml_mnist_model vit_tiny_patch16_224_opset17 vit_cifar10_ibp_3_3_8"
    " SqueezeNet_fp16_winml mlperftiny_resnet8_cifar10_int8 mobilenet_v2_dynint8_edge_bench mobilenetv2-12-int8"
    " mobilenetv2-12-qdq shufflenet-v2-12-int8 tflite_mcunet-320kb-1mb_imagenet tflite_mobilenet_v2_1.0_224_quant"
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


DENSE = {
    "deeplab_v3_mnv2_voc_tf": "dog",
    "selfie_segmenter_landscape": "person",
    "yolox_nano_coco": "objectness",
    "st_deeplabv3_mnv2_05_320_qdq_int8": "person",
}


@pytest.mark.parametrize("name", DENSE)
def test_a_dense_output_gives_the_gradient_of_the_element_that_was_chosen(assets: Path, name: str) -> None:
    """Against a difference along the gradient, where the model is not quantized."""
    path = assets / "models" / f"{name}.onnx"
    model = fgcam_onnx.load(path)
    spec = model.inputs[0]
    row = entry(assets, name)
    preprocess = preprocess_from({**real_models.specification(row), "resize": "stretch"}).bound(spec.shape, spec.dtype)
    x = preprocess(read_image(assets / "images" / "misc" / "gcam_both.png"))
    score = find_score(model)
    emitter = Emitter(model)
    scored = append_target(emitter, score.logits)
    g = append_gradients(emitter, [spec.name], output=score.logits, seed=scored.seed)[spec.name]
    emitter.output("g", g)
    emitter.output("scores", scored.scores)
    session = Session(emitter.build())
    top = int(session.run({spec.name: x, TARGET: np.array([0])})["scores"].argmax())
    found = session.run({spec.name: x, TARGET: np.array([top])})
    assert np.isfinite(found["g"]).all()
    assert np.abs(found["g"]).max() > 0
    if "int8" in name:
        return
    g64 = found["g"].astype(np.float64)
    step = g64 * (0.01 / (g64**2).sum())
    up, down = (
        session.run({spec.name: (x + s * step).astype(x.dtype), TARGET: np.array([top])})["scores"][0, top]
        for s in (1, -1)
    )
    np.testing.assert_allclose((up - down) / 2, 0.01, rtol=0.05, atol=0)
