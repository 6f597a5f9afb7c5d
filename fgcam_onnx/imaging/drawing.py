"""How the maps of a picture are drawn: the choices of one who looks at them, and a picture of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fgcam_onnx.asked import flag_of, number_of
from fgcam_onnx.errors import OptionError, check_known
from fgcam_onnx.imaging.footers import footed
from fgcam_onnx.imaging.overlay import laid
from fgcam_onnx.imaging.placing import Placement
from fgcam_onnx.imaging.sampled import Sampled
from fgcam_onnx.imaging.shading import PERCENTILE, Shades, shaded
from fgcam_onnx.imaging.sheets import fitted

LARGEST = 2000
"""Pixels of the longer side that a photograph is drawn with at most."""


@dataclass(frozen=True)
class Style:
    """How maps are drawn.

    Attributes
    ----------
    on : {"original", "model"}
        Over the whole picture, or over what the model saw of it.
    bar : bool
        Whether the colour scale, with the raw map's range, stands below.
    colormap, alpha
        Of `overlay`.
    signed, percentile, smooth, gamma
        Of `shaded`.
    """

    on: Literal["original", "model"] = "original"
    bar: bool = True
    colormap: str | None = None
    alpha: float = 0.5
    signed: bool = False
    percentile: float = PERCENTILE
    smooth: float | None = None
    gamma: float | None = None

    def __post_init__(self) -> None:
        check_known("place to draw on", self.on, ("original", "model"))
        if self.colormap is not None and not isinstance(self.colormap, str):
            raise OptionError(f"colormap is a name of matplotlib's, not {self.colormap!r:.60}")
        for name in ("bar", "signed"):
            flag_of(getattr(self, name), name)
        for name in ("alpha", "percentile", "smooth", "gamma"):
            if (value := getattr(self, name)) is not None or name in ("alpha", "percentile"):
                number_of(value, name)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Style:
        """Return the style with the fields given.

        Raises
        ------
        OptionError
            There is no such field, or its value is of another kind.
        """
        known = [f.name for f in fields(cls)]
        for name in given:
            check_known("style", name, known)
        return cls(**given)


@dataclass(frozen=True)
class Seen:
    """A picture, what the model saw of it, and where that lies."""

    picture: Image.Image
    view: Image.Image
    placement: Placement

    @property
    def size(self) -> tuple[int, ...]:
        """The sizes of the axes that the model saw."""
        return self.placement.view

    def summary(self) -> dict[str, Any]:
        """Return where the view lies as plain values."""
        return {"placement": self.placement.summary()}

    def shown(self, style: Style, *, largest: int = LARGEST) -> tuple[Image.Image, Placement]:
        """Return what maps are drawn over, its longer side at most ``largest`` pixels, and where they lie in it."""
        if style.on == "model":
            return self.view, Placement.whole(self.placement.view)
        if max(self.picture.size) <= largest:
            return self.picture, self.placement
        smaller = fitted(self.picture, tile=largest)
        left, top, right, bottom = self.placement.box
        sx, sy = smaller.width / self.picture.width, smaller.height / self.picture.height
        box = (left * sx, top * sy, right * sx, bottom * sy)
        return smaller, Placement((smaller.height, smaller.width), self.placement.view, box)


def ground(seen: Seen | Sampled, style: Style) -> Image.Image:
    """Return what maps are drawn over, without one."""
    if isinstance(seen, Seen):
        return seen.shown(style)[0]
    return seen.under(seen.shaded(np.zeros(seen.size)), alpha=0)


def shades_of(seen: Sampled, values: NDArray[Any], *, style: Style, relative: bool = False) -> Shades:
    """Return a map of what is no picture as shares of a colour scale.

    Raises
    ------
    InputError, OptionError
        The map has other axes, or the style is for pictures.
    """
    if style.on == "model" or style.smooth is not None:
        raise OptionError("--on model and --smooth (on=, smooth=) are for pictures: leave them out")
    return seen.shaded(
        values, signed=style.signed, percentile=style.percentile, relative=relative, gamma=style.gamma or 1.0
    )


def drawn(
    seen: Seen | Sampled,
    values: NDArray[Any],
    *,
    style: Style,
    relative: bool = False,
    notes: Sequence[str] = (),
    tile: int | None = None,
) -> Image.Image:
    """Return a map over its picture, the scale and notes below.

    Parameters
    ----------
    seen : Seen or Sampled
    values : ndarray, (h, w), or of the axes of what was seen
    style : Style
    relative : bool
        Of `shaded`.
    notes : sequence of str
        Lines below, whatever the style.
    tile : int, optional
        For a sheet: the longer side of the picture, so that what stands below has the size of the sheet's letters.

    Raises
    ------
    InputError, OptionError
        As for `overlay`.
    """
    if isinstance(seen, Sampled):
        shades = shades_of(seen, values, style=style, relative=relative)
        over = seen.under(shades, colormap=style.colormap, alpha=style.alpha)
        return _told(fitted(over, tile=tile) if tile is not None else over, shades, style, notes)
    picture, placement = seen.shown(style)
    shades = shaded(
        values, view=placement.view, signed=style.signed, percentile=style.percentile, smooth=style.smooth,
        gamma=style.gamma, relative=relative,
    )  # fmt: skip
    over = laid(picture, shades, placement=placement, colormap=style.colormap, alpha=style.alpha)
    if tile is not None:
        over = fitted(over, tile=tile)
    return _told(over, shades, style, notes)


def _told(over: Image.Image, shades: Shades, style: Style, notes: Sequence[str]) -> Image.Image:
    told = (*shades.notes, *notes)
    return footed(over, scale=shades if style.bar else None, colormap=style.colormap, notes=told)
