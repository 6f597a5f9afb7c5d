"""Small matrices along the axes of an array, such as those that resize: ``y = M_h x M_w^T``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = Any
"""An array, or a value of a graph."""

Matrix = NDArray[np.float64]

BLUR = 5 / 224
"""Deviation of the blur that takes a picture's place, as a share of its shorter side: 5 of 224, as RISE's authors."""


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


def gaussian(sigma: float) -> Matrix:
    """Return the weights of a Gaussian, cut at four times its standard deviation, in positions; their sum is 1."""
    radius = int(np.ceil(4 * sigma))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights: Matrix = taps / taps.sum()
    return weights


def mirrored(n: int, radius: int) -> NDArray[np.int64]:
    """Return the positions of a line of ``n`` with ``radius`` more at each end, mirrored there."""
    return np.pad(np.arange(n), radius, mode="symmetric")


def gaussian_matrix(n: int, *, sigma: float) -> Matrix:
    """Return the (n, n) matrix that smooths along an axis, which is mirrored at its ends."""
    taps = gaussian(sigma)
    places = mirrored(n, len(taps) // 2)
    matrix = np.zeros((n, n))
    for shift, tap in enumerate(taps):
        np.add.at(matrix, (np.arange(n), places[shift : shift + n]), tap)
    return matrix
