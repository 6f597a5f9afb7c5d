"""Pictures from files: always 8-bit RGB, upright, and never larger than allowed."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fgcam_onnx.errors import FgcamError, ImageError

# Named, because Pillow's whole list holds formats that start other programs (EPS runs Ghostscript).
_FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "WEBP", "AVIF", "TIFF", "JPEG2000", "PPM", "TGA")


MOST_PIXELS = 64_000_000
"""Pixels of a picture, by default: 512 MB while it is read."""

_TIFF_MAX_SAMPLE, _TIFF_BITS = 281, 258
_WHITES = (255, 1023, 4095, 16383, 65535)
"""What white is in grey of 8, 10, 12, 14 and 16 bits."""


def read_image(path: str | Path, *, max_pixels: int = MOST_PIXELS, white: int | None = None) -> Image.Image:
    """Read a picture file as an upright 8-bit RGB picture.

    The EXIF orientation is applied, transparency is laid on white, the first frame of an animation
    is taken, and deeper grey is scaled (not clipped) to 8 bit: see `as_rgb`. Colour profiles are not applied.

    Parameters
    ----------
    path : str or Path
        A JPEG, PNG, BMP, GIF, WebP, AVIF, TIFF, JPEG 2000, PNM or TGA file.
    max_pixels : int
        Width times height above which a JPEG is decoded at a half, a quarter or an eighth of its size, and any other
        file refused, before it is decoded: while it is read a pixel takes 8 bytes, 512 MB in all. Pillow's own limit
        (``2 * PIL.Image.MAX_IMAGE_PIXELS``) holds besides.
    white : int or None
        As for `as_rgb`; None: what the file says (PNG's sBIT, TIFF's bits and largest sample).

    Returns
    -------
    PIL.Image.Image
        Mode ``RGB``, with an empty ``info`` and no open file behind it.

    Raises
    ------
    ImageError
        If the file is missing, unreadable, damaged, not a picture, or too large.
    """
    where = Path(path)
    if not os.path.isfile(where):
        raise ImageError(_missing(where))
    try:
        with open(where, "rb") as file:
            return _decoded(file, str(where), max_pixels=max_pixels, white=white, guess=True)
    except PermissionError as error:
        raise ImageError(f"{where}: cannot be opened ({error.strerror}). Check its permissions.") from error


def decode_image(data: bytes, *, name: str, max_pixels: int = MOST_PIXELS, white: int | None = None) -> Image.Image:
    """Read the bytes of a picture file as `read_image` does, called ``name`` in errors; nothing is guessed.

    Raises
    ------
    ImageError
        As for `read_image`, and where what white is in deep grey would be a guess.
    """
    return _decoded(io.BytesIO(data), name, max_pixels=max_pixels, white=white, guess=False)


def _decoded(file: BinaryIO, name: str, *, max_pixels: int, white: int | None, guess: bool) -> Image.Image:
    # Pillow warns about size, damaged metadata and palettes; each is either an error below or harmless.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=_known_formats()) as image:
                _drafted(image, max_pixels=max_pixels)
                _check_size(image, name=name, max_pixels=max_pixels)
                image.load()
                upright = _upright(image)
                said = _white_said(image, file) if _is_deep(image) else None
                if not _is_deep(image):
                    return as_rgb(upright, name=name)
        return as_rgb(upright, name=name, white=white or said, guess=guess)
    except FgcamError:
        raise
    except UnidentifiedImageError:
        raise ImageError(
            f"{name}: not a picture that can be read. Use a JPEG, PNG, WebP, BMP, GIF or TIFF file."
        ) from None
    except Image.DecompressionBombError:
        raise ImageError(f"{name}: the picture is too large. Scale it down first.") from None
    except GreyGuessWarning:
        raise
    except Exception as error:  # Decoders raise anything from struct.error to KeyError on damaged files.
        raise damaged(name, error) from error


def damaged(name: str, error: Exception) -> ImageError:
    """Return the error of a picture that a decoder stumbles over."""
    return ImageError(f"{name}: the picture is damaged or cut short ({error}). Copy or export it again.")


class GreyGuessWarning(UserWarning):
    """What white is in a picture of deep grey was guessed from its values."""


def as_rgb(
    image: Image.Image, *, name: str = "the picture", white: int | None = None, guess: bool = True
) -> Image.Image:
    """Return a picture of any mode as a new 8-bit RGB picture, transparency laid on white.

    Parameters
    ----------
    image : PIL.Image.Image
        Any mode. Grey of more than 8 bits (``I;16``, ``I``, ``F``) is scaled so that ``white`` becomes 255.
    name : str
        What to call the picture in an error.
    white : int or None
        The grey that is white, at least 1; of no effect on pictures of 8 bits. None: the smallest of 255, 1023, 4095,
        16383 and 65535 that no value is above (for ``F`` also 1), with a `GreyGuessWarning` where the mode
        leaves room for another: a dark picture of 16 bits looks like one of 12.
    guess : bool
        Whether that guess is made, or refused.

    Returns
    -------
    PIL.Image.Image
        Mode ``RGB``, the same size.

    Raises
    ------
    ImageError
        If grey values are outside those ranges or not finite, or the mode cannot be converted.
    """
    if _is_deep(image):
        image = Image.fromarray(_grey_to_8bit(image, name=name, white=white, guess=guess))
    try:
        result = _on_white(image) if image.has_transparency_data else image.convert("RGB")
    except ValueError as error:
        raise ImageError(
            f"{name}: the colour mode {image.mode!r} cannot be read ({error}). Export it as RGB."
        ) from error
    result.info = {}
    return result


def _on_white(image: Image.Image) -> Image.Image:
    front = image.convert("RGBA")
    white = Image.new("RGBA", front.size, "white")
    return Image.alpha_composite(white, front).convert("RGB")


def _known_formats() -> list[str]:
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _missing(where: Path) -> str:
    if os.path.isdir(where):
        return f"{where}: a folder, not a picture. Name a file in it."
    if os.path.lexists(where):
        return f"{where}: not a regular file, or a link that leads nowhere."
    return f"{where}: no such file. Check the spelling and the folder."


def _drafted(image: Image.Image, *, max_pixels: int) -> None:
    """Let a JPEG that is too large be decoded at a smaller size."""
    width, height = image.size
    if image.format == "JPEG" and width * height > max_pixels:
        share = next((s for s in (2, 4) if width * height <= max_pixels * s * s), 8)
        image.draft("RGB", (width // share, height // share))


def _check_size(image: Image.Image, *, name: str, max_pixels: int) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise ImageError(f"{name}: the picture has no pixels ({width} x {height}).")
    if width * height > max_pixels:
        raise ImageError(
            f"{name}: {width} x {height} pixels is more than the {max_pixels} allowed "
            f"({8 * max_pixels / 1e6:.0f} MB while it is read). Scale it down first."
        )


def _upright(image: Image.Image) -> Image.Image:
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # A damaged EXIF block says nothing about the pixels, which have been read by now.
        return image
    return image


def _is_deep(image: Image.Image) -> bool:
    return image.mode.startswith("I") or image.mode == "F"


def _white_said(image: Image.Image, file: BinaryIO) -> int | None:
    """Return what the file says white is, if it does."""
    if image.format == "PNG":
        bits = _significant_bits(file)
        return 2**bits - 1 if bits else None
    tags = getattr(image, "tag_v2", {})
    largest, bits = tags.get(_TIFF_MAX_SAMPLE), tags.get(_TIFF_BITS)
    for value in (largest, bits):
        if isinstance(value, tuple) and value:
            value = value[0]
        if isinstance(value, int) and value > 0:
            white = value if largest is not None else 2**value - 1
            return white if white <= _WHITES[-1] and (largest is not None or value not in (16, 32)) else None
    return None


def _significant_bits(file: BinaryIO) -> int | None:
    """Return what the sBIT chunk of a grey PNG says, which Pillow passes over."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind == b"sBIT" and length:
            return file.read(1)[0] or None
        if kind in (b"IDAT", b"IEND"):
            return None
        file.seek(length + 4, os.SEEK_CUR)
    return None


def _grey_to_8bit(
    image: Image.Image, *, name: str, white: int | None, guess: bool
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    values = np.asarray(image).astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= (white or _WHITES[-1])):
        raise ImageError(
            f"{name}: grey values from {low:g} to {high:g} have no known range (0 to {white or _WHITES[-1]} at most). "
            "Say what white is (--white), or convert it to 8 bit first."
        )
    if white is None:
        white = 1 if image.mode == "F" and high <= 1 else next(each for each in _WHITES if high <= each)
        usual = (1, 255, _WHITES[-1]) if image.mode == "F" else (_WHITES[-1],)
        if high and white not in usual:
            said = f"{name}: grey up to {high:g} of {image.mode} is read as 0 to {white}, a guess; say --white "
            if not guess:
                raise ImageError(said.replace(" is read", " would be read") + f"{white} or {_WHITES[-1]}")
            warnings.warn(f"{said}{_WHITES[-1]} (white=) if it is only dark", GreyGuessWarning, stacklevel=4)
    return np.rint(values * (255 / white)).astype(np.uint8)
