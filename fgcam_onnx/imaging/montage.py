"""Maps of three axes: slices or frames side by side, and what is seen through all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fgcam_onnx.imaging.overlay import laid
from fgcam_onnx.imaging.shading import Shades
from fgcam_onnx.imaging.sheets import FRAME, INK, font_of, line_height

SHOWN = 16
"""Slices on a montage, spread evenly over all."""
TILE, GAP, LETTERS = 176, 6, 12


def chosen(count: int) -> list[int]:
    """Return which of ``count`` slices are shown."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, SHOWN))})


def montage(slices: Sequence[Image.Image], *, below: Sequence[tuple[str, Image.Image]] = ()) -> Image.Image:
    """Return slices in rows, each with its number, and other pictures with their words below."""
    tiles = [(str(i), slices[i]) for i in chosen(len(slices))]
    columns = math.ceil(math.sqrt(len(tiles) * 1.6))
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)] + ([list(below)] if below else [])
    font = font_of(LETTERS, plain=True)
    line = line_height(font)
    sizes = [[_fitted(picture.size) for _, picture in row] for row in rows]
    wide = max(sum(w + GAP for w, _ in row) for row in sizes) + GAP
    talls = [max(h for _, h in row) + line + GAP for row in sizes]
    sheet = Image.new("RGB", (wide, sum(talls) + GAP), "white")
    pen, y = ImageDraw.Draw(sheet), GAP
    for row, size, tall in zip(rows, sizes, talls, strict=True):
        x = GAP
        for (text, picture), (w, h) in zip(row, size, strict=True):
            sheet.paste(picture.convert("RGB").resize((w, h), Image.Resampling.BILINEAR), (x, y))
            pen.rectangle((x - 1, y - 1, x + w, y + h), outline=FRAME)
            pen.text((x + 2, y + h + 1), text, INK, font)
            x += w + GAP
        y += tall
    return sheet


def _fitted(size: tuple[int, int]) -> tuple[int, int]:
    share = TILE / max(size)
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))


def cut_through(
    pictures: NDArray[np.uint8], shades: Shades, *, colormap: str | None = None, alpha: float = 0.5
) -> list[tuple[str, Image.Image]]:
    """Return a volume seen along each of its axes: the mean of the values, the map's share of largest magnitude."""
    found = []
    for axis in range(3):
        ground = Image.fromarray(np.rint(pictures.mean(axis=axis)).astype(np.uint8))
        at = np.expand_dims(np.abs(shades.shares).argmax(axis=axis), axis)
        most = np.take_along_axis(shades.shares, at, axis).squeeze(axis)
        seen = Shades(
            np.ascontiguousarray(most), shades.top, shades.least, shades.most, shades.gamma, shades.signed,
            shades.relative,
        )  # fmt: skip
        found.append((f"along axis {axis}", laid(ground, seen, colormap=colormap, alpha=alpha)))
    return found
