"""What each operator makes of the relevance that reaches it: handed on whole, absorbed, or made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..backward import Pullback
from ..graph.tape import Record
from ..graph.value import Value

TRACE = "trace/"
"""Prefix of a program's outputs that hold a trace: ``trace/<index>/<operator>/<node>``, (N, 2) in the walk's order."""


@dataclass(frozen=True)
class Step:
    """One operator of a walk: the sums, of shape (N,), of the relevance that arrived and that was handed on."""

    op: str
    node: str
    arriving: Value
    leaving: Value


def traced(pullback: Pullback, steps: list[Step]) -> Pullback:
    """Return ``pullback``, noting in ``steps`` what arrives at each operator and what leaves it."""

    def walk(record: Record, given: tuple[Value | None, ...]) -> list[Value | None]:
        returned = pullback(record, given)
        arriving, leaving = _total(given), _total(returned)
        if arriving is not None:
            steps.append(Step(record.op, record.name, arriving, arriving * 0 if leaving is None else leaving))
        return returned

    return walk


def trace_outputs(steps: Sequence[Step]) -> dict[str, Value]:
    """Return the outputs that hold a trace, by name."""
    return {
        f"{TRACE}{i}/{s.op}/{s.node}": s.arriving.emitter.emit(
            "Concat", *(v.reshape((v.shape[0], 1)) for v in (s.arriving, s.leaving)), axis=1
        )
        for i, s in enumerate(steps)
    }


def _total(parts: Sequence[Value | None]) -> Value | None:
    """Return the sum of all parts for each image."""
    total: Value | None = None
    for part in parts:
        if part is not None:
            one = part.sum(list(range(1, part.rank)))
            total = one if total is None else total + one
    return total
