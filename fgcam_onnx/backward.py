"""The engine: walk a tape backwards with a pullback.

Gradients, relevance and FG-CAM's refinement are this walk with different pullbacks.
"""

from __future__ import annotations

from collections.abc import Callable

from .errors import UnsupportedOperatorError
from .graph.tape import Record, Tape
from .graph.value import Value

Pullback = Callable[[Record, tuple[Value | None, ...]], list[Value | None]]
"""``(record, cotangent of each output) -> cotangent or None of each input``."""


def backward(tape: Tape, seed: Value, pullback: Pullback) -> dict[str, Value]:
    """Return the cotangent of every tensor on ``tape``, by name.

    Parameters
    ----------
    tape : Tape
        What to walk.
    seed : Value
        Cotangent of the tape's output, of its shape.
    pullback : Pullback
        What to do at each record.

    Raises
    ------
    UnsupportedOperatorError
        When an operator has no rule, or nothing flows back to a source: never a silent zero.
    """
    cotangents = {tape.output: seed}
    blocked: list[Record] = []
    for record in reversed(tape):
        given = tuple(cotangents.get(o.name) if o is not None else None for o in record.outputs)
        if all(g is None for g in given):
            continue
        returned = pullback(record, given)
        if all(ct is None for ct in returned):
            blocked.append(record)
        for x, on_tape, ct in zip(record.inputs, record.on_tape, returned, strict=True):
            if on_tape and x is not None and ct is not None:
                ct = unbroadcast(ct, x)
                known = cotangents.get(x.name)
                cotangents[x.name] = ct if known is None else known + ct
    for source in tape.sources:
        if source not in cotangents:
            where = ", ".join(str(r) for r in blocked[:3]) or "an operator"
            raise UnsupportedOperatorError(
                f"nothing flows back from {tape.output!r} to {source!r}: {where} has no derivative. "
                "Choose a layer after it."
            )
    return cotangents


def unbroadcast(ct: Value, x: Value) -> Value:
    """Sum ``ct`` over the axes along which ``x`` was broadcast."""
    extra = ct.rank - x.rank
    if extra > 0:
        ct = ct.sum(list(range(extra)))
    wide = [a for a, (c, d) in enumerate(zip(ct.shape, x.shape, strict=True)) if d == 1 and c != 1]
    return ct.sum(wide, keepdims=True) if wide else ct
