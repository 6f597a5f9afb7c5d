"""Gradient CAMs as formulas: components per channel before the channel sum, signed, no ReLU.

``a`` are the activations, ``g`` the gradients of the score there, ``space`` the spatial axes. The small numbers
added to denominators are those of pytorch-grad-cam 1.5.7, so that raw maps are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graph.value import Array

Weighting = Callable[[Any, Any, Sequence[int]], Any]


def activations(a: Array, g: Array, space: Sequence[int]) -> Array:
    """Leave the channels unweighed."""
    return a


def grad_cam(a: Array, g: Array, space: Sequence[int]) -> Array:
    """Weigh each channel by its mean gradient (Selvaraju et al., 2017, arXiv:1610.02391)."""
    return np.mean(g, axis=tuple(space), keepdims=True) * a


def grad_cam_plus_plus(a: Array, g: Array, space: Sequence[int]) -> Array:
    """Weigh each channel by ``sum(alpha g+)``, ``alpha = g^2 / (2 g^2 + g^3 sum(a))``.

    Chattopadhay et al., 2018, arXiv:1710.11063, equation 19, where the score's exponential cancels.
    """
    squared = g * g
    total = np.sum(a, axis=tuple(space), keepdims=True)
    alpha = np.where(g != 0, squared / (2 * squared + total * (squared * g) + 1e-6), 0)
    return np.sum(np.maximum(g, 0) * alpha, axis=tuple(space), keepdims=True) * a


def hires_cam(a: Array, g: Array, space: Sequence[int]) -> Array:
    """Weigh each activation by its own gradient (Draelos & Carin, 2020, arXiv:2011.08891)."""
    return g * a


def grad_cam_element_wise(a: Array, g: Array, space: Sequence[int]) -> Array:
    """Keep the positive part of each activation times its gradient (pytorch-grad-cam)."""
    return np.maximum(g * a, 0)


def x_grad_cam(a: Array, g: Array, space: Sequence[int]) -> Array:
    """Weigh each channel by its gradients averaged with weights ``a / sum(a)`` (Fu et al., 2020, arXiv:2008.02312)."""
    total = np.sum(a, axis=tuple(space), keepdims=True)
    return np.sum(g * a / (total + 1e-7), axis=tuple(space), keepdims=True) * a


def layer_cam(a: Array, g: Array, space: Sequence[int]) -> Array:
    """Weigh each activation by its positive gradient (Jiang et al., 2021, doi:10.1109/TIP.2021.3089943)."""
    return np.maximum(g, 0) * a


def class_weights(a: Array, g: Array, space: Sequence[int]) -> Array:
    """Weigh each channel by its weight in a linear layer behind the average over space.

    There the gradient is that weight over the number of positions (Zhou et al., 2016, arXiv:1512.04150).
    """
    return np.sum(g, axis=tuple(space), keepdims=True) * a


def fem(a: Array, g: Array, space: Sequence[int]) -> Array:
    """Weigh each channel by its share of positions above mean + 2 standard deviations, whatever the class.

    Fuad et al., 2020, hal-02963298.
    """
    mean = np.mean(a, axis=tuple(space), keepdims=True)
    deviation = np.sqrt(np.mean((a - mean) * (a - mean), axis=tuple(space), keepdims=True))
    rare = (a > mean + 2 * deviation).astype(a.dtype)
    return np.mean(rare, axis=tuple(space), keepdims=True) * a
