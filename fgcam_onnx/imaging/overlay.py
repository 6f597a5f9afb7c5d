"""Maps as colours, alone or over the picture they explain."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fgcam_onnx.emptiness import ZERO, emptiness
from fgcam_onnx.errors import InputError, OptionError, suggest
from fgcam_onnx.imaging.reading import as_rgb
from fgcam_onnx.imaging.resampling import gaussian, resized
from fgcam_onnx.imaging.sheets import INK, font_of, line_height

COLORMAP = "turbo"
SIGNED_COLORMAP = "seismic"


def normalize(values: NDArray[Any], *, signed: bool = False, percentile: float = 100.0) -> NDArray[np.float32]:
    """Scale a map to 0..1.

    Parameters
    ----------
    values : ndarray, (h, w)
        Finite numbers.
    signed : bool
        False: negative values become 0, and the largest 1. True: 0 becomes 0.5, and the largest
        magnitude 0 or 1.
    percentile : float
        Above 0, at most 100. Below 100, the magnitude that this share of the map's non-zero values stay
        under takes the place of the largest, and what is above it is clipped.

    Returns
    -------
    ndarray of float32, (h, w)
        All 0 (signed: 0.5) where there is nothing to show.

    Raises
    ------
    InputError
        If ``values`` is not a finite (h, w) array.
    OptionError
        If ``percentile`` is out of range.
    """
    numbers = _checked(values)
    if not 0 < percentile <= 100:
        raise OptionError(f"percentile {percentile} must be above 0 and at most 100.")
    if not signed:
        numbers = np.maximum(numbers, 0)
    magnitudes = np.abs(numbers)
    shown = magnitudes[magnitudes > 0]
    if not shown.size:
        return np.full(numbers.shape, 0.5 if signed else 0.0, np.float32)
    # The plain maximum apart: interpolating a percentile may fall a rounding below it.
    top = shown.max() if percentile == 100 else np.percentile(shown, percentile)
    shares: NDArray[np.float32] = (np.clip(numbers, -top, top) / top).astype(np.float32)
    return (shares + np.float32(1)) / np.float32(2) if signed else shares


def heatmap(
    values: NDArray[Any], *, colormap: str | None = None, signed: bool = False, percentile: float = 100.0
) -> NDArray[np.uint8]:
    """Colour a map.

    Parameters
    ----------
    values : ndarray, (h, w)
        Finite numbers.
    colormap : str or None
        A matplotlib name; None: ``turbo``, or ``seismic`` for a signed map.
    signed, percentile
        As for `normalize`.

    Returns
    -------
    ndarray of uint8, (h, w, 3)

    Raises
    ------
    InputError
        As for `normalize`.
    OptionError
        If the colormap is not known, or ``percentile`` is out of range.
    """
    table = _table(colormap or (SIGNED_COLORMAP if signed else COLORMAP))
    return table[_steps(normalize(values, signed=signed, percentile=percentile))]


def overlay(
    image: Image.Image,
    values: NDArray[Any],
    *,
    colormap: str | None = None,
    alpha: float = 0.5,
    signed: bool = False,
    percentile: float = 99.5,
    smooth: float | None = None,
    gamma: float | None = None,
) -> Image.Image:
    """Lay a map over its picture: clear where the map is near zero, so that the object stays visible.

    The picture is dimmed towards grey by ``alpha`` so that colours are the map's alone. Where the map shows nothing,
    words at the foot of the picture say so, if they fit.

    Parameters
    ----------
    image : PIL.Image.Image
        What the model saw (`Preprocess.view`), any mode.
    values : ndarray, (h, w)
        The map over the whole picture, at any size; brought to the picture's bilinearly.
    colormap : str or None
        As for `heatmap`.
    alpha : float
        0..1: from the picture alone to the strongest map.
    signed, percentile
        As for `normalize`, after the map is resized and smoothed.
    smooth : float or None
        Standard deviation of a Gaussian in pixels of the picture; 0 for none. None: 1/224 of the
        picture's shorter side for a fine map (more than half the picture's size), 0 for a coarse one.
    gamma : float or None
        Power the shares are raised to, above 0. None: 0.5 for a fine map, whose points are few and
        high, 1 for a coarse one.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, the picture's size.

    Raises
    ------
    InputError
        As for `normalize`.
    OptionError
        If the colormap is not known, or a number is out of range.
    """
    if not (0 <= alpha <= 1 and (smooth is None or 0 <= smooth <= 1000) and (gamma is None or gamma > 0)):
        raise OptionError(f"alpha {alpha} must be in 0..1, smooth {smooth} in 0..1000 and gamma {gamma} above 0.")
    picture = as_rgb(image)
    table = _table(colormap or (SIGNED_COLORMAP if signed else COLORMAP))
    numbers = _checked(values)
    fine = 2 * numbers.shape[0] > picture.height and 2 * numbers.shape[1] > picture.width
    if smooth is None:
        smooth = min(picture.size) / 224 if fine else 0.0
    if gamma is None:
        gamma = 0.5 if fine else 1.0
    spread = gaussian(resized(numbers, size=(picture.height, picture.width)), sigma=smooth)
    shares = normalize(spread, signed=signed, percentile=percentile)
    ways = 2 * shares - 1 if signed else shares
    strength = np.abs(ways) ** np.float32(gamma)
    steps = _steps((np.copysign(strength, ways) + 1) / 2 if signed else strength)
    opacity = (1 - (1 - alpha) ** 2) * np.minimum(1, 1.25 * np.sqrt(strength))[:, :, None]
    grey = np.asarray(picture.convert("L"), np.float32)[:, :, None]
    ground = (1 - alpha) * np.asarray(picture, np.float32) + alpha * 0.6 * grey
    mixed = (1 - opacity) * ground + opacity * table[steps]
    laid = Image.fromarray(np.rint(mixed).astype(np.uint8))
    said = emptiness(numbers)
    return _captioned(laid, f"map: {said}") if said == ZERO or (said and not signed) else laid


def _captioned(image: Image.Image, text: str) -> Image.Image:
    """Write ``text`` into a band at the foot of a picture; a picture that is too small for it stays as it is."""
    font = font_of(max(10, min(image.size) // 14), plain=True)
    line, pad = line_height(font), font.size / 2
    if font.getlength(text) + 2 * pad > image.width or 3 * line > image.height:
        return image
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, image.height - line, image.width, image.height), fill="white")
    pen.text((pad, image.height - line + line // 8), text, INK, font)
    return image


def _steps(shares: NDArray[Any]) -> NDArray[np.uint8]:
    steps: NDArray[np.uint8] = np.rint(shares * 255).astype(np.uint8)
    return steps


def _checked(values: NDArray[Any]) -> NDArray[np.float64]:
    array = np.asarray(values)
    if array.ndim != 2 or not array.size or array.dtype.kind not in "fiub":
        raise InputError(
            f"A map must be an array of numbers (height, width), not {array.dtype} {array.shape}. "
            "Take one map out of the batch, and sum over channels."
        )
    numbers = array.astype(np.float64)
    bad = int(np.count_nonzero(~np.isfinite(numbers)))
    if bad:
        raise InputError(f"The map of shape {array.shape} holds {bad} NaN or infinite values.")
    return numbers


@functools.lru_cache(maxsize=8)
def _table(name: str) -> NDArray[np.uint8]:
    import matplotlib

    if name not in matplotlib.colormaps:
        raise OptionError(
            f"Colormap {name!r} is not known.{suggest(name, matplotlib.colormaps)} "
            "Any name of matplotlib's does, such as turbo, inferno, viridis or seismic."
        )
    table = matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3]
    result: NDArray[np.uint8] = np.ascontiguousarray(table)
    result.flags.writeable = False
    return result
