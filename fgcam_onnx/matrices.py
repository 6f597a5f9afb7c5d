"""Resizing along one axis as a small matrix: ``y = M_h x M_w^T``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def resize_matrix(size: int, out: int, *, coordinates: str = "half_pixel") -> Matrix:
    """Return the (out, size) matrix that resizes one axis linearly, the edge repeated beyond it.

    ``coordinates`` are ``half_pixel``, sample centres at half steps, or ``align_corners``, ends on ends.
    """
    steps = np.arange(out)
    if coordinates == "align_corners":
        at = steps * ((size - 1) / max(1, out - 1))
    elif coordinates == "half_pixel":
        at = (steps + 0.5) * (size / out) - 0.5
    else:
        raise ValueError(f"unknown coordinates {coordinates!r}")
    distance: Matrix = np.abs(np.clip(at, 0, size - 1)[:, None] - np.arange(size))
    return 1 - np.minimum(distance, 1)
