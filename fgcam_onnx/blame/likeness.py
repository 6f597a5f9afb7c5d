"""How like the results of two layers are: noise, direction, range."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SILENT = 1e-20
"""Power below which there is nothing to compare."""

EXACT = 200.0
"""Decibels said where two results are equal."""


@dataclass(frozen=True, eq=False)
class Likeness:
    """Sums over the pictures, from which everything else follows.

    Attributes
    ----------
    signal, other, noise, both : float
        Sums of squares of the reference, of the candidate and of their difference, and of their products.
    """

    signal: float = 0.0
    other: float = 0.0
    noise: float = 0.0
    both: float = 0.0

    def and_(self, a: Floats, b: Floats) -> Likeness:
        """Return the sums with the results of more pictures."""
        change = a - b
        return Likeness(
            self.signal + float(np.vdot(a, a)),
            self.other + float(np.vdot(b, b)),
            self.noise + float(np.vdot(change, change)),
            self.both + float(np.vdot(a, b)),
        )

    @property
    def sqnr(self) -> float:
        """Signal over noise in decibels."""
        if self.noise <= SILENT * max(self.signal, SILENT):
            return EXACT
        return float(10 * np.log10(max(self.signal, SILENT) / self.noise))

    @property
    def cosine(self) -> float:
        """Cosine of the two results; 1 where both are nothing."""
        size = np.sqrt(self.signal * self.other)
        return float(self.both / size) if size > SILENT else float(self.signal <= SILENT >= self.other)

    @property
    def error(self) -> float:
        """Noise over signal, from 0 to 1 and more."""
        return self.noise / max(self.signal, SILENT) if self.noise > SILENT else 0.0


def compared(runs: Iterable[tuple[list[NDArray[np.generic]], list[NDArray[np.generic]]]], count: int) -> list[Likeness]:
    """Return how like the results of ``count`` layers are, over all runs."""
    found = [Likeness()] * count
    for mine, theirs in runs:
        for i, (a, b) in enumerate(zip(mine, theirs, strict=True)):
            mine_, theirs_ = (np.ascontiguousarray(v, np.float32) for v in (a, b.reshape(a.shape)))
            found[i] = found[i].and_(mine_, theirs_)
    return found
