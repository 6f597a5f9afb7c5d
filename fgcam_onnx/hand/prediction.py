"""What a model makes of a picture, with the names of its classes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import TargetError
from ..heads import Head
from ..ranking import Ranked, ranked
from ..report import render

SHOWN = 5


@dataclass(frozen=True, repr=False)
class Prediction:
    """What a model makes of one picture.

    Attributes
    ----------
    scores : ndarray, float32
        The output, before a trailing Softmax or Sigmoid; (K,) of classes.
    head : Head
        What the output means.
    name : str
        What the picture is called.
    probabilities : ndarray or None
        What the model's end makes of the scores; None where it makes nothing.
    """

    scores: NDArray[np.float32]
    head: Head
    labels: tuple[str, ...] = ()
    name: str = ""
    probabilities: NDArray[np.float32] | None = field(init=False)

    def __post_init__(self) -> None:
        made = self.head.probabilities(self.scores[None])
        object.__setattr__(self, "probabilities", None if made is None else made[0])

    def top(self, count: int = SHOWN) -> tuple[Ranked, ...]:
        """Return the classes with the highest scores.

        Raises
        ------
        TargetError
            The output is no scores of classes.
        """
        if self.head.kind != "classes":
            raise TargetError(f"the output is {self.head.told}: it ranks no classes. See .scores, or explain it")
        return ranked(self.scores, self.probabilities, labels=self.labels, count=count)

    @property
    def label(self) -> str:
        """The name of the top class."""
        return self.top(1)[0].label

    @property
    def index(self) -> int:
        """The top class."""
        return self.top(1)[0].index

    @property
    def probability(self) -> float | None:
        """Its probability; None where the model makes none."""
        return self.top(1)[0].probability

    def __repr__(self) -> str:
        """Return the top classes, or what the output is."""
        return f"<Prediction: {self._told()}>"

    def _told(self) -> str:
        if self.head.kind == "classes":
            return ", ".join(map(str, self.top()))
        if self.scores.size == 1:
            return f"{self.scores.item():.6g}"
        return f"{self.head.told}, {' x '.join(map(str, self.scores.shape))}"

    def _repr_html_(self) -> str:
        rows = self.top() if self.head.kind == "classes" else ()
        return render("prediction.html", name=self.name, told=self._told(), rows=rows)
