"""Gradient-free weightings as formulas: masks made of activations, and weights made of the scores under them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph.value import Array
from ..matrices import along, resize_matrix

Progress = Callable[[int, int], None]
Floats = NDArray[np.float32]


def softmax(scores: Floats, axis: int = 1) -> Floats:
    """Return probabilities of logits, those along ``axis`` adding up to 1."""
    raised = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return np.asarray(raised / raised.sum(axis=axis, keepdims=True), np.float32)


def upsampling(size: tuple[int, ...], wide: tuple[int, ...], *, coordinates: str = "half_pixel") -> tuple[Floats, ...]:
    """Return the matrices, one for each axis, that bring maps of ``size`` to ``wide`` linearly."""
    return tuple(
        resize_matrix(n, w, coordinates=coordinates).astype(np.float32) for n, w in zip(size, wide, strict=True)
    )


def upsampled(maps: Array, ways: Sequence[Array]) -> Array:
    """Return maps of which the last axes are multiplied by a matrix (new size, size) each."""
    first = len(maps.shape) - len(ways)
    return along(maps, dict(enumerate(ways, first)))


def stretched(maps: Array, space: tuple[int, ...]) -> Array:
    """Bring each map over the axes ``space`` to 0 to 1; one that is constant becomes 0."""
    low, high = maps.min(space, keepdims=True), maps.max(space, keepdims=True)
    return (maps - low) / np.where(high == low, 1, high - low)


def without_constant(maps: Array, space: tuple[int, ...]) -> Array:
    """Return maps over the axes ``space``, those that are constant as zeros."""
    low, high = maps.min(space, keepdims=True), maps.max(space, keepdims=True)
    return np.where(high == low, np.float32(0), maps)


@dataclass(frozen=True)
class Live:
    """The channels that need a run of their own: all that vary over space, and one for those that do not.

    Attributes
    ----------
    maps : ndarray of shape (n, ...)
        The channels that are run, a constant one as zeros.
    place : ndarray of shape (C,)
        Which of them stands for each channel.
    """

    maps: Floats
    place: NDArray[np.int64]

    @property
    def space(self) -> tuple[int, ...]:
        """The axes of a map."""
        return tuple(range(1, self.maps.ndim))

    def spread(self, found: NDArray[Any]) -> NDArray[Any]:
        """Return (n, ...) values of the runs as (C, ...) values of the channels."""
        return found[self.place]


def live_channels(activations: Floats) -> Live:
    """Return the channels of (C, ...) ``activations`` whose masks differ: constant ones all make the same."""
    varies = np.ptp(activations, axis=tuple(range(1, activations.ndim))) != 0
    place = np.where(varies, np.cumsum(varies) - 1, varies.sum())
    maps = activations[varies]
    return Live(maps if varies.all() else np.concatenate([maps, np.zeros_like(activations[:1])]), place)


def softmax_over_channels(scores: Floats) -> Floats:
    """Weigh channels as Score-CAM does (Wang et al., 2020, arXiv:1910.01279): a softmax of their scores (C,).

    The published difference from the score of a baseline is the same for all channels, and a softmax does not
    see it.
    """
    return np.asarray(softmax(scores[None])[0], np.float32)


def drop(scores: Array, whole: Array) -> Array:
    """Weigh channels by the share of the score that is lost without them, ``(y - y_k) / y``.

    Ablation-CAM (Desai & Ramaswamy, 2020, doi:10.1109/WACV45572.2020.9093360).
    """
    return (whole - scores) / whole


def neighbourhood(size: int, *, gaussian: bool) -> Floats:
    """Return the (size, size) matrix whose row i says how much of each place along an axis is kept at place i.

    With ``gaussian`` 1/4, 1/2, 1/4 around i: the product over two axes is the 3 x 3 kernel of Recipro-CAM
    (Byun & Lee, 2022, arXiv:2209.14074). Without, or on an axis of one place, only i itself.
    """
    near = np.eye(size, k=-1) + np.eye(size, k=1)
    return np.asarray(np.eye(size) / 2 + near / 4 if gaussian and size > 1 else np.eye(size), np.float32)
