"""Rows of maps as HTML for a notebook: pictures inside, scales of the style sheet's own colours, all text escaped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..imaging import Shades, Style
from ..imaging.overlay import colors_of
from ..report import embedded, render
from .rows import Row, larger

SIDE, MOST = 200, 48
"""Pixels of the longer side of a picture, and how many rows are shown."""
NO_MAP = {"image": "", "note": "", "stops": "", "low": "", "high": "", "failure": ""}
STOPS = 17
"""Colours of a scale."""


def fragment(
    rows: Sequence[Row],
    *,
    columns: Sequence[str],
    style: Style,
    title: str,
    about: Sequence[str] = (),
    one_picture: bool = False,
) -> str:
    """Return HTML of at most ``MOST`` rows; how many there are more is said.

    Parameters
    ----------
    rows, columns, style, one_picture
        As for `sheet`.
    title : str
    about : sequence of str
        Lines below the title.
    """
    shown = [_row(row, columns, style) for row in rows[:MOST]]
    corner = rows[0].seen if rows and one_picture else None
    pictures = ["" if one_picture or row.seen is None else _embedded(row.seen.shown(style)[0]) for row in rows[:MOST]]
    return render(
        "maps.html",
        title=title,
        about=list(about),
        corner="" if corner is None else _embedded(corner.shown(style)[0]),
        columns=list(columns),
        pictured=any(pictures),
        rows=[{**row, "picture": picture} for row, picture in zip(shown, pictures, strict=True)],
        more=max(0, len(rows) - MOST),
        side=SIDE,
    )


def _row(row: Row, columns: Sequence[str], style: Style) -> dict[str, Any]:
    cells = []
    for column in columns:
        if column not in row.maps:
            cells.append(NO_MAP | {"failure": row.failures.get(column, "")})
            continue
        over, shades = row.over(column, style)
        scale = scale_of(shades, style) if style.bar else {}
        cells.append(NO_MAP | {"image": _embedded(over), "note": shades.note} | scale)
    return {"title": row.title, "told": row.told, "cells": cells}


def scale_of(shades: Shades, style: Style) -> dict[str, str]:
    """Return the colours of a scale as CSS has them, and what its ends stand for; nothing where all is 0."""
    if not shades.top:
        return {}
    table = colors_of(style.colormap, signed=shades.signed)
    ends = np.linspace(-1 if shades.signed else 0, 1, STOPS, dtype=np.float32)
    stops = ",".join("#" + bytes(table[step]).hex() for step in shades.steps(ends))
    low, high = shades.range
    return {"stops": stops, "low": f"{low:.3g}", "high": f"{high:.3g}"}


def _embedded(image: Image.Image) -> str:
    return embedded(larger(image), side=SIDE)
