"""Gradient CAMs as formulas: components per channel before the channel sum, signed, no ReLU.

``a`` are the activations, ``g`` the gradients of the score there, ``space`` the spatial axes.
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
