"""Means and how sure they are: bootstrap over pictures (Efron, 1979, doi:10.1214/aos/1176344552)."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from ..metrics.grids import Floats

RESAMPLES = 4000
SURE = 0.95
FEWEST = 6
"""Of fewer pictures even differences that all have one sign come about by chance more than once in 20 (2 / 2^n)."""


@dataclass(frozen=True)
class Interval:
    """A mean over n pictures, and between which numbers it lies with 95 % confidence."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0, of pictures enough to say so."""
        return self.n >= FEWEST and (self.low > 0 or self.high < 0)

    def plain(self) -> dict[str, float | int]:
        """Return it as plain values."""
        return {n: v if n == "n" else float(f"{v:.6g}") for n, v in asdict(self).items()}


def interval(values: Floats, *, seed: int) -> Interval | None:
    """Return the mean of what is not NaN, with its percentile interval; None where all is."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    means = known[_drawn(len(known), seed)].mean(1)
    low, high = np.quantile(means, [(1 - SURE) / 2, (1 + SURE) / 2])
    return Interval(float(known.mean()), float(low), float(high), len(known))


def paired(values: Floats, others: Floats, *, seed: int) -> Interval | None:
    """Return the mean difference on the pictures that both have, with its interval."""
    return interval(values - others, seed=seed)


@functools.lru_cache(maxsize=8)
def _drawn(count: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, count]).integers(0, count, (RESAMPLES, count))
