"""Grey of more than 8 bits: what white is, said by the file, by the caller, or guessed aloud."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fgcam_onnx.errors import ImageError
from fgcam_onnx.imaging import Preprocess, read_image
from fgcam_onnx.imaging.reading import GreyGuessWarning, decode_image

RAMP = np.linspace(0, 1, 64)


def ramp(white: int, dtype: str) -> np.ndarray:
    """Return 64 x 64 of grey that rises from 0 to ``white``."""
    return np.tile(np.rint(RAMP * white), (64, 1)).astype(dtype)


def grey_of(path: Path, **options: int) -> np.ndarray:
    return np.asarray(read_image(path, **options))[0, :, 0] / 255


def with_significant_bits(path: Path, bits: int) -> None:
    """Put an sBIT chunk behind the header of a PNG, as its specification has it."""
    data = path.read_bytes()
    body = b"sBIT" + bytes([bits])
    chunk = struct.pack(">I", 1) + body + struct.pack(">I", zlib.crc32(body))
    path.write_bytes(data[:33] + chunk + data[33:])


@pytest.mark.parametrize(
    ("white", "dtype", "file"),
    [(255, "int32", "a.tif"), (4095, "uint16", "a.png"), (1023, "uint16", "a.tif"), (16383, "uint16", "a.png")],
)
def test_deep_grey_of_few_bits_is_scaled_by_its_values_and_the_guess_is_said(
    tmp_path: Path, white: int, dtype: str, file: str
) -> None:
    Image.fromarray(ramp(white, dtype)).save(tmp_path / file)
    with pytest.warns(GreyGuessWarning, match=f"0 to {white}, a guess.*--white"):
        seen = grey_of(tmp_path / file)
    np.testing.assert_allclose(seen, RAMP, rtol=0, atol=0.5 / 255 + 0.5 / white)


def test_grey_of_all_sixteen_bits_is_no_guess(tmp_path: Path) -> None:
    Image.fromarray(ramp(65535, "uint16")).save(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(grey_of(tmp_path / "a.png"), RAMP, rtol=0, atol=0.5 / 255 + 1e-5)


def test_a_caller_says_that_a_picture_is_only_dark(tmp_path: Path) -> None:
    Image.fromarray(ramp(4095, "uint16")).save(tmp_path / "dark.png")
    dark = grey_of(tmp_path / "dark.png", white=65535)
    np.testing.assert_allclose(dark, RAMP / 16, rtol=0, atol=0.6 / 255)
    preprocess = Preprocess(size=(64, 64), white=65535)
    with Image.open(tmp_path / "dark.png") as opened:
        np.testing.assert_allclose(preprocess(opened)[0, 0, 0], RAMP / 16, rtol=0, atol=0.6 / 255)


@pytest.mark.parametrize(("bits", "share"), [(12, 1.0), (16, 1 / 16)])
def test_a_png_that_tells_its_bits_is_taken_at_its_word(tmp_path: Path, bits: int, share: float) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(ramp(4095, "uint16")).save(path)
    with_significant_bits(path, bits)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(grey_of(path), RAMP * share, rtol=0, atol=0.6 / 255)


def test_a_tiff_that_tells_its_largest_sample_is_taken_at_its_word(tmp_path: Path) -> None:
    Image.fromarray(ramp(1000, "uint16")).save(tmp_path / "a.tif", tiffinfo={281: 1000})
    np.testing.assert_allclose(grey_of(tmp_path / "a.tif"), RAMP, rtol=0, atol=0.6 / 255)


def test_grey_above_white_is_refused(tmp_path: Path) -> None:
    Image.fromarray(ramp(4095, "uint16")).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"0 to 1023 at most.*--white"):
        read_image(tmp_path / "a.png", white=1023)


def test_white_does_not_touch_pictures_of_eight_bits(tmp_path: Path) -> None:
    Image.fromarray(ramp(255, "uint8")).save(tmp_path / "a.png")
    np.testing.assert_array_equal(grey_of(tmp_path / "a.png", white=4095), grey_of(tmp_path / "a.png"))


def test_bytes_are_read_as_their_file_is_but_nothing_is_guessed(tmp_path: Path) -> None:
    for white, name in ((65535, "a.png"), (4095, "b.png")):
        Image.fromarray(ramp(white, "uint16")).save(tmp_path / name)
    data = {name: (tmp_path / name).read_bytes() for name in ("a.png", "b.png")}
    assert decode_image(data["a.png"], name="a") == read_image(tmp_path / "a.png")
    assert decode_image(data["b.png"], name="b", white=4095) == read_image(tmp_path / "b.png", white=4095)
    with pytest.raises(ImageError, match=r"b: grey up to 4095 .* would be read as 0 to 4095, a guess"):
        decode_image(data["b.png"], name="b")
    with pytest.raises(ImageError, match="c: the picture is damaged or cut short"):
        decode_image(data["a.png"][:90], name="c")
