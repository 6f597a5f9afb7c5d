"""Maps at the picture's size and in cells, and the order of their pixels."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from ..matrices import gaussian_matrix, resize_matrix

Floats = NDArray[np.float64]
Order = NDArray[np.int64]


def enlarged(values: NDArray[np.floating], *, size: tuple[int, int]) -> Floats:
    """Bring maps (..., h, w) to ``size`` bilinearly, with half-pixel centres."""
    if values.shape[-2:] == size:
        return values.astype(np.float64)
    rows, columns = (_stretch(n, wide) for n, wide in zip(values.shape[-2:], size, strict=True))
    return np.asarray(rows @ values @ columns.T, np.float64)


@functools.lru_cache(maxsize=64)
def _stretch(n: int, wide: int) -> Floats:
    return np.asarray(resize_matrix(n, wide), np.float64)


def cell_means(values: Floats, *, cells: int) -> Floats:
    """Return the means over cells of ``cells`` x ``cells`` positions of (..., H, W), cut at the end."""
    for axis in (-2, -1):
        length = values.shape[axis]
        starts = np.arange(0, length, cells)
        counts = np.diff(np.append(starts, length))
        sums = np.add.reduceat(values, starts, axis)
        values = sums / (counts[:, None] if axis == -2 else counts)
    return values


def spread(values: NDArray[np.generic], *, cells: int, size: tuple[int, int]) -> NDArray[np.generic]:
    """Give every position of ``size`` the value of its cell."""
    return values.repeat(cells, -2).repeat(cells, -1)[..., : size[0], : size[1]]


def descending(values: Floats, *, seed: int) -> Order:
    """Return the places of (h, w) values from the highest to the lowest.

    Equal ones come in the order of a smooth field that is drawn at random: where a map says nothing, masks made of its
    order neither lean to a side nor are dust.
    """
    falling = -values.reshape(-1)
    order = np.argsort(falling)
    ordered = falling[order]
    if (ordered[1:] != ordered[:-1]).all():
        return order
    drawn = _drawn((values.shape[0], values.shape[1]), seed)
    return drawn[np.argsort(falling[drawn], kind="stable")]


@functools.lru_cache(maxsize=4)
def _drawn(size: tuple[int, int], seed: int) -> Order:
    return np.argsort(-smooth_noise(size, seed=seed + 1).reshape(-1), kind="stable")


def smooth_noise(size: tuple[int, int], *, seed: int) -> Floats:
    """Return even noise of 7 x 7 cells, made smooth, at ``size``."""
    return enlarged(np.random.default_rng(seed).random((7, 7)), size=size)


@functools.lru_cache(maxsize=8)
def blurring(size: tuple[int, int], sigma: float) -> tuple[Floats, Floats]:
    """Return the matrices that blur a picture of ``size``, ``rows @ x @ columns.T``."""
    return gaussian_matrix(size[0], sigma=sigma), gaussian_matrix(size[1], sigma=sigma)
