"""A map that shows nothing is said to: in the explanation, on the overlay, on the terminal and in the summary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nets import images, model_of, small_nodes, small_weights, written
from onnx import ModelProto
from PIL import Image

import fgcam_onnx
from fgcam_onnx.emptiness import NOT_POSITIVE, ZERO, emptiness
from fgcam_onnx.imaging import overlay

SIZE = (96, 120)
QUIET, AGAINST, FOR = 0, 1, 2
"""Classes whose weights are zero, negative and positive."""


def net() -> ModelProto:
    weights = small_weights()
    weights["fc.weight"][QUIET] = 0
    weights["fc.weight"][AGAINST] = -np.abs(weights["fc.weight"][AGAINST])
    weights["fc.weight"][FOR] = np.abs(weights["fc.weight"][FOR])
    return model_of(small_nodes(), weights, inputs={"input": ["N", 3, *SIZE]}, outputs=["logits"])


def test_a_map_is_empty_where_nothing_is_positive() -> None:
    assert emptiness(np.zeros((2, 3))) == ZERO
    assert emptiness(np.array([[0, -1e-30]])) == NOT_POSITIVE
    assert emptiness(np.array([[-1, 1e-30]])) == ""


def test_an_explanation_says_which_of_its_maps_show_nothing() -> None:
    e = fgcam_onnx.Explainer(net(), method="gradcam", threads=1)(images(3, size=SIZE), target=[QUIET, AGAINST, FOR])
    (name,) = e.maps
    assert e.empty == {name: (ZERO, NOT_POSITIVE, "")}
    assert e.summary()["empty"] == {name: [ZERO, NOT_POSITIVE, ""]}


def test_an_explanation_all_of_whose_maps_show_something_says_nothing() -> None:
    e = fgcam_onnx.Explainer(net(), method="gradcam", threads=1)(images(2, size=SIZE), target=FOR)
    assert set(e.empty.values()) == {("", "")}
    assert "empty" not in e.summary()


def foot(picture: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(picture)[-4:, :4]


@pytest.mark.parametrize("signed", [False, True])
def test_words_lie_at_the_foot_of_an_overlay_that_shows_nothing(signed: bool) -> None:
    photo = Image.new("RGB", (120, 96), (90, 60, 30))
    against = -np.ones((6, 6))
    assert (foot(overlay(photo, np.zeros((6, 6)), signed=signed)) == 255).all()
    assert (foot(overlay(photo, against, signed=signed)) == 255).all() != signed
    assert not (foot(overlay(photo, np.eye(6)[::-1], signed=signed)) == 255).all()


def test_a_picture_too_small_for_words_gets_none() -> None:
    photo = Image.new("RGB", (20, 16), (90, 60, 30))
    assert not (foot(overlay(photo, np.zeros((6, 6)))) == 255).any()


def test_the_command_says_so_in_a_line_a_picture_and_in_the_summary(tmp_path: Path, fgcam: Any) -> None:
    for i, x in enumerate(images(2, size=SIZE)):
        levels = np.clip(128 + 40 * x.transpose(1, 2, 0), 0, 255).astype(np.uint8)
        Image.fromarray(levels).save(tmp_path / f"p{i}.png")
    model = written(net(), tmp_path)
    common = (model, tmp_path / "p0.png", tmp_path / "p1.png", "--method", "gradcam", "--preprocess", "unit")
    ran = fgcam("explain", *common, "--target", AGAINST, "-o", tmp_path / "out")
    assert ran.code == 0
    lines = ran.err.strip().splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(tmp_path / f"p{i}.png") for i in (0, 1)]
    assert all(f"{NOT_POSITIVE} in the map of {AGAINST}" in line for line in lines)
    summary = json.loads((tmp_path / "out" / "explanations.json").read_text())
    for picture in summary["images"]:
        assert list(picture["explanations"][0]["empty"].values()) == [NOT_POSITIVE]
    assert fgcam("explain", *common, "--target", AGAINST, "--signed", "-o", tmp_path / "signed").err == ""
    assert ZERO in fgcam("explain", *common, "--target", QUIET, "--signed", "-o", tmp_path / "zero").err
    quiet = fgcam("explain", *common, "--target", FOR, "-o", tmp_path / "for")
    assert quiet.err == ""
    assert (
        "empty" not in json.loads((tmp_path / "for" / "explanations.json").read_text())["images"][0]["explanations"][0]
    )
