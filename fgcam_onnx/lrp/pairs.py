"""Products of more or fewer than two factors, written on the tape as products of pairs and sums, which rules are for.

The forward graph stays as it is. A Gemm whose third operand depends on the input is a Gemm and an Add; an Einsum of one
operand is a sum and a transposition, or takes a diagonal by multiplying by 1; one of several multiplies pair by pair,
its constants first: together they are the weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..graph.tape import Record, Tape
from ..graph.value import Value
from ..vjp.contraction import spelled_out

Factor = tuple[str, Value, bool]
"""The letters of an operand, its value, and whether the walk continues to it."""


def in_pairs(tape: Tape) -> Tape:
    """Return ``tape`` with every Gemm and Einsum a product of two operands."""
    records: list[Record] = []
    for record in tape:
        if record.op == "Gemm" and not record.domain and 2 in record.varying:
            records += _gemm(record)
        elif record.op == "Einsum" and not record.domain and len(record.inputs) != 2:
            records += _einsum(record)
        else:
            records.append(record)
    return replace(tape, records=tuple(records))


def _gemm(record: Record) -> list[Record]:
    """Write ``alpha A' B' + beta C`` as a product, a multiple and a sum."""
    e, (a, b, c) = record.emitter, record.inputs
    if a is None or b is None or c is None:
        raise TypeError(f"{record} lacks an operand")
    attrs = {k: v for k, v in record.attrs.items() if k != "beta"}
    made = e.emit("Gemm", a, b, **attrs)
    made = e.stands_for(made, record.output) if {0, 1} & set(record.varying) else made
    found: list[Record] = []
    on_product = any(record.on_tape[:2])
    if on_product:
        found.append(_record(record, "Gemm", (a, b), made, record.on_tape[:2], **attrs))
    beta = float(record.attrs.get("beta", 1.0))
    if beta != 1:
        factor = e.constant(np.asarray(beta, c.dtype))
        scaled = e.stands_for(e.emit("Mul", c, factor), c if beta > 0 else record.output)
        found.append(_record(record, "Mul", (c, factor), scaled, (record.on_tape[2], False)))
        c = scaled
    return [*found, replace(record, op="Add", inputs=(made, c), on_tape=(on_product, record.on_tape[2]), attrs={})]


def _einsum(record: Record) -> list[Record]:
    """Write an Einsum as a chain of those of two operands."""
    e, xs = record.emitter, [x for x in record.inputs if x is not None]
    terms, result = spelled_out(record.attrs["equation"], [x.rank for x in xs])
    factors: list[Factor] = list(zip(terms, xs, record.on_tape, strict=True))
    if len(xs) == 1 and len(set(terms[0])) == len(terms[0]):
        return _rearranged(record, xs[0], terms[0], result)
    varying = set(record.varying)
    order = sorted(range(len(xs)), key=lambda i: i in varying)
    if len(factors) == 1:
        factors.append(("", e.constant(np.ones((), xs[0].dtype)), False))
        order.append(1)
    found: list[Record] = []
    (letters, x, on), varies = factors[order[0]], order[0] in varying
    for place, i in enumerate(order[1:], start=2):
        other, y, along = factors[i]
        rest = "".join(factors[k][0] for k in order[place:])
        last = place == len(order)
        kept = result if last else "".join(c for c in dict.fromkeys(letters + other) if c in result + rest)
        equation = f"{letters},{other}->{kept}"
        varies = varies or i in varying
        made = record.output if last else e.emit("Einsum", x, y, equation=equation)
        if not last and varies:
            made = e.stands_for(made, record.output)
        if varies and (on or along):
            found.append(_record(record, "Einsum", (x, y), made, (on, along), equation=equation))
        letters, x, on = kept, made, on or along
    return found


def _rearranged(record: Record, x: Value, letters: str, result: str) -> list[Record]:
    """Write an Einsum of one operand as the sum over what it loses, and the order of what it keeps."""
    e = record.emitter
    lost = e.ints([a for a, c in enumerate(letters) if c not in result])
    kept = "".join(c for c in letters if c in result)
    found: list[Record] = []
    if len(kept) < len(letters):
        total = e.stands_for(e.emit("ReduceSum", x, lost, keepdims=0), record.output)
        found.append(_record(record, "ReduceSum", (x, lost), total, (True, False), keepdims=0))
        x = total
    perm = [kept.index(c) for c in result]
    return [*found, _record(record, "Transpose", (x,), record.output, (True,), perm=perm)]


def _record(
    record: Record, op: str, inputs: tuple[Value, ...], output: Value, on_tape: Sequence[bool], **attrs: object
) -> Record:
    return replace(record, op=op, inputs=inputs, outputs=(output,), attrs=attrs, on_tape=tuple(on_tape))
