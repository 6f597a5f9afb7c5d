"""Maps brought to where another model looks."""

from __future__ import annotations

import numpy as np

from ..imaging import Placement
from ..metrics.grids import Floats


def same_place(a: Placement, b: Placement) -> bool:
    """Return whether two views show the same part of a picture, to a pixel of the coarser view."""
    step = max((p.box[2] - p.box[0]) / p.view[1] for p in (a, b))
    return bool(np.allclose(a.box, b.box, rtol=0, atol=step))


def laid(values: Floats, *, of: Placement, over: Placement) -> Floats:
    """Return a map over the view ``of`` as one over the view ``over``, (h, w); 0 where ``of`` does not reach.

    Views that show the same part leave it as it is.
    """
    if same_place(of, over):
        return values
    from scipy.ndimage import map_coordinates

    places = [_places(of, over, axis, values.shape[axis]) for axis in (0, 1)]
    inside = [(p > -0.5) & (p < n - 0.5) for p, n in zip(places, values.shape, strict=True)]
    rows, columns = np.meshgrid(*places, indexing="ij")
    found = map_coordinates(values, [rows, columns], order=1, mode="nearest")
    return np.asarray(np.where(inside[0][:, None] & inside[1], found, 0.0), np.float64)


def _places(of: Placement, over: Placement, axis: int, count: int) -> Floats:
    """Return where the positions of the new map lie in the old one, counted in its positions."""
    low, high = (1, 3) if axis == 0 else (0, 2)
    centres = over.box[low] + (np.arange(count) + 0.5) / count * (over.box[high] - over.box[low])
    return np.asarray((centres - of.box[low]) / (of.box[high] - of.box[low]) * count - 0.5, np.float64)
