"""Drift: how far a prediction and a map are from the reference's, as numbers that are 0 where nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..explanation import Explanation
from ..imaging.resampling import resized
from ..metrics.formulas import correlation, ranked

NOTHING = 1e-12


@dataclass(frozen=True)
class Drift:
    """How far explanations are from the reference's, averaged over the pictures.

    Attributes
    ----------
    prediction : float
        Change of the logits over how much the reference's differ among themselves; 0 to any number.
    map : float
        1 - Spearman's rank correlation of the maps; 0 to 2.
    """

    prediction: float
    map: float


Measure = Callable[[Explanation, Explanation], Drift]
"""Takes the reference's explanation and another of the same pictures and classes."""


def drift(reference: Explanation, other: Explanation) -> Drift:
    """Return how far ``other`` is from ``reference``; a class that only one of them has, at the start, is left out."""
    logits = _classes(reference.scores, other.scores)
    change = [
        np.linalg.norm((b - b.mean()) - (a - a.mean())) / max(float(np.linalg.norm(a - a.mean())), NOTHING)
        for a, b in zip(*logits, strict=True)
    ]
    maps = [1 - _alike(a, b) for a, b in zip(_map(reference), _map(other), strict=True)]
    return Drift(float(np.mean(change)), float(np.mean(maps)))


def _map(e: Explanation) -> NDArray[np.float32]:
    """Return the maps at the last layer that was asked for."""
    return list(e.maps.values())[-1]


def _alike(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    other = resized(b, size=(a.shape[0], a.shape[1])) if a.shape != b.shape else np.asarray(b, np.float64)
    return correlation(ranked(np.asarray(a, np.float64)), ranked(other))


def _classes(a: NDArray[np.float32], b: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the logits of the classes that both have: a background class more stands first."""
    flat = [np.asarray(s, np.float64).reshape(len(s), -1) for s in (a, b)]
    count = min(s.shape[1] for s in flat)
    return flat[0][:, -count:], flat[1][:, -count:]
