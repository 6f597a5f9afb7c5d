"""What a model saw that is no picture: a signal, a volume, a video, a row of numbers; and how maps of it are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fgcam_onnx.errors import InputError
from fgcam_onnx.imaging.curves import bars, curves
from fgcam_onnx.imaging.montage import cut_through, montage
from fgcam_onnx.imaging.overlay import laid
from fgcam_onnx.imaging.shading import PERCENTILE, Shades, scaled
from fgcam_onnx.matrices import along, resize_matrix

MOST_BARS = 64
"""Numbers of a row that are drawn as a bar each; more of them are a curve."""


@dataclass(frozen=True)
class Sampled:
    """Values along any number of axes but two.

    Attributes
    ----------
    values : ndarray of shape (C, ...)
        What the model saw, its channels first.
    frames : bool
        Whether its first axis is time, and its channels are those of a picture.
    row : bool
        Whether its only axis is no order, but numbers that stand for something each.
    """

    values: NDArray[Any]
    frames: bool = False
    row: bool = False

    @property
    def size(self) -> tuple[int, ...]:
        """The sizes of its axes."""
        return tuple(self.values.shape[1:])

    def summary(self) -> dict[str, Any]:
        """Return what it is as plain values."""
        return {"seen": {"channels": len(self.values), "size": list(self.size)}}

    def shaded(
        self,
        values: NDArray[Any],
        *,
        signed: bool = False,
        percentile: float = PERCENTILE,
        relative: bool = False,
        gamma: float = 1.0,
    ) -> Shades:
        """Return a map as shares of a colour scale, brought to the size of the values linearly along each axis.

        Raises
        ------
        InputError
            It has other axes, or numbers that are not finite.
        """
        numbers = np.asarray(values, np.float64)
        if numbers.ndim != len(self.size) or not np.isfinite(numbers).all():
            sizes = [" x ".join(map(str, s)) for s in (numbers.shape, self.size)]
            raise InputError(f"a map of {sizes[0]} finite numbers over {sizes[1]} is wanted: they have other axes")
        relative = relative and not signed
        least, most = float(numbers.min()), float(numbers.max())
        ways = [resize_matrix(n, wide) for n, wide in zip(numbers.shape, self.size, strict=True)]
        wide = along(numbers - least if relative else numbers, dict(enumerate(ways)))
        shares, top = scaled(wide, signed=signed, percentile=percentile)
        return Shades(shares, top, least, most, gamma, signed, relative)

    def under(self, shades: Shades, *, colormap: str | None = None, alpha: float = 0.5) -> Image.Image:
        """Return the values with a shaded map over them: a curve, bars, or slices and what is seen through them.

        Raises
        ------
        InputError
            There is no way to draw that many axes.
        """
        if len(self.size) == 1:
            draw = bars if self.row and self.size[0] <= MOST_BARS else curves
            return draw(self.values, shades, colormap=colormap)
        through = [] if self.frames else cut_through(self.pictures, shades, colormap=colormap, alpha=alpha)
        return montage(self.overlaid(shades, colormap=colormap, alpha=alpha), below=through)

    def overlaid(self, shades: Shades, *, colormap: str | None = None, alpha: float = 0.5) -> list[Image.Image]:
        """Return every slice along the first axis with its part of the map over it."""
        return [
            laid(Image.fromarray(picture), part_of(shades, np.s_[i]), colormap=colormap, alpha=alpha)
            for i, picture in enumerate(self.pictures)
        ]

    @property
    def pictures(self) -> NDArray[np.uint8]:
        """The slices along the first of three axes, (n, h, w, 3), from the least value to the largest; else refused."""
        if len(self.size) != 3:
            raise InputError(f"{' x '.join(map(str, self.size))} values are drawn in no way: take --raw maps")
        pixels = np.moveaxis(np.asarray(self.values, np.float64), 0, -1)
        if pixels.shape[-1] != 3:
            pixels = pixels.mean(axis=-1, keepdims=True).repeat(3, axis=-1)
        low, high = pixels.min(), pixels.max()
        shown: NDArray[np.uint8] = np.rint((pixels - low) / max(high - low, 1e-12) * 255).astype(np.uint8)
        return shown


def part_of(shades: Shades, where: Any) -> Shades:
    """Return a part of a shaded map, on the same scale."""
    return Shades(
        np.ascontiguousarray(shades.shares[where]), shades.top, shades.least, shades.most, shades.gamma, shades.signed,
        shades.relative,
    )  # fmt: skip


def moving(pictures: Sequence[Image.Image], *, least: int = 224) -> list[Image.Image]:
    """Return pictures enlarged by a whole factor to ``least`` pixels, for one that moves."""
    factor = max(1, -(-least // max(pictures[0].size)))
    return [p.resize((p.width * factor, p.height * factor), Image.Resampling.NEAREST) for p in pictures]
