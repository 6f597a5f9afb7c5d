"""Maps as colours, alone or over the picture they explain."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fgcam_onnx.errors import InputError, OptionError, suggest
from fgcam_onnx.imaging.placing import Placement
from fgcam_onnx.imaging.reading import as_rgb
from fgcam_onnx.imaging.shading import Shades, checked, scaled, shaded
from fgcam_onnx.imaging.sheets import INK, font_of, line_height

COLORMAP = "turbo"
SIGNED_COLORMAP = "seismic"
SEEN, UNSEEN, LINE = 0.6, 0.25, 200.0
"""How bright the grey is under a map, and where the model saw nothing; the brightness of the line between."""


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
    shares, _ = scaled(checked(values), signed=signed, percentile=percentile)
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
    shares = normalize(values, signed=signed, percentile=percentile)
    return colors_of(colormap, signed=signed)[np.rint(shares * 255).astype(np.uint8)]


def colors_of(colormap: str | None, *, signed: bool = False) -> NDArray[np.uint8]:
    """Return the 256 colours of a colormap, of shape (256, 3); ``colormap`` as for `heatmap`."""
    return _table(colormap or (SIGNED_COLORMAP if signed else COLORMAP))


def coloured(shades: Shades, *, colormap: str | None = None) -> Image.Image:
    """Return a shaded map alone as a picture of its own size; ``colormap`` as for `heatmap`."""
    return Image.fromarray(colors_of(colormap, signed=shades.signed)[shades.steps(shades.shares)])


def overlay(
    image: Image.Image,
    values: NDArray[Any] | Shades,
    *,
    placement: Placement | None = None,
    colormap: str | None = None,
    alpha: float = 0.5,
    **shading: Any,
) -> Image.Image:
    """Lay a map over its picture: clear where the map is near zero, so that the object stays visible.

    The picture is dimmed towards grey by ``alpha`` so that colours are the map's alone; what the model did not see
    of it is darker, beyond a thin line. Where the map shows nothing, words at the foot of the picture say so, if they
    fit.

    Parameters
    ----------
    image : PIL.Image.Image
        Any mode.
    values : ndarray, (h, w), or Shades
        The map over what the model saw, at any size, or what `shaded` made of it.
    placement : Placement or None
        Where in ``image`` lies what the model saw (`Preprocess.placement`). None: ``image`` is that
        (`Preprocess.view`).
    colormap : str or None
        As for `heatmap`.
    alpha : float
        0..1: from the picture alone to the strongest map.
    **shading
        Of `shading.shaded`: ``signed``, ``percentile``, ``smooth``, ``gamma``, ``relative``.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, the picture's size.

    Raises
    ------
    InputError
        If ``values`` is not a finite (h, w) array, or ``image`` not of the placement's size.
    OptionError
        If the colormap is not known, or a number is out of range.
    """
    view = placement.view if placement is not None else (image.height, image.width)
    shades = values if isinstance(values, Shades) else shaded(values, view=view, **shading)
    over = laid(image, shades, placement=placement, colormap=colormap, alpha=alpha)
    return _captioned(over, f"map: {shades.note}") if shades.note and alpha else over


def laid(
    image: Image.Image,
    shades: Shades,
    *,
    placement: Placement | None = None,
    colormap: str | None = None,
    alpha: float = 0.5,
) -> Image.Image:
    """Return what `overlay` does, without words on it.

    Raises
    ------
    InputError, OptionError
        As for `overlay`.
    """
    if not 0 <= alpha <= 1:
        raise OptionError(f"alpha {alpha} must be in 0..1.")
    picture = as_rgb(image)
    size = (picture.height, picture.width)
    placed = placement or Placement.whole(size)
    if placed.picture != size:
        height, width = placed.picture
        raise InputError(f"the picture is {size[1]} x {size[0]}, but a placement in one of {width} x {height} is given")
    table = colors_of(colormap, signed=shades.signed)
    shares = placed.widened(shades.shares)
    strength = shades.strength(shares)[:, :, None]
    opacity = np.float32(1 - (1 - alpha) ** 2) * np.minimum(1, 1.25 * np.sqrt(strength))
    mixed = (1 - opacity) * _ground(picture, placed, alpha=alpha) + opacity * table[shades.steps(shares)]
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


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


def _ground(picture: Image.Image, placed: Placement, *, alpha: float) -> NDArray[np.float32]:
    """Return the picture dimmed, more where the model did not see it."""
    grey = np.asarray(picture.convert("L"), np.float32)[:, :, None]
    ground: NDArray[np.float32] = (1 - alpha) * np.asarray(picture, np.float32) + alpha * np.float32(SEEN) * grey
    x0, y0, x1, y1 = placed.seen
    if (x0, y0, x1, y1) == (0, 0, picture.width, picture.height):
        return ground
    dim = (1 - alpha) * np.asarray(picture, np.float32) * np.float32(1 - alpha) + alpha * np.float32(UNSEEN) * grey
    thick = max(1, round(max(picture.size) / 500))
    dim[max(0, y0 - thick) : y1 + thick, max(0, x0 - thick) : x1 + thick] *= np.float32(1 - alpha)
    dim[max(0, y0 - thick) : y1 + thick, max(0, x0 - thick) : x1 + thick] += np.float32(alpha * LINE)
    dim[y0:y1, x0:x1] = ground[y0:y1, x0:x1]
    return dim


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
