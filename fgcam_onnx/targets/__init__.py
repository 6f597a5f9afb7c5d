"""What is explained: classes and contrasts, elements, regions, detections, similarity.

Imports arguments, errors, heads and imaging.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import Target, fitted_targets
from ..errors import TargetError
from ..heads import Head
from .classes import Class, Classes, Difference, Element, Probability, Sum, Weighted
from .detections import Detection
from .foremost import Foremost, asked_of
from .objective import Aim, Objective, Predicted
from .ranked import Against, Top
from .regions import Region
from .said import target_of
from .similarity import Similarity

LARGEST_CLASS = 2**31
"""Stands for the number of classes where it is not known."""

AnyTarget = Target | Classes | Objective | Sequence[int | Objective] | Sequence[Sequence[int | Objective]]

__all__ = [
    "Against",
    "Aim",
    "AnyTarget",
    "Class",
    "Classes",
    "Detection",
    "Difference",
    "Element",
    "Foremost",
    "Objective",
    "Predicted",
    "Probability",
    "Region",
    "Similarity",
    "Sum",
    "Top",
    "Weighted",
    "target_of",
]


def objectives_of(target: Any, count: int, *, head: Head) -> tuple[tuple[Objective, ...], int]:
    """Return the objective of all of ``count`` images, or one or a row of them for each, and how many of each.

    No objective where the target is classes, and a class an element of the output.

    Raises
    ------
    TargetError
        Not as many as images.
    """
    if isinstance(target, Objective):
        return (target,), 1
    if rows := _rows(target):
        if len(rows) != count or len({len(row) for row in rows}) != 1:
            sizes = ", ".join(str(len(row)) for row in rows)
            raise TargetError(f"rows of {sizes} targets for {count} images; give each image a row, all of one length")
        return tuple(_objective(t, head) for row in rows for t in row), len(rows[0])
    if not isinstance(target, list | tuple) or not any(isinstance(t, Objective) for t in target):
        return _by_class(target, count, head)
    if len(target) != count:
        raise TargetError(f"{len(target)} targets for {count} images; give one, or one per image")
    return tuple(_objective(t, head) for t in target), 1


def _rows(target: Any) -> list[Sequence[Any]]:
    """Return rows of targets, one row for each image, where objectives are among them; else nothing."""
    if not isinstance(target, list | tuple) or not all(isinstance(row, list | tuple) for row in target):
        return []
    return list(target) if any(isinstance(t, Objective) for row in target for t in row) else []


def _objective(target: Any, head: Head) -> Objective:
    return target if isinstance(target, Objective) else asked_of(head, target) or Class(target, labels=head.labels)


def _by_class(target: Any, count: int, head: Head) -> tuple[tuple[Objective, ...], int]:
    """Return what classes, or nothing said, stand for where a class is no element of the output."""
    if head.kind == "classes" or (head.kind == "number" and head.count == 1):
        return (), 1
    if target is None:
        usual = asked_of(head, None)
        return ((usual,), 1) if usual is not None else ((), 1)
    chosen, each = fitted_classes(target, count, head.count or LARGEST_CLASS)
    return tuple(o for c in chosen if (o := asked_of(head, int(c))) is not None), each


def fitted_classes(target: Any, count: int, classes: int) -> tuple[NDArray[np.int64], int]:
    """Return the classes to explain, -1 for the top one, and how many there are for each of ``count`` images.

    Raises
    ------
    TargetError
        Not class indices, out of range, or not as many as images.
    """
    if isinstance(target, Classes):
        target = np.tile(np.asarray(target.indices), (count, 1))
    try:
        array = np.asarray(target)
    except ValueError:
        array = np.empty(0)
    if array.ndim != 2 or array.dtype.kind not in "iu" or not array.size:
        return fitted_targets(target, count, classes), 1
    if len(array) != count:
        raise TargetError(
            f"a target is a class index, one for each image, or a row of them for each; got {len(array)} rows "
            f"for {count} images. Classes(…) stands for the same row for all"
        )
    return fitted_targets(array.ravel(), array.size, classes), array.shape[1]


def aimed(objectives: Sequence[Objective], predicted: Predicted) -> Aim:
    """Return what the objectives, one for all images or one for each, come to."""
    if len(objectives) == 1:
        return objectives[0].aim(predicted)
    return Aim.joined([o.aim(predicted.image(n)) for n, o in enumerate(objectives)])
