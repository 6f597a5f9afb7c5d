"""VJP of RoiAlign: means of a picture inside boxes, sampled between its places.

A mean over samples along each side of a box is a product with weights of the rows, and one with weights of the
columns: ``y[k, c] = R[k] x[image of k, c] C[k]'``. All boxes are handed back by one product.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import UnsupportedOperatorError
from ..graph.shapes import Dim
from ..graph.value import Array, Value
from .rule import Rules, static


class _Side(NamedTuple):
    """The samples along one side: weights (boxes, bins, places), their slopes by the position, and more."""

    weights: Value
    slopes: Value
    scale: float
    parts: Value


def roi_align_x(
    g: Value, y: Value, x: Value, rois: Value, images: Value,
    *, coordinate_transformation_mode: str = "half_pixel", mode: str = "avg", output_height: int = 1,
    output_width: int = 1, sampling_ratio: int = 0, spatial_scale: float = 1.0,
) -> Value:  # fmt: skip
    """Add each mean of ``g`` to the places it was taken between, by their weights: ``sum_k R[k]' g[k, c] C[k]``."""
    bins = _checked(mode, output_height, output_width, sampling_ratio)
    down, across = _sides(x, rois, bins, sampling_ratio, spatial_scale, coordinate_transformation_mode)
    _, channels, height, width = x.shape
    rows = _of_images(down.weights, images, x)
    spread = (g @ across.weights.reshape((None, 1, bins[1], width))).transpose((0, 2, 1, 3))
    whole = rows @ spread.reshape((None, _times(channels, width)))
    return whole.reshape((None, height, channels, width)).transpose((0, 2, 1, 3))


def roi_align_rois(
    g: Value, y: Value, x: Value, rois: Value, images: Value,
    *, coordinate_transformation_mode: str = "half_pixel", mode: str = "avg", output_height: int = 1,
    output_width: int = 1, sampling_ratio: int = 0, spatial_scale: float = 1.0,
) -> Value:  # fmt: skip
    """Return how the means change as the sides of each box move: differences of the places around each sample."""
    bins = _checked(mode, output_height, output_width, sampling_ratio)
    down, across = _sides(x, rois, bins, sampling_ratio, spatial_scale, coordinate_transformation_mode)
    e, ends = g.emitter, []
    for first, second, turned in ((down, across, False), (across, down, True)):
        picture = x.transpose((0, 1, 3, 2)) if turned else x
        asked = g.transpose((0, 1, 3, 2)) if turned else g
        _, channels, places, others = picture.shape
        count, width = static((bins[1] if turned else bins[0], bins[0] if turned else bins[1]))
        spread = (asked @ second.weights.reshape((None, 1, width, others))).transpose((0, 2, 1, 3))
        lines = spread.reshape((None, _times(channels, others)))
        flat = picture.transpose((0, 2, 1, 3)).reshape((None, places, _times(channels, others)))
        of_rows = _own(lines @ flat.transpose((0, 2, 1)), images, count, places)
        moved = (of_rows.reshape((None, count, 1, places)) * first.slopes).sum(3)
        ends.append([(moved * (1.0 - first.parts)).sum([1, 2]), (moved * first.parts).sum([1, 2])])
    (y0, y1), (x0, x1) = ends
    columns = [e.emit("Unsqueeze", v, e.ints([1])) for v in (x0, y0, x1, y1)]
    return e.emit("Concat", *columns, axis=1) * float(spatial_scale)


def _checked(mode: str, height: int, width: int, ratio: int) -> tuple[int, int]:
    if mode != "avg" or ratio < 1:
        what = f"mode={mode!r}" if mode != "avg" else "sampling_ratio=0, as many samples as a box is large,"
        raise UnsupportedOperatorError(
            f"{what} has no gradient rule: means of a fixed number of samples have. Choose a layer after it"
        )
    return height, width


def _times(a: object, b: object) -> int:
    one, other = static((a, b))
    return one * other


def _sides(
    x: Value, rois: Value, bins: tuple[int, int], ratio: int, scale: float, mode: str
) -> tuple[_Side, _Side]:  # fmt: skip
    height, width = static(x.shape[2:])
    return (
        _side(rois, (1, 3), height, bins[0], ratio, scale, mode),
        _side(rois, (0, 2), width, bins[1], ratio, scale, mode),
    )


def _side(
    rois: Value, ends: tuple[int, int], size: int, bins: int, ratio: int, scale: float, mode: str
) -> _Side:  # fmt: skip
    """Return weights (boxes, bins, size) of the places along a side, and slopes (boxes, bins, samples, size)."""
    e = rois.emitter
    half = 0.5 if mode == "half_pixel" else 0.0
    low, high = (e.emit("Gather", rois, e.ints([i]), axis=1).reshape((None, 1, 1)) * float(scale) - half for i in ends)
    share = ((np.arange(bins)[:, None] + (np.arange(ratio)[None] + 0.5) / ratio) / bins)[None]
    parts = e.constant(share.astype(rois.dtype))
    length: Array = high - low
    fixed: Array = 1.0
    if mode != "half_pixel":
        fixed = (length > 1.0).astype(rois.dtype)
        length = np.maximum(length, 1.0)
    at = low + length * parts
    inside = np.logical_and(at >= -1.0, at <= float(size)).astype(rois.dtype)
    held = np.minimum(np.maximum(at, 0.0), float(size - 1))
    moves = np.logical_and(at > 0.0, at < float(size - 1)).astype(rois.dtype) * inside
    columns = e.constant(np.arange(size, dtype=rois.dtype)[None, None, None])
    off = held.reshape((None, bins, ratio, 1)) - columns
    near = np.maximum(1.0 - abs(off), 0.0) * inside.reshape((None, bins, ratio, 1))
    weights = near.sum(2) * (1 / ratio)
    below = np.logical_and(off >= 0.0, off < 1.0).astype(rois.dtype)
    above = np.logical_and(off < 0.0, off > -1.0).astype(rois.dtype)
    slopes = (above - below) * moves.reshape((None, bins, ratio, 1)) * (1 / ratio)
    return _Side(weights, slopes, scale, parts * fixed)


def _of_images(weights: Value, images: Value, x: Value) -> Value:
    """Return weights of the rows (N, places, boxes * bins), 0 where a box is of another image."""
    _, bins, places = weights.shape
    lines = weights.reshape((None, places)).transpose((1, 0))
    own = _belongs(images, x, bins)
    return own * lines.emitter.emit("Unsqueeze", lines, lines.emitter.ints([0]))


def _belongs(images: Value, x: Value, bins: object) -> Value:
    """Return 1 where a line of a box is of an image, (N, 1, boxes * bins)."""
    e, (count,) = images.emitter, static((bins,))
    which = e.emit("Unsqueeze", images.astype(np.int64), e.ints([1]))
    each = e.emit("Expand", which, e.ints([1, count])).reshape((1, 1, None))
    first = e.emit("Slice", e.shape_of(x), e.ints([0]), e.ints([1]))
    scalar = e.emit("Squeeze", first, e.ints([0]))
    numbers = e.emit("Range", e.constant(np.array(0)), scalar, e.constant(np.array(1)))
    found: Value = (numbers.reshape((None, 1, 1)) == each).astype(x.dtype)
    return found


def _own(lines: Value, images: Value, bins: int, places: Dim) -> Value:
    """Return of products (N, boxes * bins, places) with every image those with a box's own, (boxes, bins, places)."""
    own = _belongs(images, lines, bins).transpose((0, 2, 1))
    return (lines * own).sum(0).reshape((None, bins, places))


RULES: Rules = {"RoiAlign": (roi_align_x, roi_align_rois, None)}
