"""Targets made of chosen elements of the output: several classes, contrasts, any weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from ..errors import TargetError
from .objective import Aim, Objective, Predicted, checked_class


@dataclass(frozen=True)
class Classes:
    """Several classes of each image, a map for each, computed in one batch.

    The rows of the explanation are the images in order, and of each its classes in order: those of image i
    start at ``i * len(indices)``.

    Attributes
    ----------
    indices : sequence of int
    """

    indices: Sequence[int]

    def __post_init__(self) -> None:
        if not len(self.indices):
            raise TargetError("no class was given")


def _weigh(predicted: Predicted, weights: dict[int, float], described: str) -> Aim:
    """Aim at the sum of chosen elements, counted as in the flattened output of one image."""
    flat = np.zeros((len(predicted.logits), predicted.logits[0].size), np.float32)
    for index, weight in weights.items():
        flat[:, checked_class(index, flat.shape[1])] = weight
    return Aim.linear(flat.reshape(predicted.logits.shape), predicted, described)


@dataclass(frozen=True)
class Class(Objective):
    """One class: its logit."""

    index: int

    def aim(self, predicted: Predicted) -> Aim:
        """Weigh the class by 1."""
        return _weigh(predicted, {self.index: 1.0}, self.named(self.index))


@dataclass(frozen=True)
class Probability(Objective):
    """The probability of a class after a softmax over the output."""

    index: int

    def aim(self, predicted: Predicted) -> Aim:
        """Weigh by the gradient of the softmax: p_c (1 - p_c) for the class, -p_c p_k for the others."""
        z = predicted.logits.reshape(len(predicted.logits), -1).astype(np.float64)
        index = checked_class(self.index, z.shape[1])
        raised = np.exp(z - z.max(1, keepdims=True))
        p = raised / raised.sum(1, keepdims=True)
        own = p[:, index, None]
        weights = (own * (np.eye(1, z.shape[1], index) - p)).astype(np.float32)
        described = (f"probability of {self.named(index)}",) * len(z)
        return Aim(weights.reshape(predicted.logits.shape), own[:, 0].astype(np.float32), described)


@dataclass(frozen=True)
class Sum(Objective):
    """The sum of several logits, one map for all: what speaks for labels that go together."""

    indices: Sequence[int]

    def aim(self, predicted: Predicted) -> Aim:
        """Weigh each class by 1."""
        if not len(self.indices) or len(set(self.indices)) < len(self.indices):
            raise TargetError(f"a sum is of classes that differ, one at least; got {list(self.indices)}")
        return _weigh(predicted, dict.fromkeys(self.indices, 1.0), " + ".join(map(self.named, self.indices)))


@dataclass(frozen=True)
class Difference(Objective):
    """The logit of one class less that of another: why this, rather than that."""

    index: int
    other: int

    def aim(self, predicted: Predicted) -> Aim:
        """Weigh the class by 1, the other by -1."""
        if self.index == self.other:
            raise TargetError(f"the difference of class {self.index} and itself is 0; give two classes")
        return _weigh(
            predicted, {self.index: 1.0, self.other: -1.0}, f"{self.named(self.index)} - {self.named(self.other)}"
        )


@dataclass(frozen=True)
class Weighted(Objective):
    """Any weighted sum of the output's elements.

    Attributes
    ----------
    array : array
        Of the shape of one image's output, or (N, ...) with the images'.
    """

    array: ArrayLike = field(compare=False)

    def aim(self, predicted: Predicted) -> Aim:
        """Weigh the elements as given."""
        given, wanted = np.asarray(self.array), predicted.logits.shape
        if given.dtype.kind not in "fiub" or not np.isfinite(given).all():
            raise TargetError("weights of the output are finite numbers")
        if given.size == 0 or not given.any():
            raise TargetError("all weights are 0: there is nothing to explain")
        if given.shape not in (wanted, wanted[1:]):
            raise TargetError(
                f"weights of shape {given.shape} do not fit: the output of one image is {wanted[1:]}, "
                f"of all {len(predicted.logits)} {wanted}"
            )
        weights = np.ascontiguousarray(np.broadcast_to(given, wanted)).astype(np.float32)
        return Aim.linear(weights, predicted, "weighted sum")


@dataclass(frozen=True)
class Element(Objective):
    """One element of the output: a regressed number, a coordinate of a keypoint.

    Attributes
    ----------
    index : int or tuple of int
        Where it is in one image's output; one number counts in the flattened output.
    """

    index: int | tuple[int, ...]

    def aim(self, predicted: Predicted) -> Aim:
        """Weigh the element by 1."""
        shape = predicted.logits.shape[1:]
        index = (self.index,) if isinstance(self.index, int | np.integer) else tuple(self.index)
        inside = shape if len(index) == len(shape) else (int(np.prod(shape)),) if len(index) == 1 else None
        if inside is None:
            raise TargetError(f"element {list(index)} has {len(index)} indices; one image's output is {list(shape)}")
        for position, size in zip(index, inside, strict=True):
            if not 0 <= position < size:
                raise TargetError(f"element {list(index)} is out of range: one image's output is {list(shape)}")
        flat = int(np.ravel_multi_index(index, inside)) if inside else 0
        return _weigh(predicted, {flat: 1.0}, f"element {' '.join(map(str, index))}")
