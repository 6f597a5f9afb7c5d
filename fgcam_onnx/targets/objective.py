"""What a target is where it is not a class: how much each element of the output counts, on given images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TargetError
from ..heads import Head

Weights = NDArray[np.float32]


@dataclass(frozen=True)
class Predicted:
    """What the model gave for N images, before anything is explained.

    Attributes
    ----------
    logits : ndarray of shape (N, ...), float32
        The output that is explained, before a trailing Softmax or Sigmoid.
    outputs : mapping of str to ndarray of shape (N, ...)
        The model's other outputs, where a target needs them.
    size : (int, int)
        Height and width of the model's input.
    channel_axis : int, optional
        The axis of the classes of ``logits``, where the graph shows it.
    head : Head, optional
        What the output means; None where nobody asked.
    """

    logits: NDArray[np.float32]
    outputs: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    size: tuple[int, int] = (0, 0)
    channel_axis: int | None = None
    head: Head | None = None

    def image(self, index: int) -> Predicted:
        """Return what the model gave for one image, N = 1."""
        one = slice(index, index + 1)
        return replace(self, logits=self.logits[one], outputs={n: a[one] for n, a in self.outputs.items()})


@dataclass(frozen=True)
class Aim:
    """What a target comes to on N images.

    Attributes
    ----------
    weights : ndarray of shape (N, ...), float32
        How much each element of the output counts: the gradient of the score.
    score : ndarray of shape (N,), float32
        The number that is explained.
    described : tuple of N str
        What it is, for people.
    """

    weights: Weights
    score: NDArray[np.float32]
    described: tuple[str, ...]

    @classmethod
    def linear(cls, weights: Weights, predicted: Predicted, described: str) -> Aim:
        """Return the aim at the sum of ``weights`` times the logits."""
        total = (weights.astype(np.float64) * predicted.logits).reshape(len(weights), -1).sum(1)
        return cls(weights.astype(np.float32), total.astype(np.float32), (described,) * len(weights))

    @classmethod
    def joined(cls, aims: Sequence[Aim]) -> Aim:
        """Return the aims at several images as one."""
        return cls(
            np.concatenate([a.weights for a in aims]),
            np.concatenate([a.score for a in aims]),
            tuple(text for a in aims for text in a.described),
        )


@dataclass(frozen=True)
class Objective(ABC):
    """A number computed from the outputs, to be explained.

    Attributes
    ----------
    labels : sequence of str
        Class names by index, for descriptions.
    """

    labels: Sequence[str] = field(default=(), kw_only=True, repr=False, compare=False)

    @property
    def reads_others(self) -> bool:
        """Whether it needs outputs beside the one that is explained."""
        return False

    @abstractmethod
    def aim(self, predicted: Predicted) -> Aim:
        """Return what it comes to on ``predicted``.

        Raises
        ------
        TargetError
            It does not fit the output.
        AbsentError
            An image shows no such thing.
        """

    def named(self, index: int) -> str:
        """Return the first name of a class, or ``class 3`` where there are no labels."""
        known = isinstance(index, int | np.integer) and 0 <= index < len(self.labels)
        label = self.labels[index].split(",")[0].strip() if known else ""
        return label or f"class {index}"


def checked_class(index: int, classes: int) -> int:
    """Return ``index`` as an int.

    Raises
    ------
    TargetError
        Not an integer, or out of range.
    """
    if isinstance(index, bool) or not isinstance(index, int | np.integer):
        raise TargetError(f"a class is an index, not {index!r}")
    if not 0 <= index < classes:
        raise TargetError(f"target {index} is out of range: the model has classes 0 to {classes - 1}")
    return int(index)


def checked_box(box: Sequence[float]) -> tuple[float, float, float, float]:
    """Return (x0, y0, x1, y1).

    Raises
    ------
    TargetError
        Not four finite numbers with x0 < x1 and y0 < y1.
    """
    try:
        numbers = tuple(float(v) for v in box)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != 4 or not np.isfinite(numbers).all() or numbers[0] >= numbers[2] or numbers[1] >= numbers[3]:
        raise TargetError(f"a box is x0,y0,x1,y1 with x0 < x1 and y0 < y1, in pixels of the input; got {box!r}")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def box_text(box: Sequence[float]) -> str:
    """Return a box as a description has it."""
    return "box " + " ".join(f"{v:g}" for v in box)
