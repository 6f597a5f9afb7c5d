"""What lies at either end of an exported file: pixels to the model's input, a raw map to one for display.

Each step is a formula that takes arrays or graph values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..graph.value import Array, Value
from ..matrices import along

if TYPE_CHECKING:
    from ..imaging import Preprocess

LUMA = (19595, 38470, 7471)
"""ITU-R BT.601's weights of red, green and blue in 1/65536, as Pillow takes them."""


def prepared(pixels: Value, preprocess: Preprocess) -> Value:
    """Return the model's input for ``pixels`` (N, H, W, 3), uint8 RGB: ``(pixel * scale - mean) / std``.

    ``preprocess`` is bound to the model (`Preprocess.bound`). Grey is Pillow's ``L``. What `Preprocess` does
    in NumPy, to the bit where both round alike.
    """
    dtype = np.dtype(preprocess.dtype or "float32")
    work = np.dtype(np.float32 if dtype.kind == "f" and dtype.itemsize <= 4 else np.float64)
    x = pixels
    if preprocess.channels == "GREY":
        luma = (x.astype(np.int32) * np.asarray(LUMA, np.int32)).sum(3, keepdims=True)
        x = (luma + 0x8000) / 0x10000
    elif preprocess.channels == "BGR":
        x = x.emitter.emit("Gather", x, x.emitter.ints([2, 1, 0]), axis=3)
    x = x.astype(work)
    scale, mean, std = preprocess.scale, np.asarray(preprocess.mean), np.asarray(preprocess.std)
    x = x * scale if scale != 1 else x
    x = x - mean if mean.any() else x
    x = x / std if (std != 1).any() else x
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        low, high = x.emitter.lift(x, float(info.min), float(np.nextafter(info.max + 1.0, 0)))[1:]
        x = x.emitter.emit("Clip", x.emitter.emit("Round", x), low, high)
    return (x if preprocess.layout == "NHWC" else x.transpose((0, 3, 1, 2))).astype(dtype)


def widened(m: Array, size: Sequence[int]) -> Array:
    """Resize maps (N, ...) to ``size`` linearly along each axis, centres at half steps, the edge repeated beyond it.

    Products with matrices ``max(0, 1 - |x_o - i|)``, which need no room in a file.
    """
    own = m.shape[1:]
    if tuple(own) == tuple(size):
        return m
    return along(m, {a: tent(n, wide, like=m) for a, (n, wide) in enumerate(zip(own, size, strict=True), 1)})


def tent(size: int, out: int, *, like: Array) -> Array:
    """Return the (out, size) matrix that resizes an axis bilinearly, as an array or value like ``like``."""
    at: NDArray[np.float64] = np.clip((np.arange(out) + 0.5) * (size / out) - 0.5, 0, size - 1)
    where: Any = at.astype(np.float32)[:, None]
    where = like.emitter.constant(where) if isinstance(like, Value) else where
    return np.maximum(1 - abs(where - np.arange(size, dtype=np.float32)[None]), np.float32(0))


def min_max(m: Array) -> Array:
    """Return the positive part of maps (N, ...), each from its least value at 0 to its largest at 1.

    All 0 where a map has no positive value, or one value throughout.
    """
    positive = np.maximum(m, np.float32(0))
    low, high = (getattr(positive, end)(axis=tuple(range(1, len(m.shape))), keepdims=True) for end in ("min", "max"))
    span = high - low
    return (positive - low) / np.where(span > 0, span, np.float32(1))


def eight_bit(m: Array) -> Array:
    """Return `min_max` of maps (N, ...) in whole steps from 0 to 255, uint8."""
    return np.floor(min_max(m) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


LARGEST = np.float32(np.finfo(np.float32).max)


def finite(x: Array) -> Array:
    """Tell for each image, (N,), whether all of ``x`` (N, ...) are finite numbers; with NaN no comparison holds."""
    small: Any = np.less_equal(abs(x.astype(np.float32)), LARGEST)
    return small.astype(np.float32).min(axis=tuple(range(1, len(x.shape)))) > 0


def marked(values: Array, good: Array) -> Array:
    """Return ``values`` (N, ...) where ``good`` (N,), and NaN elsewhere; 0 where they are integers."""
    mask = good.reshape((-1, *[1] * (len(values.shape) - 1)))
    return np.where(mask, values, values.dtype.type(np.nan if values.dtype.kind == "f" else 0))


NORMALIZE = {"none": lambda m: m, "minmax": min_max, "uint8": eight_bit}
RESIZE = ("none", "input")
