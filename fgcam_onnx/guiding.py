"""What a refined map becomes before it is shown: smoothed, and guided by the CAM that it was refined from.

The fine map says where something was seen, the CAM at the base what the net makes of it there.
"""

from __future__ import annotations

import numpy as np

from .cam.fusion import resized
from .graph.model import Model
from .graph.value import Array, Value
from .layers.flow import rows_of
from .layers.layers import Layer
from .matrices import along, gaussian, gaussian_matrix, mirrored

WIDEST = 1024
"""The longest axis that is smoothed by a matrix."""


def smoothed(maps: Value, layer: Layer, *, base: Layer, lowpass: float) -> Value:
    """Return maps (N, ...) of ``layer`` smoothed by a Gaussian of standard deviation ``lowpass`` in steps of ``base``.

    It is cut at four times that, and mirrored at the edges, so that sums stay as they are.
    """
    found = maps
    for axis, (size, steps) in enumerate(zip(layer.spatial, base.spatial, strict=True), 1):
        found = _smoothed_along(found, axis, size, sigma=lowpass * size / steps)
    return found


def _smoothed_along(v: Value, axis: int, size: int, *, sigma: float) -> Value:
    """Return ``v`` smoothed along an axis.

    ONNX Runtime multiplies matrices many times faster than it convolves one channel; of a long line a matrix is large.
    """
    if size <= WIDEST:
        smooth: Value = along(v, {axis: gaussian_matrix(size, sigma=sigma).astype(np.float32)})
        return smooth
    emit, ints = v.emitter.emit, v.emitter.ints
    taps, places = gaussian(sigma), mirrored(size, len(gaussian(sigma)) // 2)
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


def lie_alike(model: Model, one: Layer, other: Layer, *, source: str) -> bool:
    """Tell whether the maps of two layers are of the same images, row by row, on as many axes."""
    if len(one.spatial) != len(other.spatial):
        return False
    first = {x.shape[0] for x in (one, other)}
    if all(isinstance(d, int) for d in first):
        return len(first) == 1
    try:
        rows = {rows_of(model, x.name, source=source) for x in (one, other)}
    except LookupError:
        return False
    return len(rows) == 1 and rows.isdisjoint({None, 0})
