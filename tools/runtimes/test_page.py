"""The page in a real browser: a dropped picture gets the explainer's map, and every control can be used."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from engines import BROWSERS, HERE, ROOT, MissingError, found, require
from PIL import Image

import fgcam_onnx
from fgcam_onnx.imaging import find_sidecar, preprocess_from
from fgcam_onnx.imaging.writing import sha256_of

BROWSER = ROOT / "tools" / "browser"
BUNDLED = ROOT / "exported_models"
NET = BUNDLED / "vgg_shapes.dynamo.onnx"
FOLDER = ROOT / "build" / "page"
SITE = FOLDER / "site"
OWN = SITE / "files" / "vgg_shapes.dynamo.gradcam.onnx"
LAYERS = ["input", "features.3", "features.10", "features.17"]


@functools.cache
def happened() -> dict[str, Any] | Exception:
    """Return what happened when the page was used, or why it was not."""
    try:
        return used()
    except Exception as error:  # told in every test
        return error


def used() -> dict[str, Any]:
    """Serve the page, and use it."""
    require(BROWSER / "node_modules" / "onnxruntime-web", HERE / "node_modules" / "playwright-core")
    require(HERE / "node_modules" / "axe-core")
    programs = found("node"), found(*BROWSERS)
    FOLDER.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, BROWSER / "prepare.py", SITE], check=True, timeout=600)
    other = FOLDER / "wide.jpg"
    Image.open(BUNDLED / "pictures" / "heart.png").resize((230, 170)).save(other, quality=95)
    plain, names = FOLDER / "plain.onnx", FOLDER / "names.txt"
    plain.write_bytes(NET.read_bytes())
    names.write_text("one\ntwo\nthree\n")
    server = subprocess.Popen([sys.executable, BROWSER / "serve.py", SITE, "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split()[0]
        picture = BUNDLED / "pictures" / "two.png"
        command = [programs[0], HERE / "page.mjs", programs[1], url, picture, other, plain, OWN, names, FOLDER]
        done = subprocess.run(
            [*command, FOLDER / "told.json"], capture_output=True, text=True, timeout=1800, check=False
        )
    finally:
        server.terminate()
        server.communicate(timeout=10)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    what: dict[str, Any] = json.loads((FOLDER / "told.json").read_text())
    return what


@pytest.fixture
def told() -> dict[str, Any]:
    what = happened()
    if isinstance(what, MissingError):
        pytest.skip(str(what))
    if isinstance(what, Exception):
        raise what
    return what


def wanted(explanation: dict[str, Any], target: int | None) -> fgcam_onnx.Explanation:
    """Return the explainer's answer on the pixels that the page fed its model."""
    pixels = np.asarray(explanation["pixels"], np.uint8).reshape(96, 96, 3)
    sidecar = find_sidecar(NET)
    assert sidecar is not None
    explainer = fgcam_onnx.Explainer(NET, method="fgcam", layers=LAYERS, threads=1)
    x = preprocess_from(sidecar).bound(explainer.model.inputs[0].shape, np.float32)(Image.fromarray(pixels))
    return explainer(x, target=target)


def check_maps(explanation: dict[str, Any], target: int | None, *, against: int | None = None) -> None:
    """Hold the page's maps against the explainer's."""
    right = wanted(explanation, target)
    maps = {n: m[0] for n, m in right.maps.items()}
    if against is not None:
        maps = {n: m - wanted(explanation, against).maps[n][0] for n, m in maps.items()}
    assert explanation["target"] == right.target[0]
    np.testing.assert_allclose(explanation["scores"], right.scores[0], rtol=1e-4, atol=1e-4)
    for m, (name, w) in zip(explanation["maps"], maps.items(), strict=True):
        got = np.asarray(m["data"]).reshape(m["height"], m["width"])
        np.testing.assert_allclose(got, w, rtol=0, atol=1e-3 * np.abs(w).max(), err_msg=name)


def test_a_dropped_picture_gets_the_explainers_maps(told: dict[str, Any]) -> None:
    pixels = np.asarray(told["dropped"]["pixels"], np.uint8).reshape(96, 96, 3)
    np.testing.assert_array_equal(pixels, np.asarray(Image.open(BUNDLED / "pictures" / "two.png").convert("RGB")))
    check_maps(told["dropped"], None)


def test_a_picture_of_another_size_is_fitted(told: dict[str, Any]) -> None:
    check_maps(told["fitted"], None)
    pixels = np.asarray(told["fitted"]["pixels"], float).reshape(96, 96, 3)
    plain = np.asarray(Image.open(BUNDLED / "pictures" / "heart.png").convert("RGB"), float)
    assert np.corrcoef(pixels.ravel(), plain.ravel())[0, 1] > 0.95


def test_a_click_on_another_class_explains_it(told: dict[str, Any]) -> None:
    target = int(np.argsort(told["dropped"]["scores"])[-3])
    check_maps(told["clicked"], target)
    assert told["pressed"] == [str(target)]
    assert told["focus"] == str(target)


def test_any_class_is_found_by_name_and_compared_with_another(told: dict[str, Any]) -> None:
    labels = (BUNDLED / "shapes.labels.txt").read_text().splitlines()
    cross = labels.index("cross")
    check_maps(told["searched"], cross)
    check_maps(told["against"], cross, against=2)
    assert told["question"].startswith(f"Why “cross” and not “{labels[2]}”: 96 × 96 map")
    assert "is no class" in told["unknown"]


def test_the_report_is_one_sheet_and_says_what_it_is_of(told: dict[str, Any]) -> None:
    assert told["sheets"] == 1
    for text in (sha256_of(NET), NET.name, "two.png", fgcam_onnx.__version__, "arXiv:2303.09171", "Why “cross”"):
        assert text in told["report"]


def test_an_accessibility_checker_finds_nothing(told: dict[str, Any]) -> None:
    assert told["violations"] == {"light": [], "dark": []}


def test_an_own_file_is_named_and_names_of_other_classes_are_refused(told: dict[str, Any]) -> None:
    assert told["ownModel"] == f"Your file: {OWN.name}"
    assert told["wrongNames"] == "There are 3 class names, but the model has 8 classes."


def test_nothing_is_complained_of(told: dict[str, Any]) -> None:
    assert told["complaints"] == []


def test_every_choice_of_display_changes_the_picture(told: dict[str, Any]) -> None:
    assert len(set(told["drawn"])) == len(told["drawn"]) == 5


def test_the_tab_key_reaches_every_control_in_reading_order(told: dict[str, Any]) -> None:
    order = [
        "classes",
        "search",
        "against",
        "samples",
        "picture",
        "sign",
        "layer",
        "colors",
        "opacity",
        "save",
        "print",
    ]
    order += ["model", "own"]
    assert told["tabs"] == order


def test_every_control_has_a_name(told: dict[str, Any]) -> None:
    assert told["unnamed"] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(told: dict[str, Any], scheme: str) -> None:
    assert min(told["contrasts"][scheme].values()) >= 4.5, told["contrasts"][scheme]


def test_nothing_is_wider_than_a_telephone(told: dict[str, Any]) -> None:
    assert told["widths"] == {"390": 390, "1280": 1280}


def test_what_is_not_an_explanation_or_a_picture_is_refused_with_the_way_out(told: dict[str, Any]) -> None:
    assert "fgcam export plain.onnx" in told["wrongModel"]
    assert told["anotherModel"] == 3
    assert told["alertGone"] is True


def test_the_overlay_can_be_saved(told: dict[str, Any]) -> None:
    assert told["saved"]["name"].endswith(".png")
    assert told["saved"]["head"].startswith("\x89PNG")
