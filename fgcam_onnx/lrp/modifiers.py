"""Modifiers: which part of an input or a weight takes part in a relevance rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..graph.facts import facts_of
from ..graph.value import Array, Value

__all__ = [
    "Modifier",
    "above_lowest",
    "absolute",
    "below_highest",
    "keep",
    "less",
    "negative",
    "ones",
    "positive",
    "raised",
    "squared",
]


@dataclass(frozen=True)
class Modifier:
    """A named function of a tensor; tables and tests refer to it by name.

    Attributes
    ----------
    name : str
    apply : callable
    sign : {0, 1, -1}
        The only sign, 0 aside, of what it leaves; 0 where both are left.
    """

    name: str
    apply: Callable[[Array], Array]
    sign: int = 0

    def __call__(self, value: Value) -> Array:
        """Return the part of ``value``."""
        return self.apply(value)


def is_non_negative(value: Value) -> bool:
    """Tell whether the graph shows that ``value`` is never below 0."""
    return value.emitter.origin(value) in facts_of(value.emitter.model).non_negative


def _all_but_batch(value: Value) -> list[int]:
    return list(range(1, value.rank))


above_lowest = Modifier("above_lowest", lambda v: v - v.min(_all_but_batch(v), keepdims=True), 1)
absolute = Modifier("absolute", lambda v: v if is_non_negative(v) else abs(v), 1)
below_highest = Modifier("below_highest", lambda v: v - v.max(_all_but_batch(v), keepdims=True), -1)
keep = Modifier("keep", lambda v: v)
negative = Modifier("negative", lambda v: np.minimum(v, 0), -1)
positive = Modifier("positive", lambda v: v if is_non_negative(v) else np.maximum(v, 0), 1)
ones = Modifier("ones", lambda v: np.ones_like(v), 1)
squared = Modifier("squared", lambda v: v * v, 1)


def raised(part: Modifier, gamma: float) -> Modifier:
    """Return what adds ``gamma`` times a part of a tensor to it."""
    return Modifier(f"raised({part.name}, {gamma})", lambda v: v + gamma * part.apply(v))


def less(bound: Array) -> Modifier:
    """Return what takes ``bound``, a number or an array that broadcasts, off a tensor."""
    return Modifier("less", lambda v: v - bound)
