"""Pictures side by side, with captions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from PIL import Image, ImageDraw, ImageFont

from fgcam_onnx.errors import OptionError
from fgcam_onnx.imaging.reading import as_rgb

MAX_PIXELS = 200_000_000
INK, FRAME = (32, 32, 32), (208, 208, 208)
Font = ImageFont.FreeTypeFont


def panel(image: Image.Image, overlays: Sequence[tuple[str, Image.Image]], *, title: str = "") -> Image.Image:
    """Set a picture and what was made of it side by side in one row.

    Parameters
    ----------
    image : PIL.Image.Image
        The picture, captioned ``input``.
    overlays : sequence of (str, PIL.Image.Image)
        Captions and pictures, to the right of it.
    title : str
        Above the row; none where empty.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, on white. Each picture is fitted into a square of the input's longer side, 224..640.

    Raises
    ------
    OptionError
        If the result would be too large to make.
    """
    tile = min(640, max(224, *image.size))
    tiles = [("picture", image), *overlays]
    return _sheet(tiles, columns=len(tiles), tile=tile, title=title)


def contact_sheet(
    tiles: Sequence[tuple[str, Image.Image]], *, columns: int | None = None, tile: int = 224
) -> Image.Image:
    """Set pictures in rows, each with a caption below it.

    Parameters
    ----------
    tiles : sequence of (str, PIL.Image.Image)
        Captions and pictures, any sizes and modes.
    columns : int or None
        At least 1; None: about as many as rows.
    tile : int
        Side in pixels of the square each picture is fitted into, 16..4096.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, on white. Captions that are too long end in an ellipsis.

    Raises
    ------
    OptionError
        If there is no tile, a number is out of range, or the result would be too large to make.
    """
    if not tiles:
        raise OptionError("A contact sheet needs at least one picture.")
    if columns is not None and columns < 1:
        raise OptionError(f"columns {columns} must be at least 1.")
    if not 16 <= tile <= 4096:
        raise OptionError(f"tile {tile} must be in 16..4096 pixels.")
    count = min(columns or math.ceil(math.sqrt(len(tiles))), len(tiles))
    return _sheet(tiles, columns=count, tile=tile, title="")


def _sheet(tiles: Sequence[tuple[str, Image.Image]], *, columns: int, tile: int, title: str) -> Image.Image:
    rows = math.ceil(len(tiles) / columns)
    gap = max(4, tile // 28)
    plain = all(text.isascii() for text in (title, *(caption for caption, _ in tiles)))
    font = font_of(min(22, max(10, tile // 16)), plain=plain)
    title_font = font_of(min(28, max(12, tile // 12)), plain=plain)
    line = line_height(font)
    head = line_height(title_font) + gap if title.strip() else 0
    width, height = gap + columns * (tile + gap), gap + head + rows * (tile + line + gap)
    if width * height > MAX_PIXELS:
        raise OptionError(
            f"{len(tiles)} pictures in {columns} columns make a sheet of {width} x {height} pixels, which is "
            "too large. Take a smaller tile or fewer pictures."
        )
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    if head:
        pen.text((gap, gap), shortened(title, font=title_font, width=width - 2 * gap), INK, title_font)
    for index, (caption, image) in enumerate(tiles):
        left = gap + index % columns * (tile + gap)
        top = gap + head + index // columns * (tile + line + gap)
        small = fitted(image, tile=tile)
        at = (left + (tile - small.width) // 2, top + (tile - small.height) // 2)
        sheet.paste(small, at)
        pen.rectangle((at[0] - 1, at[1] - 1, at[0] + small.width, at[1] + small.height), outline=FRAME)
        text = shortened(caption, font=font, width=tile)
        pen.text((left + (tile - font.getlength(text)) / 2, top + tile + line // 8), text, INK, font)
    return sheet


def fitted(image: Image.Image, *, tile: int) -> Image.Image:
    """Return a picture as RGB, its longer side ``tile`` pixels."""
    share = tile / max(image.size)
    size = (
        min(tile, max(1, round(image.width * share))),
        min(tile, max(1, round(image.height * share))),
    )
    return as_rgb(image).resize(size, Image.Resampling.BILINEAR)


def shortened(text: str, *, font: Font, width: int) -> str:
    """Return a text in one line, with an ellipsis where it is wider than ``width`` pixels."""
    whole = " ".join(text.split())[:1000]
    if font.getlength(whole) <= width:
        return whole
    low, high = 0, len(whole)
    while low < high:
        middle = (low + high + 1) // 2
        if font.getlength(whole[:middle].rstrip() + "…") <= width:
            low = middle
        else:
            high = middle - 1
    return whole[:low].rstrip() + "…"


def line_height(font: Font) -> int:
    """Return the pixels from one line to the next."""
    ascent, descent = font.getmetrics()
    return math.ceil((ascent + descent) * 1.3)


def font_of(size: int, *, plain: bool) -> Font:
    """Return a font for text that is ``plain`` ASCII, or any."""
    if plain:
        return cast(Font, ImageFont.load_default(size))
    # Pillow's own font ends at ASCII; matplotlib brings one with accents, Greek and Cyrillic.
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)
