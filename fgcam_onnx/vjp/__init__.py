"""Gradient rules: one table, merged from the families, an operator in one family only.

Imports errors, graph and matrices.
"""

from __future__ import annotations

from ..graph.tape import Record
from ..graph.value import Value
from . import (
    constant,
    contraction,
    elementwise,
    indexing,
    movement,
    normalization,
    pooling,
    reduction,
    regions,
    resizing,
    sampling,
)
from .pullback import gradient_pullback as gradient_pullback
from .pullback import merged
from .rule import AllOutputs, EachInput, Row, Rules

RULES: dict[str, Row] = merged(
    constant.RULES,
    contraction.RULES,
    elementwise.RULES,
    indexing.RULES,
    movement.RULES,
    normalization.RULES,
    pooling.RULES,
    reduction.RULES,
    regions.RULES,
    resizing.RULES,
    sampling.RULES,
)
"""The rows of all operators, by name; one of your own may be added, or take the place of another."""


def pullback(record: Record, cotangents: tuple[Value | None, ...]) -> list[Value | None]:
    """Return the vector-Jacobian product of ``record``: one cotangent or None per input."""
    return gradient_pullback(RULES, record, cotangents)


__all__ = ["RULES", "AllOutputs", "EachInput", "Row", "Rules"]
