"""Sampling by computed places, written out: DeformConv by GridSample and Conv, AffineGrid by a product."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import UnsupportedOperatorError
from ..graph.value import Value
from .rewriting import Formulas, Results, given


def affine_grid(theta: Value, size: Value, *, align_corners: int = 0) -> Results:
    """Return the places that an affine map looks at, ``theta`` times each place of the output, from -1 to 1."""
    known = size.constant
    if known is None or theta.rank != 3:
        raise UnsupportedOperatorError("a grid whose size is computed is not written out")
    sides = [int(n) for n in known.reshape(-1)[2:]]
    if align_corners and 1 in sides:  # ONNX Runtime looks at 1 there, PyTorch at 0
        raise UnsupportedOperatorError("an aligned grid with a side of one place is not written out")
    lines = [_line(n, bool(align_corners)) for n in sides]
    along = reversed(np.meshgrid(*lines, indexing="ij"))
    places = np.stack([*along, np.ones(sides)]).reshape(len(sides) + 1, -1)
    e = theta.emitter
    found = (theta @ e.constant(places[None].astype(theta.dtype))).transpose((0, 2, 1))
    return e.reshape(found, (None, *sides, len(sides)))


def _line(size: int, align_corners: bool) -> NDArray[np.float64]:
    if align_corners:
        return np.linspace(-1, 1, size)
    return (2 * np.arange(size) + 1) / size - 1


def deform_conv(
    x: Value, w: Value, offset: Value, b: Value | None = None, mask: Value | None = None,
    *, dilations: Sequence[int] = (1, 1), group: int = 1, kernel_shape: Sequence[int] = (), offset_group: int = 1,
    pads: Sequence[int] = (0, 0, 0, 0), strides: Sequence[int] = (1, 1),
) -> Results:  # fmt: skip
    """Return a convolution whose window is bent: each of its places is sampled, weighed by its mask, and multiplied.

    Dai et al., 2017, arXiv:1703.06211; with masks, Zhu et al., 2019, arXiv:1811.11168.
    """
    e, sizes = x.emitter, (*x.shape[1:], *w.shape, *offset.shape[2:])
    if x.rank != 4 or not all(isinstance(d, int) for d in sizes):
        raise UnsupportedOperatorError("a bent window over a picture of a size that is not known is not written out")
    channels, height, width, outputs, own, tall, wide, rows, columns = (d for d in sizes if isinstance(d, int))
    taps, count = tall * wide, rows * columns
    lines = [
        np.add.outer(np.arange(k) * dilations[a], np.arange(n) * strides[a]) - pads[a]
        for a, (k, n) in enumerate(((tall, rows), (wide, columns)))
    ]
    base = np.zeros((taps, 2, rows, columns))
    for t, (i, j) in enumerate(itertools.product(range(tall), range(wide))):
        base[t, 0], base[t, 1] = lines[0][i][:, None], lines[1][j][None]
    at = e.reshape(offset, (None, taps, 2, count)) + e.constant(base.reshape(1, taps, 2, count).astype(x.dtype))
    side = e.constant(np.array([height, width], x.dtype).reshape(1, 1, 2, 1))
    shares = ((at * 2.0 + 1.0) / side - 1.0).transpose((0, 1, 3, 2))
    turned = e.emit("Gather", shares, e.ints([1, 0]), axis=3)
    picture = e.reshape(x, (None, channels // offset_group, height, width))
    mode = "linear" if e.model.opsets[""] >= 20 else "bilinear"
    found = e.emit("GridSample", picture, turned, mode=mode, padding_mode="zeros", align_corners=0)
    if mask is not None:
        found = found * e.reshape(mask, (None, 1, taps, count))
    window = e.reshape(found, (None, channels * taps, rows, columns))
    weight = e.reshape(w, (outputs, own * taps, 1, 1))
    return e.emit("Conv", *given(window, weight, b), group=group)


SAMPLED: Formulas = {"AffineGrid": affine_grid, "DeformConv": deform_conv}
