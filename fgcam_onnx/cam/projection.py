"""CAMs as projections on a principal component: linear, and of a kernel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import LayerError

POSITIONS = 4096
"""Most positions of a layer for kernel PCA, whose matrix is positions x positions."""


def principal(components: NDArray[Any]) -> NDArray[np.float32]:
    """Return each channel's part in the projection on the first principal component over the positions.

    With X the positions x channels matrix, centred per channel, and v its first right singular vector (found as
    an eigenvector of the smaller of X'X and XX'), the part of channel c is ``X[:, c] * v[c]``; their sum is the
    projection ``X v``. A singular vector's sign is arbitrary: here it is the one in which the projection
    correlates positively with the sum of the channels, and where that is 0, the one in which the position of
    largest magnitude is positive.

    Muhammad & Yeasin, 2020, arXiv:2008.00299, with the centring of pytorch-grad-cam.

    Parameters
    ----------
    components : ndarray of shape (N, C, ...)

    Returns
    -------
    ndarray of that shape, which sums to 0 over the positions
    """
    parts = np.empty((*components.shape[:2], math.prod(components.shape[2:])))
    for part, image in zip(parts, components.reshape(parts.shape).astype(np.float64), strict=True):
        centred = image - image.mean(axis=1, keepdims=True)
        if len(image) <= image.shape[1]:
            direction = _leading(centred @ centred.T)[1]
        else:
            direction = centred @ _leading(centred.T @ centred)[1]
            direction /= np.linalg.norm(direction) or 1.0
        projection = direction @ centred
        part[:] = _sign(projection, centred.sum(axis=0)) * direction[:, None] * centred
    return np.asarray(parts.reshape(components.shape), np.float32)


def _sign(projection: NDArray[np.float64], like: NDArray[np.float64]) -> float:
    """Return the sign that makes ``projection`` point as ``like`` does, else its largest element positive."""
    agreement = projection @ like
    if abs(agreement) > 1e-9 * np.linalg.norm(projection) * np.linalg.norm(like):
        return 1.0 if agreement > 0 else -1.0
    return 1.0 if projection[np.argmax(np.abs(projection))] >= 0 else -1.0


def kernel_principal(activations: NDArray[Any]) -> NDArray[np.float32]:
    """Return the projection on the first component of kernel PCA over the positions, one map an image.

    The kernel is ``tanh(x.y / C + 1)`` of positions' channels, centred per channel, as scikit-learn's "sigmoid"
    with its defaults; the kernel matrix is centred, and its leading eigenvector scaled by the root of its
    eigenvalue. The sign is the one in which the position of largest magnitude is positive.

    Karmani et al., 2024, arXiv:2410.00267.

    Parameters
    ----------
    activations : ndarray of shape (N, C, ...)

    Returns
    -------
    ndarray of shape (N, 1, ...)

    Raises
    ------
    LayerError
        The layer has more than 4096 positions.
    """
    count, channels, *size = activations.shape
    positions = math.prod(size)
    if positions > POSITIONS:
        raise LayerError(
            f"kpcacam compares every two positions: a layer of {' x '.join(map(str, size))} is too large "
            f"(at most {POSITIONS} positions). Choose a deeper layer."
        )
    maps = np.zeros((count, positions))
    for i, image in enumerate(activations.reshape(count, channels, positions).astype(np.float64)):
        centred = (image - image.mean(axis=1, keepdims=True)).T
        kernel = np.tanh(centred @ centred.T / channels + 1)
        kernel = kernel - kernel.mean(axis=0) - kernel.mean(axis=1, keepdims=True) + kernel.mean()
        value, vector = _leading(kernel)
        maps[i] = vector * np.sqrt(max(value, 0.0)) * np.sign(vector[np.argmax(np.abs(vector))])
    return np.asarray(maps.reshape(count, 1, *size), np.float32)


def _leading(matrix: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Return the largest eigenvalue of a symmetric matrix and its vector; Lanczos' method where it is large."""
    size = len(matrix)
    if size <= 256:
        values, vectors = np.linalg.eigh(matrix)
        return float(values[-1]), vectors[:, -1]
    basis = np.zeros((0, size))
    step = matrix @ np.random.default_rng(0).standard_normal(size)
    value = 0.0
    for steps in range(1, min(size, 200) + 1):
        step -= (basis @ step) @ basis
        step -= (basis @ step) @ basis
        length = np.linalg.norm(step)
        if length <= 1e-12 * max(value, 1.0):
            break
        basis = np.concatenate([basis, step[None] / length])
        step = matrix @ basis[-1]
        if steps % 10 == 0:
            values, vectors = np.linalg.eigh(basis @ matrix @ basis.T)
            value, vector = float(values[-1]), vectors[:, -1] @ basis
            if np.linalg.norm(matrix @ vector - value * vector) <= 1e-9 * value:
                return value, vector
    values, vectors = np.linalg.eigh(basis @ matrix @ basis.T)
    return float(values[-1]), vectors[:, -1] @ basis
