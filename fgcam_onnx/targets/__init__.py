"""What is explained: classes and contrasts, elements, regions, detections, similarity.

Imports arguments and errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import Target, fitted_targets
from ..errors import TargetError
from .classes import Class, Classes, Difference, Element, Probability, Sum, Weighted
from .detections import Detection
from .objective import Aim, Objective, Predicted
from .regions import Region
from .similarity import Similarity

AnyTarget = Target | Classes | Objective | Sequence[int | Objective]

__all__ = [
    "Aim",
    "AnyTarget",
    "Class",
    "Classes",
    "Detection",
    "Difference",
    "Element",
    "Objective",
    "Predicted",
    "Probability",
    "Region",
    "Similarity",
    "Sum",
    "Weighted",
]


def objectives_of(target: Any, count: int) -> tuple[Objective, ...]:
    """Return the objective of all of ``count`` images, or one for each; empty where the target is classes.

    Raises
    ------
    TargetError
        Not as many as images.
    """
    if isinstance(target, Objective):
        return (target,)
    if not isinstance(target, list | tuple) or not any(isinstance(t, Objective) for t in target):
        return ()
    if len(target) != count:
        raise TargetError(f"{len(target)} targets for {count} images; give one, or one per image")
    return tuple(t if isinstance(t, Objective) else Class(t) for t in target)


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
