"""Targets made of chosen elements of the output: several classes, contrasts, any weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from ..errors import TargetError
from ..heads import Head
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


def _of_classes(predicted: Predicted, what: str) -> None:
    """Refuse a number as a class where the output has places: it would be an element of one of them."""
    if predicted.head is not None and predicted.head.dense:
        raise predicted.head.refusal(what)


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
        _of_classes(predicted, f"the logit of {self.named(self.index)}")
        return _weigh(predicted, {self.index: 1.0}, self.named(self.index))


@dataclass(frozen=True)
class Probability(Objective):
    """The probability of a class: what the model's end makes of its logit.

    A softmax over the classes of its row, a sigmoid, or the number itself where it is a probability already. Of an
    output of classes that ends in nothing, a softmax.

    Attributes
    ----------
    index : int or tuple of int
        The class; of an output with places, where the element is in one image's output, as `Element` has it.
    """

    index: int | tuple[int, ...]

    def aim(self, predicted: Predicted) -> Aim:
        """Weigh by the gradient of the probability: p (1 - p) for the class, -p q for others under its softmax.

        Raises
        ------
        TargetError
            Out of range, or the model makes no probability of its output.
        """
        shape = predicted.logits.shape[1:]
        z = predicted.logits.reshape(len(predicted.logits), -1).astype(np.float64)
        head = predicted.head if predicted.head is not None else Head("classes", shape, count=z.shape[1])
        index, flat = _element(self.index, shape)
        name = f"element {' '.join(map(str, index))}" if head.dense else self.named(checked_class(flat, z.shape[1]))
        weights = head.slopes(z, flat).astype(np.float32)
        found = head.probabilities(z)
        assert found is not None
        described = (f"probability of {name}",) * len(z)
        return Aim(weights.reshape(predicted.logits.shape), found[:, flat], described)


@dataclass(frozen=True)
class Sum(Objective):
    """The sum of several logits, one map for all: what speaks for labels that go together."""

    indices: Sequence[int]

    def aim(self, predicted: Predicted) -> Aim:
        """Weigh each class by 1."""
        _of_classes(predicted, "a sum of classes")
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
        _of_classes(predicted, "a difference of classes")
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
        index, flat = _element(self.index, predicted.logits.shape[1:])
        return _weigh(predicted, {flat: 1.0}, f"element {' '.join(map(str, index))}")


def _element(given: int | tuple[int, ...], shape: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """Return where an element is in an output of ``shape``, as full indices where it has places, and flattened.

    Raises
    ------
    TargetError
        Out of range, or not as many indices as dimensions.
    """
    index = (given,) if isinstance(given, int | np.integer) else tuple(given)
    inside = shape if len(index) == len(shape) else (int(np.prod(shape)),) if len(index) == 1 else None
    if inside is None:
        raise TargetError(f"element {list(index)} has {len(index)} indices; one image's output is {list(shape)}")
    for position, size in zip(index, inside, strict=True):
        if not 0 <= position < size:
            raise TargetError(f"element {list(index)} is out of range: one image's output is {list(shape)}")
    flat = int(np.ravel_multi_index(index, inside)) if inside else 0
    return (tuple(int(i) for i in np.unravel_index(flat, shape)) if len(shape) > 1 else index), flat
