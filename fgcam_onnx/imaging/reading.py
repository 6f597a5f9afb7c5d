"""Pictures from files: always 8-bit RGB, upright, and never larger than allowed."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fgcam_onnx.errors import FgcamError, ImageError

# Named, because Pillow's whole list holds formats that start other programs (EPS runs Ghostscript).
_FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "WEBP", "AVIF", "TIFF", "JPEG2000", "PPM", "TGA")


def read_image(path: str | Path, *, max_pixels: int = 100_000_000) -> Image.Image:
    """Read a picture file as an upright 8-bit RGB picture.

    The EXIF orientation is applied, transparency is laid on white, the first frame of an animation
    is taken, and 16-bit grey is scaled (not clipped) to 8 bit. Colour profiles are not applied.

    Parameters
    ----------
    path : str or Path
        A JPEG, PNG, BMP, GIF, WebP, AVIF, TIFF, JPEG 2000, PNM or TGA file.
    max_pixels : int
        Width times height above which the file is refused, before it is decoded. Pillow's own limit
        (``2 * PIL.Image.MAX_IMAGE_PIXELS``) holds besides.

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
    # Pillow warns about size, damaged metadata and palettes; each is either an error below or harmless.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(where, formats=_known_formats()) as image:
                _check_size(image, where=where, max_pixels=max_pixels)
                image.load()
                return as_rgb(_upright(image), name=str(where))
        except FgcamError:
            raise
        except UnidentifiedImageError:
            raise ImageError(
                f"{where}: not a picture that can be read. Use a JPEG, PNG, WebP, BMP, GIF or TIFF file."
            ) from None
        except Image.DecompressionBombError:
            raise ImageError(f"{where}: the picture is too large. Scale it down first.") from None
        except PermissionError as error:
            raise ImageError(f"{where}: cannot be opened ({error.strerror}). Check its permissions.") from error
        except Exception as error:  # Decoders raise anything from struct.error to KeyError on damaged files.
            raise ImageError(
                f"{where}: the picture is damaged or cut short ({error}). Copy or export it again."
            ) from error


def as_rgb(image: Image.Image, *, name: str = "the picture") -> Image.Image:
    """Return a picture of any mode as a new 8-bit RGB picture, transparency laid on white.

    Parameters
    ----------
    image : PIL.Image.Image
        Any mode. 16-bit grey (``I;16`` and ``I`` in 0..65535) is divided by 257. Float grey (``F``) is
        read as 0..1 where it fits that range, else as 0..255, else as 0..65535.
    name : str
        What to call the picture in an error.

    Returns
    -------
    PIL.Image.Image
        Mode ``RGB``, the same size.

    Raises
    ------
    ImageError
        If grey values are outside those ranges or not finite, or the mode cannot be converted.
    """
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_grey_to_8bit(image, name=name))
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
    if where.is_dir():
        return f"{where}: a folder, not a picture. Name a file in it."
    if os.path.lexists(where):
        return f"{where}: not a regular file, or a link that leads nowhere."
    return f"{where}: no such file. Check the spelling and the folder."


def _check_size(image: Image.Image, *, where: Path, max_pixels: int) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise ImageError(f"{where}: the picture has no pixels ({width} x {height}).")
    if width * height > max_pixels:
        raise ImageError(
            f"{where}: {width} x {height} pixels is more than the {max_pixels} allowed. Scale it down first."
        )


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # A damaged EXIF block says nothing about the pixels, which have been read by now.
        return image


def _grey_to_8bit(image: Image.Image, *, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    values = np.asarray(image).astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 65535):
        raise ImageError(
            f"{name}: grey values from {low:g} to {high:g} have no known range (0 to 65535 at most). "
            "Convert it to 8 bit first."
        )
    if image.mode != "F" or high > 255:
        values /= 257
    elif high <= 1:
        values *= 255
    return np.rint(values).astype(np.uint8)
