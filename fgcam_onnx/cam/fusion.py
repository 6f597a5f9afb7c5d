"""Maps of several layers made one: each scaled to [0, 1], brought to one size, and combined."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import OptionError, check_known
from ..graph.value import Array
from ..matrices import along, resize_matrix

FUSIONS: dict[str, Callable[[Array, Array], Array]] = {
    "mean": lambda a, b: a + b,
    "max": lambda a, b: np.maximum(a, b),
    "product": lambda a, b: a * b,
}
"""How two maps are combined; the scale of the result does not matter, it is scaled to [0, 1]."""


def scaled(maps: Array) -> Array:
    """Return the positive part of each map of (N, ...), its lowest value taken off, over its largest.

    A map that is constant there is 0.
    """
    space = tuple(range(1, len(maps.shape)))
    positive = np.maximum(maps, 0)
    raised = positive - positive.min(axis=space, keepdims=True)
    top = raised.max(axis=space, keepdims=True)
    return raised / np.where(top > 0, top, 1)


def resized(maps: Array, size: tuple[int, ...]) -> Array:
    """Return maps of (N, ...) at ``size``, linear along each axis with half-pixel centres, not smoothed where smaller.

    Raises
    ------
    OptionError
        The size is of another number of axes.
    """
    own = maps.shape[1:]
    if tuple(own) == tuple(size):
        return maps
    if len(own) != len(size):
        told = [" x ".join(map(str, s)) for s in (own, size)]
        raise OptionError(f"maps of {told[0]} positions cannot be brought to {told[1]}: they have other axes")
    ways = [resize_matrix(n, wide).astype(np.float32) for n, wide in zip(own, size, strict=True)]
    return along(maps, dict(enumerate(ways, 1)))


def check_fusion(how: str) -> None:
    """Check the name of a fusion.

    Raises
    ------
    OptionError
        No such fusion; names the near ones.
    """
    check_known("fusion", how, FUSIONS)


def fuse(maps: Sequence[Array], how: str, *, size: tuple[int, ...]) -> Array:
    """Return one map of (N, *size) in [0, 1] from several of (N, ...).

    Each map's positive part is scaled to [0, 1] for each image and resized to ``size``; they are combined, and
    the result is scaled again. For a product each resized map is scaled once more, as RefineCAM has it in
    pytorch-grad-cam.

    Raises
    ------
    OptionError
        No such fusion, or a size that is not positive.
    """
    check_fusion(how)
    if min(size) < 1:
        raise OptionError(f"the size of a fused map must be positive, not {tuple(size)}")
    wide = [resized(scaled(m), size) for m in maps]
    return scaled(functools.reduce(FUSIONS[how], [scaled(m) for m in wide] if how == "product" else wide))
