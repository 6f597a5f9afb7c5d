"""A region of a segmentation output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import AbsentError, TargetError
from .objective import Aim, Objective, Predicted, box_text, checked_box, checked_class


@dataclass(frozen=True)
class Region(Objective):
    """The sum of a category's logits over a region of a segmentation output.

    The output is (N, classes, h, w) or (N, h, w, classes), or of as many axes as the input has. It is
    pytorch-grad-cam's SemanticSegmentationTarget.

    Attributes
    ----------
    category : int
    mask : array of shape (h, w) or (N, h, w), or of the output's axes, optional
        How much each position counts. Default: where the category is the top one; with one class only, where
        its logit is positive.
    box : (x0, y0, x1, y1), optional
        Of pictures: counts the positions inside, in place of a mask; in pixels of the model's input.
    axis : int, optional
        The axis of the classes, where it is not told by the graph or the mask; else the smaller one is taken.
    """

    category: int
    mask: ArrayLike | None = field(default=None, compare=False)
    box: Sequence[float] | None = None
    axis: int | None = None

    def aim(self, predicted: Predicted) -> Aim:
        """Weigh the category's logits by 1 inside the region.

        Raises
        ------
        AbsentError
            The category is nowhere the top one.
        """
        logits = predicted.logits
        if logits.ndim < 3:
            raise TargetError(
                f"a region needs an output of (N, classes, h, w) or (N, h, w, classes), not {list(logits.shape)}"
            )
        if self.box is not None and logits.ndim != 4:
            raise TargetError(f"a box is of pictures, and the output is {list(logits.shape)}: give a mask")
        if self.mask is not None and self.box is not None:
            raise TargetError("give a mask or a box, not both")
        axis = self._axis(predicted)
        by_class = np.moveaxis(logits, axis, 1)
        category = checked_class(self.category, by_class.shape[1])
        inside = self._inside(by_class, predicted.size)
        weights = np.zeros_like(by_class, np.float32)
        weights[:, category] = inside
        place = f" in {box_text(self.box)}" if self.box is not None else ""
        name = f"region of {self.named(category)}{place}"
        return Aim.linear(np.ascontiguousarray(np.moveaxis(weights, 1, axis)), predicted, name)

    def _axis(self, predicted: Predicted) -> int:
        shape = predicted.logits.shape
        last = len(shape) - 1
        if self.axis is not None:
            if self.axis not in (1, last, -1):
                raise TargetError(f"the classes are on axis 1 or {last}, not {self.axis}")
            return self.axis % len(shape)
        if self.mask is not None:
            sides = list(np.shape(self.mask))[-(last - 1) :]
            fits = [a for a in (1, last) if np.delete(shape, (0, a)).tolist() == sides]
            if len(fits) == 1:
                return fits[0]
        if predicted.channel_axis in (1, last):
            return predicted.channel_axis
        return 1 if shape[1] <= shape[last] else last

    def _inside(self, by_class: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
        count, classes, *sides = by_class.shape
        told = " x ".join(map(str, sides))
        if self.mask is not None:
            mask = np.asarray(self.mask)
            if mask.shape not in (tuple(sides), (count, *sides)):
                raise TargetError(
                    f"a mask of shape {mask.shape} does not fit the output, which is {told}; resize the mask to it"
                )
            if mask.dtype.kind not in "fiub" or not np.isfinite(mask).all():
                raise TargetError("a mask holds finite numbers")
            inside = np.broadcast_to(mask, (count, *sides)).astype(np.float32)
            why = "the mask is empty"
        elif self.box is not None:
            inside = np.broadcast_to(_box_mask(checked_box(self.box), size, (sides[0], sides[1])), (count, *sides))
            why = f"no position of the {told} output lies in {box_text(self.box)}"
        else:
            top = by_class.argmax(1) == self.category if classes > 1 else by_class[:, 0] > 0
            inside = top.astype(np.float32)
            why = f"{self.named(self.category)} is nowhere the top class; give a mask or a box, or a class that is"
        empty = np.flatnonzero(~inside.reshape(count, -1).any(1))
        if empty.size:
            seen = ""
            if self.mask is None and self.box is None and classes > 1:
                classes_seen = np.unique(by_class[empty[0]].argmax(0))[:12]
                seen = f" ({', '.join(self.named(int(c)) for c in classes_seen)})"
            where = f"image {empty[0]}: " if count > 1 else ""
            raise AbsentError(f"{where}{why}{seen}")
        return inside


def _box_mask(
    box: tuple[float, float, float, float], size: tuple[int, int], grid: tuple[int, int]
) -> NDArray[np.float32]:
    """Return 1 for the positions of ``grid`` whose centre, in pixels of an input of ``size``, is in the box."""
    y, x = ((np.arange(n) + 0.5) * (s or n) / n for n, s in zip(grid, size, strict=True))
    x0, y0, x1, y1 = box
    rows, columns = (y >= y0) & (y < y1), (x >= x0) & (x < x1)
    return np.asarray(rows[:, None] & columns[None], np.float32)
