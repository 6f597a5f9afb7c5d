"""Pictures in labelled rows and columns."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from fgcam_onnx.errors import OptionError
from fgcam_onnx.imaging.sheets import FRAME, INK, MAX_PIXELS, Font, fitted, font_of, line_height, shortened

FAINT = (120, 120, 120)
LABEL = 180
"""Pixels for the labels of the rows."""


def labelled_grid(
    cells: Mapping[tuple[int, int], Image.Image | str],
    *,
    rows: Sequence[tuple[str, str]],
    columns: Sequence[str],
    corner: Image.Image | None = None,
    title: str = "",
    tile: int = 224,
) -> Image.Image:
    """Set pictures in a grid with a label beside each row and above each column.

    Parameters
    ----------
    cells : mapping of (row, column) to a picture or a text
        A text says, small, why there is no picture; where nothing is given the cell stays empty. A picture with
        something written below it is higher than a tile, and its row with it.
    rows : sequence of (str, str)
        A label, and what goes below it in grey.
    columns : sequence of str
    corner : PIL.Image.Image, optional
        What the pictures are of, above the first row's label.
    title : str
    tile : int
        Width in pixels of a column, 64..1024.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, on white.

    Raises
    ------
    OptionError
        A number is out of range, or the result would be too large to make.
    """
    if not rows or not columns or not 64 <= tile <= 1024:
        raise OptionError("a grid needs a row, a column and tiles of 64 to 1024 pixels.")
    gap = max(4, tile // 28)
    words = (title, *columns, *(w for row in rows for w in row), *(c for c in cells.values() if isinstance(c, str)))
    plain = all(w.isascii() for w in words)
    font, small = font_of(min(22, max(13, tile // 14)), plain=plain), font_of(min(16, max(11, tile // 18)), plain=plain)
    line, fine = line_height(font), line_height(small)
    head = line + gap if title else 0
    pictures = {at: _narrowed(cell, tile) for at, cell in cells.items() if not isinstance(cell, str)}
    tall = [max([tile, *(p.height for (r, _), p in pictures.items() if r == row)]) for row in range(len(rows))]
    top = head + line + 2 * gap
    width, height = LABEL + len(columns) * (tile + gap) + gap, top + sum(tall) + len(rows) * gap
    if width * height > MAX_PIXELS:
        raise OptionError(f"{len(rows)} x {len(columns)} pictures make a sheet of {width} x {height} pixels: too large")
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    if title:
        pen.text((gap, gap), shortened(title, font=font, width=width - 2 * gap), INK, font)
    beside = fitted(corner, tile=min(LABEL - 2 * gap, tile - line - fine)) if corner is not None else None
    for c, text in enumerate(columns):
        text = shortened(text, font=font, width=tile)
        left = LABEL + c * (tile + gap)
        pen.text((left + (tile - font.getlength(text)) / 2, head + gap), text, INK, font)
    for r, (label, below) in enumerate(rows):
        y = top + sum(tall[:r]) + r * gap
        middle = y + tile // 2 - (line + fine) // 2
        if r == 0 and beside is not None:
            sheet.paste(beside, (gap, y))
            middle = y + tile - line - fine
        pen.text((gap, middle), _tail(label, font=font, width=LABEL - 2 * gap), INK, font)
        pen.text((gap, middle + line), shortened(below, font=small, width=LABEL - 2 * gap), FAINT, small)
        for c in range(len(columns)):
            x, cell, picture = LABEL + c * (tile + gap), cells.get((r, c), ""), pictures.get((r, c))
            if isinstance(cell, str) or picture is None:
                pen.rectangle((x, y, x + tile - 1, y + tile - 1), outline=FRAME)
                wrapped = textwrap.wrap(str(cell), max(8, int(tile * 1.7 / small.size)))[: max(1, tile // fine - 1)]
                pen.multiline_text((x + gap, y + gap), "\n".join(wrapped), FAINT, small)
                continue
            at = (x + (tile - picture.width) // 2, y)
            sheet.paste(picture, at)
            pen.rectangle((at[0] - 1, at[1] - 1, at[0] + picture.width, at[1] + picture.height), outline=FRAME)
    return sheet


def _narrowed(picture: Image.Image, tile: int) -> Image.Image:
    """Return a picture fitted into a tile; as it is where it is made for one, with something written below."""
    made = picture.width <= tile <= picture.height <= 2 * tile
    return picture if made else fitted(picture, tile=tile)


def _tail(text: str, *, font: Font, width: int) -> str:
    """Shorten a layer's name from the left, where what many have in common is."""
    measure = font.getlength
    if measure(text) <= width:
        return text
    start = next(i for i in range(1, len(text) + 1) if measure("…" + text[i:]) <= width)
    return "…" + text[start:]
