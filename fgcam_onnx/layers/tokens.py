"""Tokens: sequences that are a flattened grid, and tokens beside it that are not (class, register, distillation)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..graph.shapes import Dim, Shape
from ..graph.value import Array, Value
from .movement import NOWHERE, Labels
from .places import Places, constant_along


@dataclass(frozen=True)
class Grid:
    """How the tokens of a tensor (N, T, C), or (N, C, T), lie in the picture.

    Attributes
    ----------
    before, after : int
        Tokens in front of the grid and behind it that are not part of it.
    size : tuple of int
        Size of the grid along each of its axes, such as height and width; the last runs fastest.
    axis : {1, 2}
        The axis of the tokens.
    """

    before: int
    after: int
    size: tuple[int, ...]
    axis: int = 1

    @property
    def count(self) -> int:
        """How many tokens are part of it."""
        return math.prod(self.size)

    @property
    def extra(self) -> int:
        """How many tokens are not part of the grid."""
        return self.before + self.after

    def folded_shape(self, shape: Shape) -> tuple[Dim, ...]:
        """Return the shape (N, *size, C) of a tensor of ``shape`` when it is folded."""
        return (shape[0], *self.size, shape[3 - self.axis])

    def fold(self, v: Array) -> Array:
        """Return the tokens of ``v`` as a picture (N, *size, C), those beside the grid dropped."""
        if self.axis == 2:
            v = v.transpose((0, 2, 1))
        if self.extra:
            v = _between(v, self.before, self.before + self.count)
        batch = v.shape[0] if not isinstance(v, Value) or isinstance(v.shape[0], int) else None
        return v.reshape((batch, *self.size, v.shape[2]))

    def unfold(self, v: Array) -> Array:
        """Return a picture (N, *size, C) as tokens in their axes, 0 beside the grid."""
        batch = v.shape[0] if not isinstance(v, Value) or isinstance(v.shape[0], int) else None
        v = v.reshape((batch, self.count, v.shape[-1]))
        if self.extra:
            v = _padded(v, self.before, self.after)
        return v.transpose((0, 2, 1)) if self.axis == 2 else v


def _between(v: Array, start: int, stop: int) -> Array:
    """Return the tokens ``start`` to ``stop`` of ``v`` (N, T, C)."""
    if not isinstance(v, Value):
        return v[:, start:stop]
    ints = v.emitter.ints
    return v.emitter.emit("Slice", v, ints([start]), ints([stop]), ints([1]))


def _padded(v: Array, before: int, after: int) -> Array:
    """Return ``v`` (N, T, C) with tokens of 0 around it."""
    if not isinstance(v, Value):
        return np.pad(v, ((0, 0), (before, after), (0, 0)))
    return v.emitter.emit("Pad", v, v.emitter.ints([0, before, 0, 0, after, 0]))


def grid_of(places: Places, *, batch: int) -> Grid | None:
    """Return how a tensor of rank 3 with ``places`` is a sequence of tokens; None where it is not one."""
    at = places.at
    if at.ndim != 3 or at.shape[0] != batch:
        return None
    for axis in (1, 2):
        other = 3 - axis
        if at.shape[axis] < 2 or not _same(at, (0, other)):
            continue
        tokens = np.moveaxis(at[0], other - 1, 0)[0]
        inside = np.flatnonzero(tokens != NOWHERE)
        if len(inside) < 2 or inside[-1] - inside[0] + 1 != len(inside):
            continue
        size = lattice(places, tokens[inside])
        if size is not None:
            return Grid(int(inside[0]), len(tokens) - 1 - int(inside[-1]), size, axis)
    return None


def lattice(places: Places, at: Labels) -> tuple[int, ...] | None:
    """Return the size of labels that are the grid, or every n-th row and column of it, in order."""
    lines = [np.flatnonzero(np.bincount(along)).astype(np.int32) for along in places.along(at)]
    if math.prod(map(len, lines)) != at.size:
        return None
    whole = lines[0]
    for line, side in zip(lines[1:], places.size[1:], strict=True):
        whole = np.add.outer(whole * side, line)
    if not np.array_equal(at, whole.ravel()):
        return None
    even = all(_even(line, side) for line, side in zip(lines, places.size, strict=True))
    return tuple(map(len, lines)) if even else None


def _even(positions: Labels, size: int) -> bool:
    """Tell whether positions are spread evenly over all of ``size``."""
    step = -(-size // len(positions))
    return bool((np.diff(positions) == step).all()) and int(positions[0]) < step and size - positions[-1] <= step


def grid_given(length: int, size: tuple[int, ...]) -> Grid | None:
    """Return a grid of ``size`` in a sequence, all other tokens in front; None where they would be the larger part."""
    count = math.prod(size)
    return Grid(length - count, 0, size) if count <= length < 2 * count else None


def picture_axis(places: Places, *, batch: int) -> int | None:
    """Return the channel axis of a tensor that is a picture by its ``places``; None where it is none.

    Channels come first or last, or behind the frames of a video, (N, T, C, H, W).
    """
    at = places.at
    if at.ndim != len(places.size) + 2 or at.shape[0] != batch:
        return None
    for axis in (1, 2, 4) if at.ndim == 5 else (1, at.ndim - 1):
        if _same(at, (0, axis)):
            picture = np.moveaxis(at[0], axis - 1, 0)[0]
            if (picture != NOWHERE).all() and lattice(places, picture.ravel()) == picture.shape:
                return axis
    return None


def shows_picture(places: Places, channel_axis: int, *, batch: int) -> bool:
    """Tell whether a tensor may have its channels at ``channel_axis``: places rise along the other axes."""
    at = places.at
    if at.ndim != len(places.size) + 2 or at.shape[0] != batch or not constant_along(at, channel_axis):
        return False
    picture = np.moveaxis(at[0], channel_axis - 1, 0)[0]
    nowhere = picture == NOWHERE
    return all(_rises(along, axis, nowhere) for axis, along in enumerate(places.along(picture)))


def _rises(position: Labels, axis: int, nowhere: NDArray[np.bool_]) -> bool:
    """Tell whether a coordinate is one number across ``axis``, and rises along it, what is nowhere aside."""
    across = tuple(a for a in range(nowhere.ndim) if a != axis)
    rows = ~nowhere.all(axis=across)
    most = np.where(nowhere, NOWHERE, position).max(axis=across)[rows]
    least = np.where(nowhere, np.iinfo(np.int32).max, position).min(axis=across)[rows]
    return bool((most == least).all()) and bool((np.diff(most) > 0).all())


def _same(at: Labels, axes: Sequence[int]) -> bool:
    """Tell whether labels are the same all along ``axes``."""
    return all(constant_along(at, a) for a in axes)
