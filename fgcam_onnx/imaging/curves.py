"""Maps of one axis: a signal's curves in the colours of its map, and numbers as bars."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fgcam_onnx.imaging.overlay import colors_of
from fgcam_onnx.imaging.shading import Shades
from fgcam_onnx.imaging.sheets import FRAME, INK, font_of, line_height

WIDE, MARGIN, LETTERS = 960, 12, 13
TALL, LOW = 180, 72
"""Pixels of a curve's height: of one alone, and at least."""
MOST_CURVES = 12
"""Channels that are drawn; those beyond are not, and the picture says so."""
WASH = 0.35
"""How much of a colour lies behind the curves."""


def curves(values: NDArray[Any], shades: Shades, *, colormap: str | None = None) -> Image.Image:
    """Return the curves of a signal (C, L), a row for each channel, in the colours of the map over a wash of them.

    Where there are more positions than pixels, a column shows the least and largest value of its positions, and the
    map's share of the largest magnitude there.
    """
    shown = np.asarray(values[:MOST_CURVES], np.float64)
    count, length = shown.shape
    tall = max(LOW, TALL // max(1, count) + LOW // 2) if count > 1 else TALL
    font = font_of(LETTERS, plain=True)
    line = line_height(font)
    inner, more = WIDE - 2 * MARGIN, len(values) > MOST_CURVES
    sheet = Image.new("RGB", (WIDE, MARGIN + count * (tall + MARGIN // 2) + line * (1 + more) + MARGIN // 2), "white")
    pen = ImageDraw.Draw(sheet)
    columns = _columns(shades.shares, inner)
    table = colors_of(colormap, signed=shades.signed)
    colours, strength = table[shades.steps(columns)].astype(np.float32), shades.strength(columns)[:, None]
    wash = np.rint(255 - WASH * np.minimum(1, strength * 1.25) * (255 - colours)).astype(np.uint8)
    ink = np.rint(strength * colours + (1 - strength) * np.asarray(INK, np.float32)).astype(np.uint8)
    for c, curve in enumerate(shown):
        top = MARGIN + c * (tall + MARGIN // 2)
        sheet.paste(Image.fromarray(np.repeat(wash[None], tall, axis=0)), (MARGIN, top))
        pen.rectangle((MARGIN - 1, top - 1, MARGIN + inner, top + tall), outline=FRAME)
        low, high = float(curve.min()), float(curve.max())
        x, y = _path(curve, inner, top + 4, tall - 8, low, high)
        for i in range(len(x) - 1):
            column = min(inner - 1, round((x[i] + x[i + 1]) / 2))
            pen.line((MARGIN + x[i], y[i], MARGIN + x[i + 1], y[i + 1]), tuple(ink[column].tolist()), 2)
        if count == 1:
            pen.text((MARGIN + 3, top + 1), f"{high:.3g}", INK, font)
            pen.text((MARGIN + 3, top + tall - line), f"{low:.3g}", INK, font)
    y = MARGIN + count * (tall + MARGIN // 2)
    last = str(length - 1)
    pen.text((MARGIN, y), "0", INK, font)
    pen.text((WIDE - MARGIN - font.getlength(last), y), last, INK, font)
    if more:
        pen.text((MARGIN, y + line), f"{len(values) - MOST_CURVES} more channels are not drawn", INK, font)
    return sheet


def _columns(shares: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Return the share of each of ``width`` columns: that of largest magnitude where several positions fall into it."""
    edges = np.linspace(0, len(shares), width + 1)
    starts = np.minimum(edges[:-1].astype(int), len(shares) - 1)
    ends = np.maximum(np.ceil(edges[1:]).astype(int), starts + 1)
    if len(shares) <= width:
        return np.asarray(shares[starts], np.float32)
    parts = [shares[a:b] for a, b in zip(starts, ends, strict=True)]
    return np.asarray([part[np.abs(part).argmax()] for part in parts], np.float32)


def _path(
    curve: NDArray[np.float64], width: int, top: int, tall: int, low: float, high: float
) -> tuple[list[float], list[float]]:
    """Return the points of a curve in pixels; of many positions two for each column, its least and largest value."""
    length = len(curve)
    scale = tall / ((high - low) or 1.0)
    if length <= 2 * width:
        x = (np.arange(length) + 0.5) * width / length
        return x.tolist(), (top + (high - curve) * scale).tolist()
    parts = np.array_split(curve, width)
    ends = np.asarray([(part.min(), part.max())[:: 1 if i % 2 else -1] for i, part in enumerate(parts)])
    x = np.repeat(np.arange(width) + 0.5, 2)
    return x.tolist(), (top + (high - ends.ravel()) * scale).tolist()


def bars(values: NDArray[Any], shades: Shades, *, colormap: str | None = None) -> Image.Image:
    """Return a bar for each number of a row (1, K): its share of the map, its index and its value."""
    font = font_of(LETTERS, plain=True)
    line = line_height(font) + 2
    told = [f"{i}   {v:.4g}" for i, v in enumerate(values[0])]
    left = round(max(font.getlength(text) for text in told)) + 2 * MARGIN
    count = len(told)
    sheet = Image.new("RGB", (WIDE, 2 * MARGIN + count * line), "white")
    pen, table = ImageDraw.Draw(sheet), colors_of(colormap, signed=shades.signed)
    colours, room = table[shades.steps(shades.shares)], WIDE - left - MARGIN
    zero = left + (room / 2 if shades.signed else 0)
    reach = room / 2 if shades.signed else room
    for i, (text, share) in enumerate(zip(told, shades.shares.tolist(), strict=True)):
        y = MARGIN + i * line
        pen.text((MARGIN, y), text, INK, font)
        colour = tuple(colours[i].tolist())
        ends = sorted((zero, zero + share * reach))
        pen.rectangle((ends[0], y + 2, max(ends[1], ends[0] + 1), y + line - 3), fill=colour)
    pen.line((zero, MARGIN, zero, MARGIN + count * line), FRAME)
    return sheet
