"""Non-negative factors of a matrix, by coordinate descent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ROUNDS = 200
TOLERANCE = 1e-4
"""Of what is left to descend, as a share of what there was."""


def factors(x: Floats, parts: int, *, seed: int = 0) -> tuple[Floats, Floats]:
    """Return W (n, parts) and H (parts, m), none of them negative, of a small ``|x - W H|^2``.

    Coordinate descent from random factors (Cichocki & Phan, 2009, doi:10.1587/transfun.E92.A.708), as scikit-learn's
    NMF has it with ``init="random"``.

    Parameters
    ----------
    x : ndarray of shape (n, m), not negative
    """
    rng = np.random.RandomState(seed)
    scale = np.sqrt(x.mean() / parts)
    h = np.abs(scale * rng.standard_normal((parts, x.shape[1])).astype(x.dtype))
    w = np.abs(scale * rng.standard_normal((x.shape[0], parts)).astype(x.dtype))
    turned, first = np.ascontiguousarray(h.T), 0.0
    for number in range(ROUNDS):
        left = _descended(w, turned, x) + _descended(turned, w, x.T)
        first = left if number == 0 else first
        if first == 0 or left / first <= TOLERANCE:
            break
    return w, turned.T


def _descended(w: Floats, h: Floats, x: Floats) -> float:
    """Set each column of ``w`` (n, parts) to its best for ``x`` (n, m), h (m, parts); return how far they had to go."""
    inner, outer = h.T @ h, x @ h
    total = 0.0
    for t in range(w.shape[1]):
        slope = w @ inner[:, t] - outer[:, t]
        total += float(np.abs(np.where(w[:, t] == 0, np.minimum(slope, 0), slope)).sum())
        if inner[t, t] != 0:
            w[:, t] = np.maximum(w[:, t] - slope / inner[t, t], 0)
    return total
