"""What a refined map becomes before it is shown: smoothed, and guided by the CAM that it was refined from.

The fine map says where something was seen, the CAM at the base what the net makes of it there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .cam.fusion import resized
from .graph.value import Array, Value
from .layers.layers import Layer
from .matrices import along

WIDEST = 1024
"""The longest axis that is smoothed by a matrix."""


def smoothed(maps: Value, layer: Layer, *, base: Layer, lowpass: float) -> Value:
    """Return maps (N, ...) of ``layer`` smoothed by a Gaussian of standard deviation ``lowpass`` in steps of ``base``.

    It is cut at four times that, and mirrored at the edges, so that sums stay as they are.
    """
    found = maps
    for axis, (size, steps) in enumerate(zip(layer.spatial, base.spatial, strict=True), 1):
        sigma = lowpass * size / steps
        radius = int(np.ceil(4 * sigma))
        taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        mirrored = np.pad(np.arange(size), radius, mode="symmetric")
        found = _filtered(found, axis, taps=taps / taps.sum(), places=mirrored)
    return found


def _filtered(v: Value, axis: int, *, taps: NDArray[np.float64], places: NDArray[np.int64]) -> Value:
    """Return at each position along ``axis`` of ``v`` the sum of what lies at the next ``places``, times ``taps``.

    ONNX Runtime multiplies matrices many times faster than it convolves one channel; of a long line a matrix is large.
    """
    emit, ints = v.emitter.emit, v.emitter.ints
    size = len(places) - len(taps) + 1
    if size <= WIDEST:
        matrix = np.zeros((size, size), np.float32)
        for shift, tap in enumerate(taps):
            np.add.at(matrix, (np.arange(size), places[shift : shift + size]), tap)
        smooth: Value = along(v, {axis: matrix})
        return smooth
    kernel = taps.astype(np.float32).reshape([-1 if a == axis + 1 else 1 for a in range(v.rank + 1)])
    wide = emit("Gather", emit("Unsqueeze", v, ints([1])), ints(places.tolist()), axis=axis + 1)
    return emit("Squeeze", emit("Conv", wide, v.emitter.constant(kernel)), ints([1]))


def guided(maps: Array, layer: Layer, *, cam: Array) -> Array:
    """Return maps (N, ...) of ``layer`` times ``cam``, widened linearly, where both are of one sign; 0 elsewhere.

    What speaks for the target is multiplied by the CAM's positive part, as in Guided Grad-CAM (Selvaraju et al., 2017,
    arXiv:1610.02391), and what speaks against it by the negative one. The CAM counts as a share of its largest value.
    """
    largest = abs(cam).max(axis=tuple(range(1, len(cam.shape))), keepdims=True)
    share = cam / np.where(largest > 0, largest, 1)
    speaks_for, against = (resized(np.maximum(c, 0), layer.spatial) for c in (share, -share))
    return np.maximum(maps, 0) * speaks_for + np.minimum(maps, 0) * against
