"""Coalitions: which parts of a picture are kept in a run, and what the runs' scores say of each part.

Every draw depends on the seed and its own number only, and on how many parts there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .sampling import generator

Floats = NDArray[np.float64]


def halves(parts: int, numbers: Sequence[int], *, seed: int) -> Floats:
    """Return coalitions (n, parts) of 0 and 1 as LIME draws them: each part kept or not alike; number 0 keeps all."""
    drawn = [generator(seed, m).integers(0, 2, parts) if m else np.ones(parts) for m in numbers]
    return np.asarray(drawn, np.float64).reshape(len(numbers), parts)


def cosine_kernel(kept: Floats, width: float) -> Floats:
    """Return the weight (n,) of each coalition, ``sqrt(exp(-d^2 / width^2))``, d its cosine distance from all parts."""
    near = np.sqrt(kept.mean(axis=1))
    return np.asarray(np.exp(-((1 - near) ** 2) / (2 * width**2)))


def ridge(kept: Floats, scores: Floats, weights: Floats, *, penalty: float = 1.0) -> Floats:
    """Return the coefficients (parts,) of ``sum w (y - c - z b)^2 + penalty |b|^2`` at its least, c free."""
    share = weights / weights.sum()
    z, y = kept - share @ kept, scores - share @ scores
    inner = z.T @ (weights[:, None] * z) + penalty * np.eye(kept.shape[1])
    return np.asarray(np.linalg.solve(inner, z.T @ (weights * y)))


def every(parts: int) -> tuple[Floats, Floats]:
    """Return all coalitions but the empty and the whole, (2^parts - 2, parts), and their Shapley kernel weights."""
    numbers = np.arange(1, 2**parts - 1)
    kept = ((numbers[:, None] >> np.arange(parts)) & 1).astype(np.float64)
    return kept, np.asarray([shapley_kernel(parts, int(k)) for k in kept.sum(axis=1)], np.float64)


def shapley_kernel(parts: int, size: int) -> float:
    """Return the weight of a coalition, ``(M - 1) / (binom(M, k) k (M - k))``."""
    return (parts - 1) / (math.comb(parts, size) * size * (parts - size))


def by_size(parts: int, numbers: Sequence[int], *, seed: int) -> Floats:
    """Return coalitions (n, parts) drawn as the Shapley kernel weighs them: a size, then any parts of that number."""
    sizes = np.arange(1, parts)
    chances = 1 / (sizes * (parts - sizes))
    kept = np.zeros((len(numbers), parts))
    for row, m in zip(kept, numbers, strict=True):
        rng = generator(seed, m)
        size = rng.choice(sizes, p=chances / chances.sum())
        row[rng.permutation(parts)[:size]] = 1
    return kept


def shapley_values(kept: Floats, scores: Floats, weights: Floats, *, none: float, whole: float) -> Any:
    """Return the values (parts,) of ``sum w (y - none - z v)^2`` at its least, ``sum v = whole - none``.

    The last part's value is what the others leave (Lundberg & Lee, 2017, arXiv:1705.07874).
    """
    root, total = np.sqrt(weights), whole - none
    last = kept[:, -1:]
    left = scores - none - last[:, 0] * total
    first, *_ = np.linalg.lstsq(root[:, None] * (kept[:, :-1] - last), root * left, rcond=None)
    return np.append(first, total - first.sum())
