"""Maps at another size, and smoothed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def resized(values: NDArray[Any], *, size: tuple[int, int]) -> NDArray[np.float64]:
    """Resize a map bilinearly with half-pixel centres, averaging where it becomes smaller.

    Parameters
    ----------
    values : ndarray, (h, w)
        Finite numbers of any range.
    size : (int, int)
        Height and width.

    Returns
    -------
    ndarray of float64, ``size``
    """
    numbers = np.asarray(values, np.float64)
    top = np.abs(numbers).max()
    if numbers.shape == size or top == 0:
        return numbers if numbers.shape == size else np.zeros(size)
    # Pillow resizes 32-bit floats, which hold a map of any range only once it is scaled.
    picture = Image.fromarray((numbers / top).astype(np.float32))
    bigger = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    result: NDArray[np.float64] = np.asarray(bigger, np.float64) * top
    return result


def gaussian(values: NDArray[np.float64], *, sigma: float) -> NDArray[np.float64]:
    """Smooth a map (h, w) with a Gaussian of standard deviation ``sigma`` pixels, mirrored at its edges."""
    if sigma <= 0:
        return values
    radius = max(1, round(4 * sigma))
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        length = values.shape[axis]
        padding = [(radius, radius) if axis == each else (0, 0) for each in (0, 1)]
        padded = np.moveaxis(np.pad(values, padding, mode="symmetric"), axis, 0)
        total = np.zeros((length, padded.shape[1]))
        for shift, weight in enumerate(weights):
            total += weight * padded[shift : shift + length]
        values = np.moveaxis(total, 0, axis)
    return values
