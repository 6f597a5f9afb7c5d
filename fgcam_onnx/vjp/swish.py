"""Swish as exporters write it, ``x * sigmoid(x)``: one record, whose slope takes fewer passes over memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ..graph.tape import Record, Tape


def joined(tape: Tape) -> Tape:
    """Return ``tape`` with each Sigmoid that only its Mul reads joined to that Mul, as Swish."""
    reads = Counter(v.name for r in tape for v in r.inputs if v is not None)
    kept = tape.sources | {tape.output}
    sigmoids: dict[tuple[str, str], int] = {}
    records = dict(enumerate(tape))
    for i, record in enumerate(tape):
        names = [v.name if v is not None else "" for v in (*record.inputs, record.outputs[0])]
        if record.op == "Sigmoid" and reads[names[1]] == 1 and names[1] not in kept:
            sigmoids[names[0], names[1]] = i
        elif record.op == "Mul":
            for k in (0, 1):
                at = sigmoids.get((names[k], names[1 - k]))
                if at is not None:
                    del records[at]
                    records[i] = _swish_of(record, k)
    return replace(tape, records=tuple(records.values()))


def _swish_of(record: Record, k: int) -> Record:
    """Return Swish of input ``k`` in place of a product."""
    return replace(record, op="Swish", inputs=(record.inputs[k],), on_tape=(True,))
