"""Maps of several layers made one: each scaled to [0, 1], brought to one size, and combined."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import OptionError, check_known
from ..graph.value import Array
from ..matrices import resize_matrix

FUSIONS: dict[str, Callable[[Array, Array], Array]] = {
    "mean": lambda a, b: a + b,
    "max": lambda a, b: np.maximum(a, b),
    "product": lambda a, b: a * b,
}
"""How two maps are combined; the scale of the result does not matter, it is scaled to [0, 1]."""


def scaled(maps: Array) -> Array:
    """Return the positive part of each map of (N, h, w), its lowest value taken off, over its largest.

    A map that is constant there is 0.
    """
    positive = np.maximum(maps, 0)
    raised = positive - positive.min(axis=(1, 2), keepdims=True)
    top = raised.max(axis=(1, 2), keepdims=True)
    return raised / np.where(top > 0, top, 1)


def resized(maps: Array, size: tuple[int, int]) -> Array:
    """Return maps of (N, h, w) at ``size``, bilinear with half-pixel centres, not smoothed where smaller."""
    height, width = maps.shape[1:]
    if (height, width) == tuple(size):
        return maps
    rows = resize_matrix(height, size[0]).astype(np.float32)
    columns = resize_matrix(width, size[1]).astype(np.float32)
    return np.matmul(np.matmul(rows, maps), columns.T.copy())


def check_fusion(how: str) -> None:
    """Check the name of a fusion.

    Raises
    ------
    OptionError
        No such fusion; names the near ones.
    """
    check_known("fusion", how, FUSIONS)


def fuse(maps: Sequence[Array], how: str, *, size: tuple[int, int]) -> Array:
    """Return one map of (N, H, W) in [0, 1] from several of (N, h, w).

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
