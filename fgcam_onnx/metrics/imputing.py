"""Pixels imputed from those around them, so that what is missing does not show by its edge."""

from __future__ import annotations

import numpy as np

from .case import Bools
from .grids import Floats, cell_means, spread

DIRECT, DIAGONAL = 1 / 6, 1 / 12
TOLERANCE = 1e-4
"""Largest residual, as a share of the picture's deviation; what is left of it is below the noise that is added."""

MOST = 400
COARSEST = 4
DAMPING = 0.8


def imputed(x: Floats, missing: Bools, *, seed: int, noise: float = 0.01) -> Floats:
    """Replace missing pixels by noisy linear imputation (Rong et al., 2022, arXiv:2202.00449).

    Each missing pixel is the mean of its eight neighbours, those at the sides weighing twice those at the corners;
    the equations of all are solved together, and normal noise is added.

    Parameters
    ----------
    x : ndarray of shape (C, H, W)
    missing : ndarray of bool, (H, W)
        Not all.
    seed : int
        Of the noise.
    noise : float
        Its standard deviation, in units of ``x``.
    """
    drawn = np.random.default_rng(seed).standard_normal(x.shape) * noise
    return np.asarray(np.where(missing, _filled(x.astype(np.float64), missing) + drawn, x), x.dtype)


def _filled(x: Floats, missing: Bools) -> Floats:
    """Solve ``total u = neighbours(u)`` at the missing pixels by conjugate gradients, all channels at once."""
    if not missing.any():
        return x
    total = _neighbours(np.ones((1, *missing.shape)))
    known = x[:, ~missing]
    found = np.where(missing, known.mean(1)[:, None, None], x)
    left = (_neighbours(found) - total * found) * missing
    step = scaled = _smoothed(left, missing)
    power = _dot(left, scaled)
    for _ in range(MOST):
        if np.abs(left).max() <= TOLERANCE * known.std():
            break
        image = (total * step - _neighbours(step)) * missing
        along = _dot(step, image)
        length = power / np.where(along > 0, along, 1)
        found = found + length * step
        left = left - length * image
        scaled = _smoothed(left, missing)
        before, power = power, _dot(left, scaled)
        step = scaled + power / np.where(before > 0, before, 1) * step
    return found


def _smoothed(left: Floats, missing: Bools) -> Floats:
    """Return about what solves the equations for a residual: a smoothing step, the same at half the size, another."""
    total = _neighbours(np.ones((1, *missing.shape))) / DAMPING
    found = left / total
    coarse = cell_means(missing.astype(np.float64), cells=2) == 1
    if min(missing.shape) > COARSEST and coarse.any():
        rest = (left - total * DAMPING * found + _neighbours(found)) * missing
        half = _smoothed(4 * cell_means(rest, cells=2) * coarse, coarse)
        found = found + np.asarray(spread(half, cells=2, size=(missing.shape[0], missing.shape[1]))) * missing
    return found + (left - total * DAMPING * found + _neighbours(found)) * missing / total


def _dot(a: Floats, b: Floats) -> Floats:
    return np.asarray((a * b).sum((1, 2), keepdims=True))


def _neighbours(x: Floats) -> Floats:
    """Return the weighted sum of the eight neighbours of each pixel of (C, H, W); none beyond the edge."""
    wide = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    sides = DIAGONAL * (wide[:, :, :-2] + wide[:, :, 2:])
    rows = sides + DIRECT * wide[:, :, 1:-1]
    return np.asarray(rows[:, :-2] + rows[:, 2:] + 2 * sides[:, 1:-1])
