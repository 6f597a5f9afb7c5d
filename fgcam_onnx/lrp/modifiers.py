"""Modifiers: which part of an input or a weight takes part in a relevance rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..graph.facts import facts_of
from ..graph.value import Value


@dataclass(frozen=True)
class Modifier:
    """A named function of a tensor; tables and tests refer to it by name."""

    name: str
    apply: Callable[[Value], Value]

    def __call__(self, value: Value) -> Value:
        return self.apply(value)


def is_non_negative(value: Value) -> bool:
    """Tell whether the graph shows that ``value`` is never below 0."""
    return value.name in facts_of(value.emitter.model).non_negative


def _extreme(value: Value, which: str) -> Value:
    """Return the lowest or highest element of each image, in the shape of ``value``."""
    axes = list(range(1, value.rank))
    one = value.min(axes, keepdims=True) if which == "lowest" else value.max(axes, keepdims=True)
    return value.emitter.expand_like(one, value)


absolute = Modifier("absolute", lambda v: v if is_non_negative(v) else abs(v))
highest = Modifier("highest", lambda v: _extreme(v, "highest"))
keep = Modifier("keep", lambda v: v)
lowest = Modifier("lowest", lambda v: _extreme(v, "lowest"))
negative = Modifier("negative", lambda v: np.minimum(v, 0))
ones = Modifier("ones", lambda v: np.ones_like(v))
positive = Modifier("positive", lambda v: v if is_non_negative(v) else np.maximum(v, 0))
square = Modifier("square", lambda v: v * v)
