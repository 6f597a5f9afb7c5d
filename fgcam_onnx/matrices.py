"""Small matrices along the axes of an array, such as those that resize: ``y = M_h x M_w^T``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = Any
"""An array, or a value of a graph."""

Matrix = NDArray[np.float64]


def along(x: Array, matrices: Mapping[int, Array]) -> Array:
    """Multiply axes of ``x``, counted from 0, by a matrix (new size, size) each, in the order given."""
    last = len(x.shape) - 1
    for axis, matrix in matrices.items():
        if axis == last:
            x = np.matmul(x, _turned(matrix))
        elif axis == last - 1:
            x = np.matmul(matrix, x)
        else:
            order = list(range(last + 1))
            order[axis], order[-2] = order[-2], order[axis]
            x = np.matmul(matrix, x.transpose(order)).transpose(order)
    return x


def _turned(matrix: Array) -> Array:
    turned = matrix.transpose([1, 0])
    return np.ascontiguousarray(turned) if isinstance(turned, np.ndarray) else turned


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
