"""What the maps of one picture are measured by; maps are (h, w), pictures and boxes as the model saw them.

The formulas are the table's (`fgcam_onnx.metrics`). The copies that they read are made here, in few steps, and equal
values are ordered by their place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgcam_onnx.imaging.resampling import gaussian, resized
from fgcam_onnx.metrics import formulas

Floats = NDArray[np.floating[Any]]
Predict = Callable[[Floats], Floats]
"""Takes inputs (N, C, H, W); returns the probability of the class explained, (N,)."""

STEPS = (0.0, 0.03, 0.08, 0.15, 0.25, 0.4, 0.65, 1.0)
"""Shares of the picture that are deleted or inserted."""

BLUR = 10.0
"""Standard deviation in pixels of the picture that Insertion starts from."""


def ranks(m: Floats) -> Floats:
    """Return each position's share of positions that are not above it: 0 for the least, 1 for the largest."""
    order = np.argsort(m.ravel(), kind="stable")
    found = np.empty(m.size, np.float32)
    found[order] = np.linspace(0, 1, m.size, dtype=np.float32)
    return found.reshape(m.shape)


def cells_of(m: Floats, side: int) -> Floats:
    """Return ``m`` averaged over squares of ``side`` positions, at its own size."""
    h, w = m.shape
    means = m[: h // side * side, : w // side * side].reshape(h // side, side, w // side, side).mean((1, 3))
    return np.kron(means, np.ones((side, side), m.dtype))


@dataclass(frozen=True)
class Ends:
    """What does not depend on a map: the picture, what it is deleted to and inserted on, and their probabilities."""

    x: Floats
    blurred: Floats
    whole: float
    deleted: float
    bare: float

    @classmethod
    def of(cls, predict: Predict, x: Floats) -> Ends:
        """Return them for ``x`` (C, H, W)."""
        blurred = np.stack([gaussian(c, sigma=BLUR) for c in x]).astype(x.dtype)
        return cls(x, blurred, *map(float, predict(np.stack([x, np.zeros_like(x), blurred]))))


def faithfulness(predict: Predict, ends: Ends, m: Floats, *, side: int) -> dict[str, float]:
    """Return Average Drop by the map's ranks, and Deletion and Insertion by its means over squares of ``side``.

    Average Drop (Chattopadhay et al., 2018, arXiv:1710.11063) is the share of the probability that is lost where the
    picture is multiplied by the ranks, so that every map darkens alike. Deletion and Insertion (Petsiuk, Das & Saenko,
    2018, arXiv:1806.07421) are areas under the probability, over ``STEPS``, when the best squares are set to 0, or put
    on the blurred picture.
    """
    x, best = ends.x, 1 - ranks(cells_of(m, side))
    chosen = np.stack([best < s for s in STEPS[1:-1]])[:, None]
    deleted, inserted = np.where(chosen, 0, x[None]), np.where(chosen, x[None], ends.blurred[None])
    masked, *found = map(float, predict(np.concatenate([(x * ranks(m))[None], deleted, inserted])))
    half, between = len(found) // 2, STEPS[1:-1]
    return {
        "adr": formulas.drop(ends.whole, masked),
        "deletion": formulas.deletion(between, ends.whole, np.asarray(found[:half]), ends.deleted),
        "insertion": formulas.insertion(between, ends.whole, np.asarray(found[half:]), ends.bare),
    }


def energy(m: Floats, mask: NDArray[np.bool_]) -> float:
    """Return the share of the map's positive part inside ``mask`` (Wang et al., 2020, arXiv:1910.01279)."""
    return formulas.energy(np.maximum(m, 0), mask)


def grid(maps: Sequence[Floats], period: int, *, shifted: bool = False) -> float:
    """Return the largest over the smallest mean of maps by position modulo ``period``; each map counts alike.

    ``shifted`` maps, each by a random number of positions, have no grid: what is left is chance.
    """
    total, rng = np.zeros((period, period)), np.random.default_rng(0)
    for m in maps:
        positive = np.maximum(m, 0)
        if shifted:
            positive = np.roll(positive, rng.integers(0, period, 2), (0, 1))
        h, w = (s // period * period for s in m.shape)
        cut = positive[:h, :w].reshape(h // period, period, w // period, period)
        total += cut.mean((0, 2)) / max(positive.mean(), 1e-30)
    return float(total.max() / max(total.min(), 1e-30))


def interval(values: Floats, *, draws: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """Return the mean of ``values`` and the ends of its bootstrap interval of 95 %, NaN left out."""
    kept = values[np.isfinite(values)]
    if not kept.size:
        return float("nan"), float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    means = kept[rng.integers(0, kept.size, (draws, kept.size))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(kept.mean()), float(low), float(high)


def wide(m: Floats, size: tuple[int, int]) -> Floats:
    """Return ``m`` brought to ``size`` bilinearly."""
    return np.asarray(resized(np.asarray(m, np.float64), size=size), np.float32)
