"""What a gradient rule is: a row of a table, one formula per input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import FgcamError, UnsupportedOperatorError
from ..graph.value import Array

InputRule = Callable[..., Array]
"""``rule(g, y, *inputs, **attributes) -> cotangent of one input``."""


@dataclass(frozen=True)
class EachInput:
    """One formula for any number of inputs: ``rule(i, g, y, *inputs, **attributes)``."""

    rule: Callable[..., Array]


def refused(*_: Array, **__: object) -> Array:
    """Stand for an input whose derivative exists but has no rule."""
    raise UnsupportedOperatorError(
        "the weight of this operator depends on the input, for which there is no rule"
    )


Row = tuple[InputRule | None, ...] | EachInput
"""One rule per input, None where there is no derivative; later inputs may be left out (no rule)."""

Rules = Mapping[str, Row]


def static(dims: Sequence[object]) -> list[int]:
    """Return ``dims`` as ints.

    Raises
    ------
    FgcamError
        When one of them is free.
    """
    if not all(isinstance(d, int) for d in dims):
        raise FgcamError(
            f"a dimension of {list(dims)} that must be known is dynamic; fix the input's size (--shape)"
        )
    return [d for d in dims if isinstance(d, int)]
