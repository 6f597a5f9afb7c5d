"""What a gradient rule is: a row of a table, one formula per input."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import FgcamError, UnsupportedOperatorError
from ..graph.value import Array

InputRule = Callable[..., Array]
"""``rule(g, y, *inputs, **attributes) -> cotangent of one input``; None where there is none."""


@dataclass(frozen=True)
class EachInput:
    """One formula for any number of inputs: ``rule(i, g, y, *inputs, **attributes)``."""

    rule: Callable[..., Array]


@dataclass(frozen=True)
class AllOutputs:
    """Formulas that read every output: ``g`` and ``y`` are tuples, ``g`` with None where nothing came."""

    rules: tuple[InputRule | None, ...]


Row = tuple[InputRule | None, ...] | EachInput | AllOutputs
"""One formula per input, None where there is no derivative; the last may be left out."""

Rules = Mapping[str, Row]


def refused(*_: Array, **__: object) -> Array:
    """Stand for an input whose derivative exists but has no rule."""
    raise UnsupportedOperatorError(
        "a parameter that depends on the layer has no gradient rule here. Choose a layer after it."
    )


def product(dims: Sequence[object]) -> int | None:
    """Return how many elements ``dims`` hold, None where one of them is free."""
    return math.prod(static(dims)) if all(isinstance(d, int) for d in dims) else None


def static(dims: Sequence[object]) -> list[int]:
    """Return ``dims`` as ints.

    Raises
    ------
    FgcamError
        When one of them is free.
    """
    if not all(isinstance(d, int) for d in dims):
        raise FgcamError(f"a dimension of {list(dims)} that must be known is dynamic; fix the input's size (--size)")
    return [d for d in dims if isinstance(d, int)]
