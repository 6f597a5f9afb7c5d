"""Explanations that know their pictures: marks lie on what made them, or are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nets import model_of, node
from PIL import Image

import fgcam_onnx
from fgcam_onnx import Explainer, Explanation
from fgcam_onnx.errors import InputError
from fgcam_onnx.imaging import Preprocess, preprocess_from

SIZE, SQUARE = (200, 100), (125, 40, 140, 60)


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    """Explains a net whose first class is how much red there is, at the layer where it is seen."""
    red = np.array([1, -1, -1], np.float32).reshape(1, 3, 1, 1)
    nodes = [
        node("Conv", ["input", "k"], "a"),
        node("Relu", ["a"], "seen"),
        node("GlobalAveragePool", ["seen"], "p"),
        node("Flatten", ["p"], "f"),
        node("Gemm", ["f", "w"], "logits"),
    ]
    weights = {"k": red, "w": np.array([[1, 0, -1]], np.float32)}
    model = model_of(nodes, weights, inputs={"input": ["N", 3, 64, 64]}, outputs=["logits"])
    return Explainer(model, method="gradcam", layers="seen")


def photograph(size: tuple[int, int] = SIZE, square: tuple[int, int, int, int] = SQUARE) -> Image.Image:
    picture = Image.new("RGB", size, (90, 90, 90))
    picture.paste((255, 0, 0), square)
    return picture


def marked(explanation: Explanation, picture: Image.Image, **options: Any) -> tuple[int, int, int, int]:
    """Return the box of what gets colour, drawn on grey of the picture's size so that only the map has colour."""
    over = explanation.overlay(Image.new("RGB", picture.size, (90, 90, 90)), **options)
    pixels = np.asarray(over).astype(int)
    ys, xs = np.nonzero(np.ptp(pixels, axis=2) > 120)
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


FITS: list[dict[str, Any]] = [{"resize": "crop"}, {"resize": "stretch"}, {"resize": "pad"}]


@pytest.mark.parametrize("fit", FITS, ids=lambda f: f["resize"])
def test_a_mark_lies_on_what_made_it_in_the_original_photograph(explainer: Explainer, fit: dict[str, Any]) -> None:
    preprocess = Preprocess(size=(64, 64), **fit)
    picture = photograph()
    e = explainer(preprocess(picture), target=0)
    # a pixel of the view is up to 200 / 64 of the picture's
    np.testing.assert_allclose(marked(e, picture), SQUARE, rtol=0, atol=3.5)
    seen = preprocess.view(picture)
    assert e.overlay(seen).size == (64, 64)
    red = np.argwhere(np.asarray(seen)[:, :, 0].astype(int) - np.asarray(seen)[:, :, 1] > 100)
    found = np.array(marked(e, seen))
    np.testing.assert_allclose(found, [*red.min(0)[::-1], *(red.max(0)[::-1] + 1)], rtol=0, atol=1.5)


def test_every_image_of_a_batch_has_its_own_place(explainer: Explainer) -> None:
    preprocess = Preprocess(size=(64, 64))
    pictures = [photograph(), photograph((120, 300), (50, 130, 70, 160))]
    e = explainer(np.concatenate([preprocess(p) for p in pictures]), target=[[0, 1], [0, 2]])
    assert e.each == 2
    for index, (picture, box) in enumerate(zip(pictures, (SQUARE, (50, 130, 70, 160)), strict=True)):
        np.testing.assert_allclose(marked(e, picture, index=2 * index), box, rtol=0, atol=3)


def test_where_a_map_lies_is_asked_where_it_is_not_known(explainer: Explainer) -> None:
    preprocess = Preprocess(size=(64, 64))
    picture = photograph()
    x = np.asarray(preprocess(picture))
    e = explainer(x, target=0)
    with pytest.raises(InputError, match=r"200 x 100 is not known: the model saw 64 x 64.*preprocess="):
        e.overlay(picture)
    np.testing.assert_allclose(marked(e, picture, preprocess=preprocess), SQUARE, rtol=0, atol=3.5)
    assert e.overlay(preprocess.view(picture)).size == (64, 64)
    with pytest.raises(InputError, match="32 x 32 pixels, the model saw 64 x 64"):
        e.overlay(picture, preprocess=Preprocess(size=(32, 32)))


def test_another_picture_than_the_one_explained_is_refused(explainer: Explainer) -> None:
    e = explainer(Preprocess(size=(64, 64))(photograph()), target=0)
    with pytest.raises(InputError, match="200 x 100 was explained, this one is 300 x 100"):
        e.overlay(Image.new("RGB", (300, 100)))


def test_the_notebook_shows_every_image_of_a_batch_and_the_scale(explainer: Explainer) -> None:
    preprocess = Preprocess(size=(64, 64))
    first = preprocess(photograph())
    shown = explainer(first, target=0)._repr_html_()
    both = explainer(np.concatenate([first, preprocess(Image.new("RGB", (64, 64), "red"))]), target=0)._repr_html_()
    assert (shown.count("data:image"), both.count("data:image")) == (1, 2)
    assert (shown.count("linear-gradient"), both.count("linear-gradient")) == (1, 2)


def test_models_and_explanations_are_short_to_print(explainer: Explainer) -> None:
    assert repr(explainer.model) == "<Model in memory: 5 nodes, input ['N', 3, 64, 64] -> logits ['N', 3]>"
    e = explainer(np.zeros((6, 3, 64, 64), np.float32), target=1)
    assert repr(e) == "<Explanation of 6 rows: 1, 1, 1, 1 and 2 more; maps seen (64 x 64)>"


def test_pixels_in_place_of_prepared_numbers_are_not_just_converted(explainer: Explainer) -> None:
    pixels = np.asarray(photograph((64, 64), (1, 1, 9, 9))).transpose(2, 0, 1)[None]
    with pytest.raises(InputError, match=r"prepared as in training.*preprocess_from") as caught:
        explainer(pixels)
    assert "astype" not in str(caught.value)
    way = preprocess_from("imagenet").bound(explainer.model.inputs[0].shape, "float32")
    assert fgcam_onnx.explain(explainer.model, way(photograph()), target=0, method="gradcam").map.shape == (1, 64, 64)
