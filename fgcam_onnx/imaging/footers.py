"""What is written below a picture: its colour scale, and what to know of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from fgcam_onnx.imaging.overlay import colors_of
from fgcam_onnx.imaging.shading import Shades
from fgcam_onnx.imaging.sheets import INK, Font, font_of, line_height

NARROWEST = 160
"""Pixels that a footer needs for its numbers; a smaller picture gets white beside it."""


def footed(
    image: Image.Image, *, scale: Shades | None = None, colormap: str | None = None, notes: Sequence[str] = ()
) -> Image.Image:
    """Return a picture with a colour scale and notes below it.

    Parameters
    ----------
    image : PIL.Image.Image
        Mode RGB.
    scale : Shades or None
        What was drawn: the bar goes from 0 (signed: -top; relative: the least value) to ``top``, linear in the map's
        values, and the raw map's range stands below. None: no bar.
    colormap : str or None
        What it was drawn with.
    notes : sequence of str
        A line each, wrapped.

    Returns
    -------
    PIL.Image.Image
        The picture in its upper left corner, at least 160 pixels wide; as it was where there is nothing to write.
    """
    told = list(notes)
    if scale is None and not told:
        return image
    width = max(image.width, NARROWEST)
    font = font_of(max(11, min(16, width // 32)), plain=all(note.isascii() for note in told))
    gap, line = font.size // 2, line_height(font)
    lines = [part for note in told for part in wrapped(note, width=width - 2 * gap, font=font)]
    bar = 0 if scale is None else int(font.size)
    numbers = [] if scale is None else _numbers(scale)
    height = image.height + gap + (bar + gap // 2 if bar else 0) + line * (len(numbers) + len(lines)) + gap // 2
    sheet = Image.new("RGB", (width, round(height)), "white")
    sheet.paste(image)
    pen, y = ImageDraw.Draw(sheet), image.height + gap
    if scale is not None:
        strip = colors_of(colormap, signed=scale.signed)[scale.steps(_axis(scale, round(width - 2 * gap)))]
        sheet.paste(Image.fromarray(np.repeat(strip[None], bar, axis=0)), (round(gap), round(y)))
        y += bar + gap // 2
    for left, right in numbers:
        pen.text((gap, y), left, INK, font)
        pen.text((width - gap - font.getlength(right), y), right, INK, font)
        y += line
    for text in lines:
        pen.text((gap, y), text, INK, font)
        y += line
    return sheet


def wrapped(text: str, *, width: float, font: Font) -> list[str]:
    """Break a text at its spaces into lines of at most ``width`` pixels."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _axis(scale: Shades, length: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.linspace(-1 if scale.signed else 0, 1, max(2, length), dtype=np.float32)


def _numbers(scale: Shades) -> list[tuple[str, str]]:
    whole = f"map {scale.least:.3g} to {scale.most:.3g}"
    if scale.top == 0:
        return [(whole, "")]
    low, high = scale.range
    return [(f"{low:.3g}", f"{high:.3g}"), (whole, "")]
