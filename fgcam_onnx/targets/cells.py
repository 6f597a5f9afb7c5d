"""Cells: the places of a detector's grids over the input, and boxes that are written by them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import TargetError

Floats = NDArray[np.float64]

GRIDS = ((8, 16, 32), (8, 16, 32, 64), (8, 16, 32, 64, 128), (16, 32), (4, 8, 16, 32), (8,), (16,), (32,), (4,))
"""Strides of grids that are joined, the finest first; those that the number of boxes fits are taken."""

BY_CELL = ("anchors", "exp", "grid", "ltrb")
"""How boxes are written by the cells that they belong to."""

ANCHORED = ("anchors", "exp")


@dataclass(frozen=True)
class Form:
    """How boxes are written: a name, and the anchors' widths and heights in pixels where it takes some."""

    name: str
    anchors: tuple[tuple[float, float], ...] = ()


class Cells(NamedTuple):
    """The cell of each box: column, row, width and height in pixels, and which of the cell's boxes it is."""

    x: Floats
    y: Floats
    across: Floats
    down: Floats
    which: NDArray[np.int64]


def form_of(text: str) -> Form:
    """Return the form that ``text`` names; ``anchors:W,H,…`` and ``exp:W,H,…`` have sizes of anchors.

    Raises
    ------
    TargetError
        The sizes are no pairs of positive numbers.
    """
    name, colon, rest = text.partition(":")
    if not colon or name not in ANCHORED:
        return Form(text)
    try:
        sizes = [float(v) for v in rest.split(",")]
    except ValueError:
        sizes = []
    if not sizes or len(sizes) % 2 or not all(math.isfinite(v) and v > 0 for v in sizes):
        raise TargetError(f"{text!r}: write {name}:W,H,W,H,…, a width and a height in pixels for each box of a cell")
    return Form(name, tuple(zip(sizes[::2], sizes[1::2], strict=True)))


def cells_of(count: int, size: tuple[int, int], *, grid: tuple[int, int] | None, anchors: int = 1) -> Cells:
    """Return the cells of ``count`` boxes on an input of ``size``: of one grid, or of joined ones by their number.

    Raises
    ------
    TargetError
        No grids have as many cells.
    """
    if grid is not None:
        parts = [_cells(grid, (size[1] / grid[1], size[0] / grid[0]))] * anchors
        which = np.repeat(np.arange(anchors), grid[0] * grid[1])
        x, y, across, down = np.concatenate(parts, 1)
        return Cells(x, y, across, down, which)
    for strides in GRIDS:
        for rounded in (math.floor, math.ceil):
            grids = [(rounded(size[0] / s), rounded(size[1] / s)) for s in strides]
            if sum(h * w for h, w in grids) == count:
                made = [_cells(g, (s, s)) for g, s in zip(grids, strides, strict=True)]
                x, y, across, down = np.concatenate(made, 1)
                return Cells(x, y, across, down, np.zeros(count, np.int64))
    raise TargetError(
        f"{count} boxes are not the cells of grids with strides 8, 16 and 32, or the like, on {size[0]} x {size[1]}"
    )


def _cells(grid: tuple[int, int], stride: tuple[float, float]) -> Floats:
    y, x = np.mgrid[: grid[0], : grid[1]].astype(np.float64)
    whole = np.ones(x.size)
    return np.stack([x.ravel(), y.ravel(), whole * stride[0], whole * stride[1]])


def from_cells(given: Floats, cells: Cells, form: Form) -> Floats:
    """Return x0, y0, x1, y1 in pixels of boxes (n, 4), or (n, 4 k) of distributions, that are written by their cells.

    - ``grid``: the centre from the cell's corner, in cells, and logarithms of width and height in cells (YOLOX;
      Ge et al., 2021, arXiv:2107.08430).
    - ``ltrb``: distances from the cell's centre to left, top, right and bottom, in cells; of 4 k numbers each
      distance is the mean of 0 to k - 1 under a softmax (Li et al., 2020, arXiv:2006.04388).
    - ``anchors``: sigmoids t of all four; the centre is 2 t - 0.5 from the corner, in cells, the size (2 t)² anchors
      (YOLOv5 and YOLOv7).
    - ``exp``: the centre by sigmoids from the corner, in cells, the size anchors times exp (YOLOv3; Redmon and
      Farhadi, 2018, arXiv:1804.02767).

    Raises
    ------
    TargetError
        There are not as many anchors as boxes of a cell.
    """
    if form.name == "ltrb":
        left, top, right, bottom = _distances(given).T
        x, y = cells.x + 0.5, cells.y + 0.5
        return np.stack(
            [
                (x - left) * cells.across,
                (y - top) * cells.down,
                (x + right) * cells.across,
                (y + bottom) * cells.down,
            ],
            1,
        )
    a, b, c, d = given.T
    if form.name == "grid":
        width, height = np.exp(c) * cells.across, np.exp(d) * cells.down
    else:
        each = int(cells.which.max()) + 1
        if len(form.anchors) != each:
            raise TargetError(f"{len(form.anchors)} anchors for {each} boxes of each cell; write {form.name}:W,H,W,H,…")
        sizes = np.asarray(form.anchors)[cells.which]
        a, b = sigmoid(a), sigmoid(b)
        if form.name == "exp":
            width, height = sizes[:, 0] * np.exp(c), sizes[:, 1] * np.exp(d)
        else:
            a, b = 2 * a - 0.5, 2 * b - 0.5
            width, height = sizes[:, 0] * (2 * sigmoid(c)) ** 2, sizes[:, 1] * (2 * sigmoid(d)) ** 2
    x, y = (cells.x + a) * cells.across, (cells.y + b) * cells.down
    return np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 1)


def _distances(given: Floats) -> Floats:
    if given.shape[1] == 4:
        return given
    bins = given.reshape(len(given), 4, -1)
    shares = np.exp(bins - bins.max(2, keepdims=True))
    shares /= shares.sum(2, keepdims=True)
    return np.asarray(shares @ np.arange(bins.shape[2]))


def sigmoid(z: Any) -> Any:
    """Return ``1 / (1 + exp(-z))``."""
    return 0.5 * (1 + np.tanh(z / 2))
