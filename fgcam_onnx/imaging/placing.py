"""Where what a model sees lies in the picture it was made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True)
class Placement:
    """A view, which the model saw, and the picture it was cut, stretched or padded from.

    Attributes
    ----------
    picture, view : (int, int)
        Height and width of each.
    box : (float, float, float, float)
        Left, top, right and bottom of the view in pixels of the picture, whose upper left corner is (0, 0); beyond
        the picture's edges where the view was padded.
    """

    picture: Size
    view: Size
    box: tuple[float, float, float, float]

    @classmethod
    def whole(cls, size: Size) -> Placement:
        """Return the placement of a picture that is seen as it is."""
        return cls(size, size, (0.0, 0.0, float(size[1]), float(size[0])))

    @property
    def seen(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the picture's pixels that lie in the view as a whole."""
        left, top, right, bottom = self.box
        height, width = self.picture
        slack = 1e-6  # a box is the outcome of a division
        x0, y0 = max(0, math.ceil(left - slack)), max(0, math.ceil(top - slack))
        x1, y1 = min(width, math.floor(right + slack)), min(height, math.floor(bottom + slack))
        return x0, y0, max(x0, x1), max(y0, y1)

    def widened(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Return values over the view, of any size, as values over the picture: bilinear, 0 where nothing was seen.

        Parameters
        ----------
        values : ndarray, (h, w)
            Of a range that float32 holds.

        Returns
        -------
        ndarray of float32, ``picture``
        """
        over = np.zeros(self.picture, np.float32)
        left, top, right, bottom = self.box
        x0, y0, x1, y1 = self.seen
        if x1 <= x0 or y1 <= y0:
            return over
        h, w = values.shape
        sx, sy = w / (right - left), h / (bottom - top)
        box = (max(0.0, (x0 - left) * sx), max(0.0, (y0 - top) * sy), (x1 - left) * sx, (y1 - top) * sy)
        source = Image.fromarray(np.ascontiguousarray(values, np.float32))
        box = (*box[:2], min(float(w), box[2]), min(float(h), box[3]))
        part = source.resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR, box=box)
        over[y0:y1, x0:x1] = np.asarray(part)
        return over

    def summary(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "picture": list(self.picture),
            "view": list(self.view),
            "box": [round(v, 3) for v in self.box],
        }


class Prepared(np.ndarray[Any, Any]):
    """An array that `Preprocess` made of pictures, and where it lies in each.

    What is computed from it knows of no pictures any more; only batches joined by ``numpy.concatenate`` do.

    Attributes
    ----------
    placements : tuple of Placement
        One for each picture of the batch; empty where that is not known.
    """

    placements: tuple[Placement, ...] = ()

    def __array_function__(self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        """Join the placements where arrays are joined along the batch."""
        result = super().__array_function__(func, types, args, kwargs)
        if func is np.concatenate and args[1:2] in ((), (0,)) and kwargs.get("axis", 0) == 0:
            parts = [placements_of(part) for part in args[0]]
            if all(parts):
                return _known(result, tuple(p for part in parts for p in part))
        return result


def prepared(array: NDArray[Any], placement: Placement) -> Prepared:
    """Return the array of one picture, which knows where it lies in it."""
    return _known(array, (placement,))


def placements_of(array: object) -> tuple[Placement, ...]:
    """Return where the pictures of a batch lie in what they were made of; empty where that is not known."""
    return array.placements if isinstance(array, Prepared) else ()


def _known(array: NDArray[Any], placements: tuple[Placement, ...]) -> Prepared:
    result: Prepared = np.asarray(array).view(Prepared)
    result.placements = placements
    return result
