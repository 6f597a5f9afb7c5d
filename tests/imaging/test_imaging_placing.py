"""Where a view lies in its picture, found by drawing a mark and looking for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from fgcam_onnx.errors import OptionError
from fgcam_onnx.imaging import Placement, Preprocess, placements_of, preprocess_from

FITS: list[dict[str, Any]] = [
    {"resize": "crop"},
    {"resize": "crop", "crop_share": 1.0},
    {"resize": "stretch"},
    {"resize": "pad"},
    {"resize": "pad", "pad_at": "corner"},
]


def with_square(size: tuple[int, int], at: tuple[int, int], side: int) -> Image.Image:
    picture = Image.new("RGB", size)
    picture.paste((255, 255, 255), (*at, at[0] + side, at[1] + side))
    return picture


def centre(grey: np.ndarray) -> np.ndarray:
    """Return the centre of brightness as (x, y), pixel centres at half steps."""
    grey = grey.astype(np.float64)
    at = [np.arange(n) + 0.5 for n in grey.shape[::-1]]
    return np.array([grey.sum(0) @ at[0], grey.sum(1) @ at[1]]) / grey.sum()


@pytest.mark.parametrize("fit", FITS, ids=lambda f: "-".join(map(str, f.values())))
@pytest.mark.parametrize("size", [(200, 100), (90, 160), (64, 48), (37, 41)])
def test_a_mark_in_the_view_lies_where_the_placement_says_it_is_in_the_picture(
    fit: dict[str, Any], size: tuple[int, int]
) -> None:
    preprocess = Preprocess(size=(48, 64), **fit)
    at, side = (size[0] // 2 - 7, size[1] // 2 + 1), 8
    seen = np.asarray(preprocess.view(with_square(size, at, side)).convert("L")).astype(int)
    empty = np.asarray(preprocess.view(Image.new("RGB", size)).convert("L")).astype(int)
    left, top, right, bottom = preprocess.placement(size).box
    in_view = (np.array(at) + side / 2 - (left, top)) / ((right - left) / 64, (bottom - top) / 48)
    np.testing.assert_allclose(centre(seen - empty), in_view, rtol=0, atol=0.15)


@pytest.mark.parametrize("fit", FITS, ids=lambda f: "-".join(map(str, f.values())))
@pytest.mark.parametrize("size", [(200, 100), (90, 160), (64, 48), (37, 41)])
def test_what_is_hot_in_the_view_is_hot_at_its_place_in_the_picture(fit: dict[str, Any], size: tuple[int, int]) -> None:
    preprocess = Preprocess(size=(48, 64), **fit)
    at, side = (size[0] // 2 - 7, size[1] // 2 + 1), 8
    picture = with_square(size, at, side)
    values = np.asarray(preprocess.view(picture).convert("L"), np.float64)
    values -= np.asarray(preprocess.view(Image.new("RGB", size)).convert("L"))
    over = preprocess.placement(size).widened(values)
    assert over.shape == size[::-1]
    np.testing.assert_allclose(centre(over), np.array(at) + side / 2, rtol=0, atol=0.3)


def test_a_map_of_ones_covers_what_was_seen_and_nothing_else() -> None:
    placement = Preprocess(size=(64, 64), crop_share=1.0).placement((200, 100))
    over = placement.widened(np.ones((4, 4)))
    assert placement.seen == (50, 0, 150, 100)
    np.testing.assert_array_equal(over[:, 50:150], 1)
    assert not over[:, :50].any()
    assert not over[:, 150:].any()


def test_a_view_smaller_than_a_pixel_shows_nothing() -> None:
    assert not Placement((4, 4), (2, 2), (1.2, 1.2, 1.8, 1.8)).widened(np.ones((2, 2))).any()


@pytest.mark.parametrize("resize", ["crop", "stretch", "pad"])
def test_a_picture_of_the_models_size_is_left_alone(resize: Any) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    preprocess = Preprocess(size=(48, 64), resize=resize)
    np.testing.assert_array_equal(np.asarray(preprocess.view(picture)), np.asarray(picture))
    assert preprocess.placement(picture.size) == Placement.whole((48, 64))
    assert preprocess.placement((65, 48)).view == (48, 64)


def test_arrays_know_their_pictures_through_a_batch_and_not_through_arithmetic() -> None:
    preprocess = preprocess_from("unit").bound(("N", 3, 32, 32), "float32")
    sizes = [(40, 60), (32, 32)]
    first, second = (preprocess(Image.new("RGB", size)) for size in sizes)
    both = np.concatenate([first, second])
    assert placements_of(both) == tuple(preprocess.placement(size) for size in sizes)
    assert placements_of(np.concatenate((first, second), axis=0)) == placements_of(both)
    for unknown in (
        first[..., ::-1],
        first * 2,
        both[:1],
        np.concatenate([first, np.zeros_like(np.asarray(second))]),
        np.concatenate([first, second], axis=3),
        np.asarray(first),
    ):
        assert placements_of(unknown) == ()


@pytest.mark.parametrize("shape", [("N", 11, 60, 1), ("N", 1, 11, 60), ("N", 49, 10, 1), ("N", 1, 1, 128)])
def test_small_inputs_of_one_channel_are_pictures_only_where_that_is_said(shape: tuple[Any, ...]) -> None:
    with pytest.raises(OptionError, match=r"signal or a table.*--layout"):
        preprocess_from("unit").bound(shape, "float32")
    layout = "NHWC" if shape[-1] == 1 else "NCHW"
    said = preprocess_from({"layout": layout}).bound(shape, "float32")
    assert said.size == tuple(d for d in shape[1:] if d != 1) or said.size == (1, 128)


@pytest.mark.parametrize("shape", [("N", 1, 28, 28), ("N", 32, 100, 1), ("N", 3, 11, 60), ("N", 1, "H", "W")])
def test_other_inputs_are_pictures(shape: tuple[Any, ...]) -> None:
    size = (28, 28) if "H" in shape else None
    assert preprocess_from({"size": size} if size else "unit").bound(shape, "float32").size is not None


def test_what_is_done_to_a_picture_is_said() -> None:
    said = preprocess_from("imagenet").bound(("N", 3, 224, 224), "float32").described()
    for part in ("1/0.875", "224 x 224", "bilinear", "RGB", "x/255", "0.485", "0.229"):
        assert part in said
    assert preprocess_from({"resize": "pad", "scale": 1, "channels": "BGR"}).described() == (
        "fitted into the model's size, the rest 114, bilinear; BGR, x"
    )


def test_a_summary_is_read_back_as_it_was() -> None:
    for preset in ("imagenet", "caffe", "tf"):
        preprocess = preprocess_from(preset).bound(("N", 3, 224, 224), "float32")
        assert preprocess_from(preprocess.summary()) == preprocess
