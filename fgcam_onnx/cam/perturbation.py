"""Gradient-free weightings: run the model on masked inputs and read the target's score."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..matrices import resize_matrix

Scores = Callable[[NDArray[np.float32]], NDArray[np.float32]]
Progress = Callable[[int, int], None]


def softmax(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return probabilities of (N, K) logits."""
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)


def masks_of(activations: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return each channel upsampled bilinearly (half-pixel) and min-max normalised; a constant one is 0.

    Parameters
    ----------
    activations : ndarray of shape (C, h, w)
    size : (H, W)

    Returns
    -------
    ndarray of shape (C, H, W), values in [0, 1]
    """
    height, width = activations.shape[1:]
    rows = resize_matrix(height, size[0], scale=size[0] / height, mode="linear").astype(np.float32)
    columns = resize_matrix(width, size[1], scale=size[1] / width, mode="linear").astype(np.float32)
    wide = rows @ activations @ columns.T
    low, high = wide.min(axis=(1, 2), keepdims=True), wide.max(axis=(1, 2), keepdims=True)
    flat = np.ptp(activations, axis=(1, 2), keepdims=True) == 0
    span = np.where(flat | (high == low), 1, high - low)
    return np.where(flat, 0, (wide - low) / span)


def score_cam_weights(
    x: NDArray[np.float32],
    activations: NDArray[np.float32],
    seed: NDArray[np.float32],
    *,
    scores: Scores,
    channel_axis: int = 1,
    batch: int = 16,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Return each channel's weight: the target's probability on the input under the channel's mask.

    Score-CAM (Wang et al., 2020, arXiv:1910.01279) as FG-CAM uses it: no baseline is subtracted. Channels
    that are constant share one run, on an input of zeros.

    Parameters
    ----------
    x : ndarray of shape (C', H, W), or (H, W, C') with ``channel_axis`` 3
    activations : ndarray of shape (C, h, w)
    seed : ndarray of shape (K,)
        Weight of each class; one-hot for one class.
    scores : callable
        Takes (n, ...) inputs like ``x``, returns (n, K) logits.

    Returns
    -------
    ndarray of shape (C,), values in [0, 1]
    """
    space = tuple(a - 1 for a in (1, 2, 3) if a != channel_axis)
    weights = np.zeros(len(activations), np.float32)
    live = np.flatnonzero(np.ptp(activations, axis=(1, 2)))
    if len(live) < len(activations):
        blank = np.setdiff1d(np.arange(len(activations)), live)
        weights[blank] = (softmax(scores(np.zeros_like(x)[None])) @ seed)[0]
    size = (x.shape[space[0]], x.shape[space[1]])
    for start in range(0, len(live), batch):
        chosen = live[start : start + batch]
        masks = np.expand_dims(masks_of(activations[chosen], size), channel_axis)
        weights[chosen] = softmax(scores((x[None] * masks).astype(x.dtype))) @ seed
        if progress is not None:
            progress(min(start + batch, len(live)), len(live))
    return weights
