"""The classes of an answer in the order of their scores, with names and probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import OptionError


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
    if isinstance(count, bool) or not hasattr(count, "__index__") or count < 1:
        raise OptionError(f"how many classes is a whole number, 1 at least, not {count!r}")
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
