"""Finer-CAM's score: a class against the ones most like it."""

from __future__ import annotations

import numpy as np

from ..graph.value import Array


def finer_gradient(scores: Array, weights: Array, similar: Array) -> Array:
    """Return the gradient of ``sum_i q_i (z - z_i)`` by the logits, ``q`` the softmax of the similar classes' logits.

    Zhang et al., 2025, arXiv:2501.11309; the gradient flows through ``q``, as in pytorch-grad-cam. That
    package divides probabilities by their sum + 1e-9; here ``q`` is taken over the similar classes alone,
    which is the same without the 1e-9.

    Parameters
    ----------
    scores, weights : array of shape (N, K)
        The logits, and how much each counts for the class explained (``z`` is their sum): one-hot.
    similar : array of shape (N, K)
        1 for the classes it is compared with, 0 for the others.

    Returns
    -------
    array of shape (N, K)
    """
    top = np.where(similar > 0, scores, -np.inf).max(axis=1, keepdims=True)
    raised = np.exp(np.minimum(scores - top, 0)) * similar
    q = raised / raised.sum(axis=1, keepdims=True)
    z = (weights * scores).sum(axis=1, keepdims=True)
    difference = z - scores
    mean = (q * difference).sum(axis=1, keepdims=True)
    return weights - q + q * (difference - mean)
