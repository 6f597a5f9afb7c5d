"""The one way from a raw map to shares of a colour scale: overlays, notebooks and the page all take it.

1. The map is brought to the size of what the model saw, bilinearly.
2. A fine map, of more than half that size, is smoothed by a Gaussian; a coarse one is not.
3. ``top`` is the value that 99.5 % of the non-zero magnitudes stay under; what lies above is shown as ``top``.
4. ``share = value / top``; where only what speaks for the target is shown, negative values become 0.
5. The colour is that of ``share ** gamma``, 0.5 for fine maps, 1 for coarse ones.

A map in which 0 means nothing is shown from its least value, which is subtracted before all else, and ``gamma`` is 1:
its middle is no few high points.

Each number can be chosen. None depends on the picture that the shares are then laid over, so that the extent of a
map is the same everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgcam_onnx.emptiness import NOT_POSITIVE, emptiness
from fgcam_onnx.errors import InputError, OptionError
from fgcam_onnx.imaging.placing import Size
from fgcam_onnx.imaging.resampling import gaussian, resized

PERCENTILE = 99.5
SMOOTHEST = 1000


@dataclass(frozen=True)
class Shades:
    """A map on its way to colours.

    Attributes
    ----------
    shares : ndarray of float32, of the size that the model saw
        0..1, or -1..1 where ``signed``, before ``gamma``.
    top : float
        The value of the (smoothed) map that a share of 1 stands for; 0 where there is nothing to show.
    least, most : float
        The raw map's smallest and largest value.
    gamma : float
    signed : bool
    relative : bool
        Whether a share of 0 stands for ``least``, not for 0, and one of 1 for ``least + top``.
    """

    shares: NDArray[np.float32]
    top: float
    least: float
    most: float
    gamma: float
    signed: bool
    relative: bool = False

    @property
    def range(self) -> tuple[float, float]:
        """What the ends of the colour scale stand for."""
        low = self.least if self.relative else 0.0
        return (-self.top if self.signed else low), low + self.top

    @property
    def note(self) -> str:
        """What to say, in place of a picture without colour, where there is nothing to show; else empty."""
        said = emptiness(np.array([self.least, self.most]), relative=self.relative)
        return "" if said == NOT_POSITIVE and self.signed else said

    @property
    def notes(self) -> tuple[str, ...]:
        """The note as a line to write below a picture; none where there is none."""
        return (f"map: {self.note}",) if self.note else ()

    def steps(self, shares: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return for shares, such as these widened, the colours' numbers in a table of 256."""
        ways = np.copysign(self.strength(shares), shares)
        scaled = (ways + 1) / 2 if self.signed else ways
        steps: NDArray[np.uint8] = np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
        return steps

    def strength(self, shares: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return how far shares are from 0 on the colour scale, 0..1."""
        return np.asarray(np.minimum(np.abs(shares), 1) ** np.float32(self.gamma), np.float32)


def shaded(
    values: NDArray[Any],
    *,
    view: Size | None = None,
    signed: bool = False,
    percentile: float = PERCENTILE,
    smooth: float | None = None,
    gamma: float | None = None,
    relative: bool = False,
) -> Shades:
    """Return a map as shares of a colour scale.

    Parameters
    ----------
    values : ndarray, (h, w)
        Finite numbers.
    view : (int, int) or None
        Height and width of what the model saw, over which the map lies; None: the map's own.
    signed : bool
        False: only what is positive is shown. True: what is negative, too, on the other side of 0.
    percentile : float
        Above 0, at most 100: the share of the non-zero values that stay under ``top``.
    smooth : float or None
        Standard deviation of the Gaussian in pixels of the view, 0..1000; 0 for none. None: 1/224 of the view's
        shorter side for a fine map, else 0.
    gamma : float or None
        Above 0. None: 0.5 for a fine map, whose points are few and high, else 1.
    relative : bool
        Whether 0 means nothing in the map, which is then shown from its least value; not where ``signed``.

    Raises
    ------
    InputError
        If ``values`` is not a finite (h, w) array.
    OptionError
        If a number is out of range.
    """
    if not (smooth is None or 0 <= smooth <= SMOOTHEST) or not (gamma is None or 0 < gamma < np.inf):
        raise OptionError(f"smooth {smooth} must be in 0..{SMOOTHEST} and gamma {gamma} above 0.")
    numbers = checked(values)
    (h, w), (height, width) = numbers.shape, view or numbers.shape
    fine = 2 * h > height and 2 * w > width
    if smooth is None:
        smooth = min(height, width) / 224 if fine else 0.0
    relative = relative and not signed
    if gamma is None:
        gamma = 0.5 if fine and not relative else 1.0
    least, most = float(numbers.min()), float(numbers.max())
    above = numbers - least if relative else numbers
    spread = gaussian(resized(above, size=(height, width)), sigma=smooth)
    shares, top = scaled(spread, signed=signed, percentile=percentile)
    return Shades(shares, top, least, most, gamma, signed, relative)


def scaled(numbers: NDArray[np.float64], *, signed: bool, percentile: float) -> tuple[NDArray[np.float32], float]:
    """Return the shares (-1..1, or 0..1) of a map, and what 1 stands for; the numbers are those of `shaded`."""
    if not 0 < percentile <= 100:
        raise OptionError(f"percentile {percentile} must be above 0 and at most 100.")
    if not signed:
        numbers = np.maximum(numbers, 0)
    magnitudes = np.abs(numbers)
    shown = magnitudes[magnitudes > 0]
    if not shown.size:
        return np.zeros(numbers.shape, np.float32), 0.0
    # The plain maximum apart: interpolating a percentile may fall a rounding below it.
    top = float(shown.max() if percentile == 100 else np.percentile(shown, percentile))
    return (np.clip(numbers, -top, top) / top).astype(np.float32), top


def checked(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return a map as float64; InputError where it is none."""
    array = np.asarray(values)
    if array.ndim != 2 or not array.size or array.dtype.kind not in "fiub":
        raise InputError(
            f"A map must be an array of numbers (height, width), not {array.dtype} {array.shape}. "
            "Take one map out of the batch, and sum over channels."
        )
    numbers = array.astype(np.float64)
    bad = int(np.count_nonzero(~np.isfinite(numbers)))
    if bad:
        raise InputError(f"The map of shape {array.shape} holds {bad} NaN or infinite values.")
    return numbers
