from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from fgcam_onnx.errors import ImageError, OptionError
from fgcam_onnx.imaging import PRESETS, Preprocess

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def triangle_resize(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Antialiased bilinear: a triangle as wide as the step between output pixels, written out as matrices."""
    result = values.astype(np.float64)
    for axis, length in enumerate(size):
        source = result.shape[axis]
        step = source / length
        centres = (np.arange(length) + 0.5) * step
        distance = np.abs(np.arange(source) + 0.5 - centres[:, None]) / max(step, 1)
        weights = np.maximum(1 - distance, 0)
        weights /= weights.sum(axis=1, keepdims=True)
        result = np.moveaxis(np.tensordot(weights, result, (1, axis)), 0, axis)
    return result


@pytest.mark.parametrize(("width", "height"), [(300, 401), (500, 280), (64, 64), (97, 211)])
def test_the_imagenet_preset_is_short_side_256_centre_224_normalised(width: int, height: int) -> None:
    image = picture(width, height)
    short = 256 / min(width, height)
    whole = (int(height * short + 1e-9), int(width * short + 1e-9))
    pixels = triangle_resize(np.asarray(image), whole)
    top, left = round((whole[0] - 224) / 2), round((whole[1] - 224) / 2)
    cropped = pixels[top : top + 224, left : left + 224]
    expected = ((cropped / 255 - MEAN) / STD).transpose(2, 0, 1)[None]
    seen = PRESETS["imagenet"].bound(("N", 3, 224, 224), "float32")(image)
    assert seen.dtype == np.float32
    assert seen.flags.c_contiguous
    # Pillow rounds to whole pixel values after each axis: one step is 1 / 255 / 0.224 = 0.0175.
    np.testing.assert_allclose(seen, expected, rtol=0, atol=0.0180)
    shifted = pixels[top + 1 : top + 225, left : left + 224] if top + 225 <= whole[0] else cropped[::-1]
    assert np.abs(((shifted / 255 - MEAN) / STD).transpose(2, 0, 1) - seen[0]).max() > 0.1


def test_the_arithmetic_is_exact_where_no_resize_is_needed() -> None:
    image = picture(224, 224)
    pixels = np.asarray(image).astype(np.float64)
    expected = {
        "imagenet": (pixels / 255 - MEAN) / STD,
        "tf": pixels / 127.5 - 1,
        "cifar": (pixels / 255 - [0.4914, 0.4822, 0.4465]) / [0.2471, 0.2435, 0.2616],
        "caffe": pixels[:, :, ::-1] - np.array([103.939, 116.779, 123.68]),
        "unit": pixels / 255,
        "none": pixels,
    }
    assert set(expected) == set(PRESETS)
    for name, values in expected.items():
        seen = Preprocess(**{**vars(PRESETS[name]), "resize": "stretch"}).bound((1, 224, 224, 3), "float32")(image)
        np.testing.assert_allclose(seen[0], values, rtol=1e-5, atol=1e-5)


def test_layouts_hold_the_same_numbers() -> None:
    image = picture(50, 40)
    first = Preprocess(size=(32, 24), layout="NCHW")(image)
    last = Preprocess(size=(32, 24), layout="NHWC")(image)
    assert (first.shape, last.shape) == ((1, 3, 32, 24), (1, 32, 24, 3))
    np.testing.assert_array_equal(first.transpose(0, 2, 3, 1), last)


def test_grey_is_the_luma_of_what_is_seen() -> None:
    bound = Preprocess(resize="stretch").bound((1, 1, 28, 28), "float32")
    image = picture(28, 28)
    expected = np.asarray(image).astype(np.float64) @ [0.299, 0.587, 0.114] / 255
    seen = bound(image)
    assert bound.channels == "GREY"
    assert seen.shape == (1, 1, 28, 28)
    np.testing.assert_allclose(seen[0, 0], expected, rtol=0, atol=1.01 / 255)
    assert bound.view(image).mode == "RGB"


def test_padding_keeps_the_shape_and_fills_the_rest() -> None:
    image = Image.new("RGB", (100, 50), (250, 0, 0))
    centred = np.asarray(Preprocess(size=(64, 64), resize="pad", fill=7).view(image))
    assert np.unique(centred[:16]).tolist() == [7] == np.unique(centred[48:]).tolist()
    assert tuple(centred[16, 0]) == tuple(centred[47, 63]) == (250, 0, 0)
    corner = np.asarray(Preprocess(size=(64, 64), resize="pad", pad_at="corner").view(image))
    assert tuple(corner[31, 63]) == (250, 0, 0)
    assert np.unique(corner[32:]).tolist() == [114]
    tall = Preprocess(size=(64, 64), resize="pad").view(Image.new("RGB", (1, 9000)))
    assert tall.size == (64, 64)


def test_stretch_goes_straight_to_the_size() -> None:
    image = picture(30, 90)
    seen = np.asarray(Preprocess(size=(45, 60), resize="stretch").view(image))
    np.testing.assert_allclose(seen, triangle_resize(np.asarray(image), (45, 60)), rtol=0, atol=1.01)


@pytest.mark.parametrize("size", [(100, 60), (60, 100), (1, 1), (7, 500)])
@pytest.mark.parametrize("resize", ["crop", "stretch", "pad"])
def test_every_resize_gives_the_size_asked_for(size: tuple[int, int], resize: Any) -> None:
    for width, height in ((33, 71), (640, 480), (1, 1), (2, 300)):
        assert Preprocess(size=size, resize=resize).view(picture(width, height)).size == size[::-1]


def test_a_crop_that_is_not_square_keeps_the_picture_in_proportion() -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 400)[None, :, None], (200, 400, 3)).astype(np.uint8)
    seen = np.asarray(Preprocess(size=(100, 50), crop_share=1.0).view(Image.fromarray(ramp)))
    # Half as tall, so the 200 columns shrink alike and the middle 50 remain: values 0.375 to 0.625.
    np.testing.assert_allclose(seen[50, [0, -1], 0], [0.3775 * 255, 0.6225 * 255], rtol=0, atol=1.5)


def test_whole_numbers_are_rounded_and_clipped() -> None:
    image = Image.fromarray(np.array([[[0, 1, 2], [100, 200, 255]]], np.uint8))
    base = {"size": (1, 2), "resize": "stretch", "layout": "NHWC"}
    seen = Preprocess(**base, scale=1.3, mean=(5.0,), dtype="uint8")(image)
    assert seen.dtype == np.uint8
    assert seen.ravel().tolist() == [0, 0, 0, 125, 255, 255]
    signed = Preprocess(**base, scale=1.0, mean=(128.0,), dtype="int8")(image)
    assert signed.ravel().tolist() == [-128, -127, -126, -28, 72, 127]
    large = Preprocess(**base, scale=1e30, dtype="int64")(image)
    assert large.max() > 2**62
    assert large.min() == 0


def test_a_result_beyond_the_dtype_is_an_error_and_not_infinity() -> None:
    half = Preprocess(size=(4, 4), scale=1.0, dtype="float16")
    assert half(picture(4, 4)).dtype == np.float16
    with pytest.raises(OptionError, match="overflows float16"):
        Preprocess(size=(4, 4), scale=1e4, dtype="float16")(picture(4, 4))


@pytest.mark.parametrize(
    ("shape", "layout", "channels", "size"),
    [
        ((1, 3, 224, 200), "NCHW", "RGB", (224, 200)),
        (("N", 3, 224, 224), "NCHW", "RGB", (224, 224)),
        ((None, 224, 200, 3), "NHWC", "RGB", (224, 200)),
        ((1, 28, 28, 1), "NHWC", "GREY", (28, 28)),
        ((1, 1, 28, 28), "NCHW", "GREY", (28, 28)),
        ((1, 3, 50, 3), "NCHW", "RGB", (50, 3)),
        ((3, 64, 48), "NCHW", "RGB", (64, 48)),
        ((64, 48, 3), "NHWC", "RGB", (64, 48)),
        ((1, None, 64, 48), "NCHW", "RGB", (64, 48)),
    ],
)
def test_layout_channels_and_size_are_read_off_the_input(
    shape: tuple[Any, ...], layout: str, channels: str, size: tuple[int, int]
) -> None:
    bound = Preprocess().bound(shape, np.dtype("float64"))
    assert (bound.layout, bound.channels, bound.size, bound.dtype) == (layout, channels, size, "float64")


def test_what_is_set_stays_when_bound() -> None:
    chosen = Preprocess(size=(96, 80), layout="NHWC", channels="BGR", dtype="float16")
    assert chosen.bound((1, "h", "w", 3), "float32") == chosen


@pytest.mark.parametrize("shape", [(1, 3, None, None), (1, 3, "h", 224), (1, 3, -1, 0)])
def test_free_sides_need_a_size(shape: tuple[Any, ...]) -> None:
    with pytest.raises(OptionError, match="--size"):
        Preprocess().bound(shape, "float32")
    assert Preprocess(size=(64, 224)).bound(shape, "float32").size == (64, 224)


@pytest.mark.parametrize(
    ("kwargs", "shape", "dtype", "message"),
    [
        ({}, (1, 784), "float32", "2 axes"),
        ({}, (1, 3, 8, 224, 224), "float32", "5 axes"),
        ({}, (1, 4, 224, 224), "float32", "4 channels"),
        ({"size": (256, 256)}, (1, 3, 224, 224), "float32", "256x256.*224x224"),
        ({"channels": "RGB"}, (1, 1, 28, 28), "float32", "Set channels to GREY"),
        ({"channels": "GREY"}, (1, 3, 28, 28), "float32", "Set channels to RGB"),
        ({"mean": (0.1, 0.2, 0.3)}, (1, 1, 28, 28), "float32", "one value for GREY"),
        ({}, (1, 3, 28, 28), "bool", "input is bool"),
        ({}, (1, 3, 28, 28), "no such dtype", "no such dtype"),
        ({}, (1, 3, 28, 28), "uint8", "preset 'none'"),
    ],
)
def test_inputs_that_do_not_fit_say_so(
    kwargs: dict[str, Any], shape: tuple[Any, ...], dtype: str, message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        Preprocess(**kwargs).bound(shape, dtype)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"resize": "stretched"}, "Did you mean 'stretch'"),
        ({"dtype": "float23"}, "float32"),
        ({"channels": "rgb"}, "RGB"),
        ({"size": (0, 5)}, r"1\.\.8192"),
        ({"size": (8193, 5)}, r"1\.\.8192"),
        ({"size": (2.5, 5)}, "whole numbers"),
        ({"size": (True, 5)}, "whole numbers"),
        ({"std": (0.0,)}, "must not be zero"),
        ({"scale": 0}, "must not be zero"),
        ({"scale": float("nan")}, "finite"),
        ({"scale": 10**400}, "finite"),
        ({"mean": (float("inf"),)}, "finite"),
        ({"mean": (1.0, 2.0)}, "2 values"),
        ({"mean": "0.5"}, "finite"),
        ({"crop_share": 0}, "crop_share"),
        ({"crop_share": 1.1}, "crop_share"),
        ({"fill": 256}, "fill"),
    ],
)
def test_values_out_of_range_are_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Preprocess(**kwargs)


def test_without_a_size_there_is_nothing_to_see() -> None:
    with pytest.raises(OptionError, match="bound"):
        Preprocess()(picture(9, 9))


def test_a_sliver_is_refused_before_it_is_blown_up() -> None:
    sliver = Image.new("RGB", (1, 60_000_000 // 10))
    with pytest.raises(ImageError, match="pad"):
        Preprocess(size=(224, 224)).view(sliver)


def test_other_modes_are_seen_as_rgb() -> None:
    assert Preprocess(size=(8, 8))(Image.new("LA", (9, 9), (0, 0))).max() == np.float32(1)
