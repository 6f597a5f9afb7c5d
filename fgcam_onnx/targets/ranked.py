"""Targets that the prediction of each image decides on: its top classes, and what it was taken for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import TargetError
from ..heads import Head
from .classes import Class, Difference
from .objective import Aim, Objective, Predicted, checked_class


@dataclass(frozen=True)
class Top:
    """The ``count`` top classes of each image, a map for each; of fewer classes all of them.

    The rows of the explanation are the images in order, and of each its classes, the highest score first.
    """

    count: int

    def __post_init__(self) -> None:
        if isinstance(self.count, bool) or not isinstance(self.count, int | np.integer) or self.count < 1:
            raise TargetError(f"top:{self.count}: how many classes is a whole number, 1 at least, such as top:3")

    def rows(self, scores: NDArray[np.floating], head: Head) -> NDArray[np.int64]:
        """Return the classes of each image, (N, count), from its scores, (N, K).

        Raises
        ------
        TargetError
            The output is no scores of classes.
        """
        _of_classes(head, f"the top {self.count} classes")
        return np.argsort(-scores, axis=1, kind="stable")[:, : self.count]


@dataclass(frozen=True)
class Told(Objective):
    """An objective with a remark, in brackets, on what it is to an image."""

    objective: Objective
    remark: str

    def aim(self, predicted: Predicted) -> Aim:
        """Return what the objective comes to."""
        aim = self.objective.aim(predicted)
        return replace(aim, described=tuple(f"{text} ({self.remark})" for text in aim.described))


@dataclass(frozen=True)
class Against:
    """What an image was taken for, what it was not, and why the one rather than the other: three maps.

    The first is of the predicted class; the second of the true one or, where the prediction is true, of the
    runner-up; the third of the first's logit less the second's.

    Attributes
    ----------
    truth : int or sequence of int
        The true class, of all images or of each.
    """

    truth: int | Sequence[int]

    def rows(
        self, scores: NDArray[np.floating], head: Head, *, labels: Sequence[str] = ()
    ) -> tuple[tuple[Objective, ...], ...]:
        """Return three objectives for each image, from its scores, (N, K).

        Raises
        ------
        TargetError
            The output is no scores of several classes, or the truth is no class of each image.
        """
        _of_classes(head, "what an image was taken for")
        count, classes = scores.shape
        if classes < 2:
            raise TargetError("with one class there is none that an image could be taken for instead")
        given = [self.truth] * count if isinstance(self.truth, int | np.integer) else list(self.truth)
        if len(given) != count:
            raise TargetError(f"{len(given)} true classes for {count} images; give one, or one for each image")
        found = []
        for own, truth in zip(np.argsort(-scores, axis=1, kind="stable"), given, strict=True):
            true, first = checked_class(truth, classes), int(own[0])
            right = first == true
            other = int(own[1]) if right else true
            found.append(
                (
                    Told(Class(first, labels=labels), "predicted, true" if right else "predicted"),
                    Told(Class(other, labels=labels), "runner-up" if right else "true"),
                    Difference(first, other, labels=labels),
                )
            )
        return tuple(found)


def _of_classes(head: Head, asked: str) -> None:
    if head.kind != "classes":
        raise head.refusal(asked)
