"""Rows of maps as a figure of matplotlib's, to be changed further, and saved in its formats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..imaging import Style
from ..imaging.overlay import colors_of
from .rows import Row
from .sheet import PICTURE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INCHES = 2.6
"""Width of a map, and its height with what stands above and below."""


def drawn_figure(rows: Sequence[Row], *, columns: Sequence[str], style: Style, notes: Sequence[str] = ()) -> Figure:
    """Return a figure: a row of axes for each row, the picture first, and a colour bar beside each map."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.figure import Figure

    own = any(row.seen is not None for row in rows)
    wide = len(columns) + own
    figure = Figure(figsize=(INCHES * wide + 0.6, INCHES * len(rows) + 0.3 * bool(notes)), layout="constrained")
    axes = figure.subplots(len(rows), wide, squeeze=False)
    for r, row in enumerate(rows):
        names = [*([PICTURE] * own), *columns]
        for c, name in enumerate(names):
            axis = axes[r][c]
            axis.set_xticks([])
            axis.set_yticks([])
            if r == 0:
                axis.set_title(_plain(name), fontsize=9)
            if c == 0:
                axis.set_ylabel(_plain(f"{row.title}\n{row.told}"), fontsize=8)
            if own and c == 0:
                if row.seen is not None:
                    axis.imshow(np.asarray(row.seen.shown(style)[0]))
                continue
            if name not in row.maps:
                axis.text(0.5, 0.5, _plain(row.failures.get(name, "")), ha="center", va="center", fontsize=7, wrap=True)
                continue
            over, shades = row.over(name, style)
            axis.imshow(np.asarray(over))
            low, high = shades.range
            if style.bar and high > low:
                table = colors_of(style.colormap, signed=shades.signed)
                ends = np.linspace(-1 if shades.signed else 0, 1, 256, dtype=np.float32)
                scale = ScalarMappable(Normalize(low, high), ListedColormap(table[shades.steps(ends)] / 255.0))
                figure.colorbar(scale, ax=axis, fraction=0.046, pad=0.03).ax.tick_params(labelsize=7)
            for note in shades.notes:
                axis.set_xlabel(_plain(note), fontsize=7)
    if notes:
        figure.supxlabel(_plain("\n".join(notes)), fontsize=7)
    return figure


def _plain(text: str) -> str:
    """Return text that matplotlib takes for no formula."""
    return text.replace("$", r"\$")
