"""A row of maps, and one map alone with its colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..imaging import Sampled, Seen, Shades, Style, coloured, footed, shaded
from ..imaging.overlay import laid

SIDE = 224
"""Pixels of the longer side of a map shown alone, at least."""


@dataclass(frozen=True)
class Row:
    """Maps that belong together: of a picture and what was asked of it, or of a layer.

    Attributes
    ----------
    title : str
        What they are of.
    told : str
        What is to be said of it: probability, picture.
    maps : mapping of str to ndarray, (h, w), or of other axes
        By column.
    seen : Seen, optional
        The picture, where it is known.
    view : (int, int), optional
        Height and width of what the model saw.
    relative : frozenset of str
        The columns in whose maps 0 means nothing.
    failures : mapping of str to str
        Why there is no map in a column.
    """

    title: str
    told: str
    maps: Mapping[str, NDArray[Any]]
    seen: Seen | None = None
    view: tuple[int, int] | None = None
    relative: frozenset[str] = frozenset()
    failures: Mapping[str, str] = field(default_factory=dict)

    def shades(self, column: str, style: Style) -> Shades:
        """Return a map on its way to colours."""
        if (sampled := self._sampled(column)) is not None:
            return sampled.shaded(
                self.maps[column], signed=style.signed, percentile=style.percentile, gamma=style.gamma or 1.0,
                relative=column in self.relative,
            )  # fmt: skip
        view = self.view if self.seen is None else self.seen.shown(style)[1].view
        return shaded(
            self.maps[column], view=view, signed=style.signed, percentile=style.percentile, smooth=style.smooth,
            gamma=style.gamma, relative=column in self.relative,
        )  # fmt: skip

    def over(self, column: str, style: Style) -> tuple[Image.Image, Shades]:
        """Return a map over its picture, or alone where there is none, and its shades."""
        if self.seen is None or self._sampled(column) is not None:
            return self.bare(column, style)
        shades = self.shades(column, style)
        picture, placement = self.seen.shown(style)
        return laid(picture, shades, placement=placement, colormap=style.colormap, alpha=style.alpha), shades

    def bare(self, column: str, style: Style) -> tuple[Image.Image, Shades]:
        """Return a map over nothing, a curve or slices where it is no picture, and its shades."""
        shades = self.shades(column, style)
        if (sampled := self._sampled(column)) is not None:
            return sampled.under(shades, colormap=style.colormap, alpha=style.alpha), shades
        return larger(coloured(shades, colormap=style.colormap)), shades

    def _sampled(self, column: str) -> Sampled | None:
        """Return what stands for the input of a map that has not two axes."""
        size = self.maps[column].shape
        return None if len(size) == 2 else Sampled(np.zeros((1, *size)))


def larger(picture: Image.Image) -> Image.Image:
    """Return a picture with its longer side ``SIDE`` pixels, if it is smaller."""
    share = SIDE / max(picture.size)
    if share <= 1:
        return picture
    size = max(1, round(picture.width * share)), max(1, round(picture.height * share))
    return picture.resize(size, Image.Resampling.BILINEAR)


def alone(row: Row, column: str, style: Style) -> Image.Image:
    """Return a map alone, over what the model saw, and below it its colour scale with the raw map's range."""
    picture, shades = row.bare(column, style)
    return footed(picture, scale=shades if style.bar else None, colormap=style.colormap, notes=shades.notes)


def described(value: float) -> str:
    """Return a probability or score as people read it."""
    return f"{value:.3f}" if np.isfinite(value) and 1e-3 <= abs(value) < 1000 else f"{value:.3g}"
