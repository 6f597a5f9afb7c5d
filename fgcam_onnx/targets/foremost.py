"""What an output with places shows first of all: its largest region, its surest box, its surest position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import TargetError
from ..heads import Head
from .detections import Detection
from .objective import Aim, Objective, Predicted, checked_class
from .regions import Region


@dataclass(frozen=True)
class Foremost(Objective):
    """A class of an output with places, at the place that shows it best; without one, what is shown best of all.

    Of a map of classes the class's region, or the largest region; of boxes the best box of the class, or the top
    detection; of several heads of classes the position where the class, or any class, is surest. A class that is no
    object is left aside.

    Attributes
    ----------
    category : int, optional
    """

    category: int | None = None

    def aim(self, predicted: Predicted) -> Aim:
        """Weigh what is shown best, of each image by itself.

        Raises
        ------
        TargetError
            What the output means is not known.
        AbsentError
            The class is nowhere the top one.
        """
        head = predicted.head
        if head is None or not head.dense or head.kind == "unknown":
            raise (head or Head("unknown", predicted.logits.shape[1:])).refusal("what is shown best")
        count = len(predicted.logits)
        return Aim.joined([self._one(predicted.image(n), head) for n in range(count)])

    @property
    def reads_others(self) -> bool:
        """Whether it needs outputs beside the one that is explained: the boxes may be one."""
        return True

    def _one(self, predicted: Predicted, head: Head) -> Aim:
        if self.category is not None and head.count:
            checked_class(self.category, head.count)
        labels = head.labels or self.labels
        if head.kind == "boxes":
            beside = head.columns.beside if head.columns is not None else ""
            from_output = beside if beside in predicted.outputs else None
            found = Detection(None, self.category, boxes_from=from_output, labels=labels)
            return found.aim(predicted)
        if head.kind == "map":
            return self._region(predicted, head)
        return self._position(predicted, head)

    def _region(self, predicted: Predicted, head: Head) -> Aim:
        assert head.axis is not None
        labels, axis = head.labels or self.labels, head.axis + 1
        if self.category is not None:
            return Region(self.category, axis=axis, labels=labels).aim(predicted)
        by_class = np.moveaxis(predicted.logits[0], head.axis, 0)
        if len(by_class) == 1:
            return Region(0, axis=axis, labels=labels).aim(predicted)
        places = np.bincount(by_class.argmax(0).ravel(), minlength=len(by_class))
        shown = places.copy()
        if (background := head.background) is not None and places.sum() > places[background]:
            shown[background] = 0
        aim = Region(int(shown.argmax()), axis=axis, labels=labels).aim(predicted)
        share = places[shown.argmax()] / places.sum()
        return Aim(aim.weights, aim.score, (f"largest {aim.described[0]} ({share:.0%})",))

    def _position(self, predicted: Predicted, head: Head) -> Aim:
        assert head.axis is not None
        z = predicted.logits[0]
        sure = head.probabilities(predicted.logits)
        by_class = np.moveaxis(z if sure is None else sure[0], head.axis, 0)
        if self.category is None and (background := head.background) is not None:
            by_class = by_class.copy()
            by_class[background] = -np.inf
        rows = by_class if self.category is None else by_class[self.category][None]
        row, place = np.unravel_index(int(rows.argmax()), rows.shape)
        category = int(row) if self.category is None else self.category
        at = (category, int(place)) if head.axis == 0 else (int(place), category)
        weights = np.zeros_like(z, np.float32)
        weights[at] = 1
        told = "surest" if self.category is None else "its surest"
        name = (head.labels[category : category + 1] or (f"class {category}",))[0].split(",")[0]
        return Aim.linear(weights[None], predicted, f"{name} at {told} position {place}")


def asked_of(head: Head, target: int | None) -> Objective | None:
    """Return the objective that a class, or nothing, stands for; None where a class is an element of the output.

    Raises
    ------
    TargetError
        It cannot be told what is meant.
    """
    from .classes import Element

    if head.kind == "unknown" or (target is None and head.kind in ("embedding", "number") and head.count != 1):
        raise head.refusal("nothing was asked for" if target is None else f"target {target} is no class")
    if head.dense:
        return Foremost(target, labels=head.labels)
    if head.kind in ("embedding", "number"):
        if isinstance(target, bool | np.bool_):
            raise TargetError(f"an element is an index, not {target!r}")
        return Element(target or 0)
    return None
