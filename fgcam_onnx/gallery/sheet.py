"""Rows of maps as one picture."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from ..asked import whole_of
from ..errors import OptionError
from ..imaging import Style, footed
from ..imaging.grids import labelled_grid
from ..imaging.sheets import fitted
from .rows import Row

PICTURE = "picture"
"""What the column of the pictures is called."""


def sheet(
    rows: Sequence[Row],
    *,
    columns: Sequence[str],
    style: Style,
    title: str = "",
    tile: int = 224,
    notes: Sequence[str] = (),
    one_picture: bool = False,
) -> Image.Image:
    """Return rows of maps with labels beside and above them, each map over its picture and its scale below.

    Parameters
    ----------
    rows : sequence of Row
    columns : sequence of str
    style : Style
    title : str
    tile : int
        Side of an overlay in pixels, 64..1024.
    notes : sequence of str
        Lines below.
    one_picture : bool
        Whether all rows are of one picture, which then stands in the corner and not in a column of its own.

    Raises
    ------
    OptionError
        A number is out of range, or the result would be too large to make.
    """
    whole_of(tile, "tile", least=64, most=1024)
    if not isinstance(title, str):
        raise OptionError(f"title is text, not {title!r:.60}")
    own = not one_picture and any(row.seen is not None for row in rows)
    cells: dict[tuple[int, int], Image.Image | str] = {}
    for r, row in enumerate(rows):
        if own and row.seen is not None:
            cells[r, 0] = row.seen.shown(style)[0]
        for c, column in enumerate(columns, int(own)):
            if column not in row.maps:
                cells[r, c] = row.failures.get(column, "")
                continue
            over, shades = row.over(column, style)
            cells[r, c] = footed(
                fitted(over, tile=tile), scale=shades if style.bar else None, colormap=style.colormap,
                notes=shades.notes,
            )  # fmt: skip
    corner = rows[0].seen.shown(style)[0] if one_picture and rows and rows[0].seen is not None else None
    whole = labelled_grid(
        cells, rows=[(row.title, row.told) for row in rows], columns=[*([PICTURE] * own), *columns],
        corner=corner, title=title, tile=tile,
    )  # fmt: skip
    return footed(whole, notes=notes)
