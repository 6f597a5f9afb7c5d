"""A detection: the class score of the best box near a given one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import AbsentError, OptionError, TargetError, suggest
from .boxes import Boxes, boxes_of, checked_form, listed, overlaps
from .objective import Aim, Objective, Predicted, box_text, checked_box, checked_class


@dataclass(frozen=True)
class Detection(Objective):
    """The class score of the detector's best box, near a given box or anywhere.

    Of the boxes that overlap the given one by at least ``overlap``, the one with the highest score counts. With
    an objectness the score is objectness times class, and the weights are its gradient.

    Two forms of output are known: one of (N, boxes, attributes) or (N, attributes, boxes) with the attributes 4
    of the box, perhaps objectness, and a score for each class (YOLO); or scores (N, boxes, classes) or
    (N, classes, boxes) beside another output of boxes (N, boxes, 4) (SSD).

    Attributes
    ----------
    box : (x0, y0, x1, y1), optional
        In pixels of the model's input, as the overlay shows it; default, all boxes count.
    category : int, optional
        The class; default, the box's best one.
    overlap : float
        Least intersection over union with ``box``.
    boxes : {"auto", "cxcywh", "xyxy", "yxyx", "grid", "ltrb", "anchors:W,H,…", "exp:W,H,…"}
        How the model writes boxes: centre and size, corners, corners with y first, or by the cells of grids over the
        input, as `cells.from_cells` has it. ``auto``: as the head tells it; else of one output, ``grid``
        where sizes are not positive and the number of boxes is that of the grids, else ``cxcywh``; of an output
        of their own, ``xyxy``; of a grid whose boxes are distributions, ``ltrb``.
    objectness : bool, optional
        Whether the fifth attribute is an objectness; default, as the graph or the number of labels tells it.
    boxes_from : str, optional
        The output that holds the boxes, where several could.
    background : int, optional
        A class that is no object, left out where ``category`` is not given; default, as the head tells it.
    """

    box: Sequence[float] | None = None
    category: int | None = None
    overlap: float = 0.5
    boxes: str = "auto"
    objectness: bool | None = None
    boxes_from: str | None = None
    background: int | None = None

    @property
    def reads_others(self) -> bool:
        """Whether it needs outputs beside the one that is explained: the boxes may be one."""
        return True

    def aim(self, predicted: Predicted) -> Aim:
        """Weigh the elements of the best box near the given one.

        Raises
        ------
        AbsentError
            No box is near.
        """
        checked_form(self.boxes)
        if not 0 < self.overlap <= 1:
            raise OptionError(f"overlap is above 0 and at most 1, not {self.overlap}")
        wanted = checked_box(self.box) if self.box is not None else None
        columns = predicted.head.columns if predicted.head is not None else None
        if predicted.logits.ndim != 3 and (columns is None or columns.grid is None):
            raise TargetError(
                f"a detection needs an output of (N, boxes, attributes), not {list(predicted.logits.shape)}"
            )
        count = len(predicted.logits)
        where = [f"image {n}: " if count > 1 else "" for n in range(count)]
        return Aim.joined([self._one(predicted.image(n), wanted, where[n]) for n in range(count)])

    def _one(self, predicted: Predicted, wanted: tuple[float, ...] | None, where: str) -> Aim:
        found = boxes_of(
            predicted.logits[0], self._others(predicted.outputs), size=predicted.size, form=self.boxes,
            objectness=self.objectness, named=self.boxes_from is not None,
            columns=predicted.head.columns if predicted.head is not None else None,
        )  # fmt: skip
        everywhere = np.ones(len(found.corners))
        near = everywhere if wanted is None else overlaps(found.corners, np.asarray(wanted, np.float64))
        background = self.background
        if background is None and self.category is None and predicted.head is not None:
            background = predicted.head.background
        scores = self._scores(_surely(found, predicted), background)
        best_class = scores.argmax(1)
        score = scores.max(1)
        if wanted is not None and not (near >= self.overlap).any():
            i = int(near.argmax())
            raise AbsentError(
                f"{where}no box overlaps {box_text(wanted)} by {self.overlap:g}; the nearest, "
                f"{box_text(np.round(found.corners[i]))}, overlaps by {near[i]:.2f}. Boxes are in pixels of "
                f"the model's input ({predicted.size[1]} x {predicted.size[0]})"
            )
        candidates = np.where(near >= self.overlap, score, -np.inf)
        chosen = int(candidates.argmax())
        if not np.isfinite(candidates[chosen]):
            what = "was found" if self.category is None else f"is of {self.named(self.category)}"
            raise AbsentError(f"{where}no box {what}")
        category = int(best_class[chosen])
        weights = found.weights(chosen, category)
        rank = "" if wanted is not None else "top " if self.category is None else "best "
        name = f"{self.named(category)} in {rank}{box_text(np.round(found.corners[chosen]))}"
        figure = np.array([found.score(chosen, category)], np.float32)
        return Aim(weights[None], figure, (name,))

    def _scores(self, found: Boxes, background: int | None) -> NDArray[np.float64]:
        """Return the scores that count, (boxes, classes); what is left out is -inf."""
        scores = found.scores().astype(np.float64)
        if found.label is not None and not found.count and self.category is not None:
            beyond = max(0, self.category + 1 - scores.shape[1])
            scores = np.pad(scores, ((0, 0), (0, beyond)), constant_values=-np.inf)
        left_out = np.zeros(scores.shape[1], bool)
        if self.category is not None:
            left_out[:] = True
            left_out[checked_class(self.category, scores.shape[1])] = False
        elif background is not None:
            left_out[checked_class(background, scores.shape[1])] = True
        return np.where(left_out, -np.inf, scores)

    def _others(self, outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        if self.boxes_from is None:
            return {n: a[0] for n, a in outputs.items()}
        if self.boxes_from not in outputs:
            raise TargetError(
                f"no output {self.boxes_from!r} to take boxes from; there are {', '.join(outputs) or 'no others'}."
                f"{suggest(self.boxes_from, outputs)}"
            )
        return {self.boxes_from: outputs[self.boxes_from][0]}


def _surely(found: Boxes, predicted: Predicted) -> Boxes:
    """Return boxes that are chosen by: where a softmax makes probabilities of scores, by those, as detectors do."""
    head = predicted.head
    if head is None or head.made != "softmax" or head.over != head.axis:
        return found
    sure = head.probabilities(predicted.logits)
    assert sure is not None
    if found.columns is not None:
        return replace(found, rows=listed(sure[0], found.columns))
    return replace(found, rows=sure[0].T if found.turned else sure[0])
