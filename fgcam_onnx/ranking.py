"""The classes of an answer in the order of their scores, with names and probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .asked import whole_of


@dataclass(frozen=True)
class Ranked:
    """A class of an answer.

    Attributes
    ----------
    index : int
    label : str
        Its first name; its index where it has none.
    score : float
        Its logit.
    probability : float or None
        What the model's end makes of it; None where it makes nothing.
    """

    index: int
    label: str
    score: float
    probability: float | None

    def __str__(self) -> str:
        """Return its name and how sure it is."""
        return f"{self.label} {self.score:.4g}" if self.probability is None else f"{self.label} {self.probability:.3f}"


def ranked(
    scores: NDArray[Any], probabilities: NDArray[Any] | None, *, labels: Sequence[str], count: int
) -> tuple[Ranked, ...]:
    """Return the ``count`` classes with the highest of the ``scores``, (K,), of one answer; of fewer all.

    Raises
    ------
    OptionError
        ``count`` is no whole number above 0.
    """
    count = whole_of(count, "how many classes", least=1)
    flat = np.asarray(scores, np.float64).reshape(-1)
    return tuple(
        Ranked(
            int(i),
            (labels[i].split(",")[0].strip() if i < len(labels) else "") or str(i),
            float(flat[i]),
            None if probabilities is None else float(probabilities[i]),
        )
        for i in np.argsort(-flat, kind="stable")[:count]
    )
