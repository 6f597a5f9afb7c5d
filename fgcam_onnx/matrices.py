"""Averaging and resizing along one axis, as small matrices: ``y = M_h x M_w^T``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import FgcamError

Matrix = NDArray[np.float64]

LARGEST = 2**26
"""Most elements of a matrix: an axis of 8192 in and out."""


def _check_room(rows: int, columns: int) -> None:
    if rows * columns > LARGEST:
        raise FgcamError(f"an axis of {columns} elements averaged or resized to {rows} is too long to invert")


def average_matrix(
    size: int, out: int, *, kernel: int, stride: int, dilation: int, pad: tuple[int, int], include_pad: bool
) -> Matrix:
    """Return the (out, size) matrix of a one-dimensional average pool."""
    _check_room(out, size + kernel)
    matrix = np.zeros((out, size))
    for o in range(out):
        window = [o * stride - pad[0] + k * dilation for k in range(kernel)]
        inside = [i for i in window if 0 <= i < size]
        counted = [i for i in window if -pad[0] <= i < size + pad[1]] if include_pad else inside
        for i in inside:
            matrix[o, i] = 1 / len(counted)
    return matrix


def resize_matrix(
    size: int,
    out: int,
    *,
    scale: float,
    mode: str,
    coordinates: str = "half_pixel",
    nearest: str = "round_prefer_floor",
    cubic_a: float = -0.75,
    exclude_outside: bool = False,
    antialias: bool = False,
    roi: tuple[float, float] = (0.0, 1.0),
    extrapolate: bool = False,
) -> Matrix:
    """Return the (out, size) matrix of ONNX Resize along one axis.

    Raises
    ------
    KeyError
        For a coordinate mode that the ONNX specification does not name.
    """
    _check_room(out, size)
    # runtimes place samples in float32, which decides between neighbours where the nearest one is meant
    o: NDArray[np.floating[Any]] = np.arange(out).astype(np.float32 if mode == "nearest" else np.float64)
    length = scale * size
    span = (roi[1] - roi[0]) * (size - 1)
    aligned = o * (size - 1) / (length - 1) if length > 1 else np.zeros(out)
    cropped = (
        roi[0] * (size - 1) + o * (span / (length - 1)) if length > 1 else 0.5 * (roi[0] + roi[1]) * (size - 1) + 0 * o
    )
    symmetric = size / 2 * (1 - out / length) + (o + 0.5) / scale - 0.5
    where = {
        "half_pixel": (o + 0.5) / scale - 0.5,
        "half_pixel_symmetric": symmetric,
        "pytorch_half_pixel": (o + 0.5) / scale - 0.5 if length > 1 else 0 * o,
        "align_corners": aligned,
        "asymmetric": o / scale,
        "tf_half_pixel_for_nn": (o + 0.5) / scale,
        "tf_crop_and_resize": cropped,
    }[coordinates]
    matrix = np.zeros((out, size))
    stretch = min(scale, 1.0) if antialias else 1.0
    for row, x in enumerate(where):
        if coordinates == "tf_crop_and_resize" and extrapolate and not 0 <= x <= size - 1:
            continue
        taps, weights = _taps(x, mode, nearest, cubic_a, stretch, size if antialias else None)
        if exclude_outside:
            inside = (taps >= 0) & (taps < size)
            weights = np.where(inside, weights, 0) / weights[inside].sum()
        np.add.at(matrix[row], np.clip(taps, 0, size - 1), weights)
    return matrix


def _taps(
    x: float, mode: str, nearest: str, a: float, stretch: float, antialias_size: int | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return which samples enter at position ``x``, and with what weights."""
    if mode == "nearest":
        return np.array([_nearest(x, nearest)]), np.ones(1)
    reach = 1 if mode == "linear" else 2
    half = int(np.ceil(reach / stretch))
    base = int(np.floor(x))
    taps = np.arange(base - half + 1, base + half + 1)
    distance = np.abs(taps - x) * stretch
    weights = np.maximum(0, 1 - distance) if mode == "linear" else _cubic(distance, a)
    return taps, weights / weights.sum() if antialias_size is not None else weights


def _nearest(x: float, how: str) -> int:
    return int(
        {
            "round_prefer_floor": np.ceil(x - 0.5),
            "round_prefer_ceil": np.floor(x + 0.5),
            "floor": np.floor(x),
            "ceil": np.ceil(x),
        }[how]
    )


def _cubic(d: NDArray[np.float64], a: float) -> NDArray[np.float64]:
    """Return Keys' cubic kernel (1981, doi:10.1109/TASSP.1981.1163711)."""
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))
