"""Look a record's rule up in a table and apply it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import FgcamError, UnsupportedOperatorError
from ..graph.subgraphs import CONTROL
from ..graph.tape import Record
from ..graph.value import Value
from .rule import AllOutputs, EachInput, Row, Rules

HINTS: Mapping[str, str] = (
    dict.fromkeys(
        CONTROL,
        "which of its graphs runs, or how often, is not known while loading, or it is more than 512 times. Choose "
        "a layer after it, a method that walks no graph (reciprocam, rise), fix what that depends on (the sizes of the "
        "inputs), or export the model without it.",
    )
    | dict.fromkeys(
        ("GRU", "LSTM", "RNN"),
        "it is written out where its length is known and at most 512, the same for the whole batch, and its "
        "activations are the default ones. Choose a layer after it, or fix the size of the input (--size).",
    )
    | dict.fromkeys(
        ("PackedAttention", "PackedMultiHeadAttention"),
        "it takes texts packed end to end, and runs on CUDA alone. Let onnxruntime.transformers optimize the model "
        "without packing, which writes Attention, or choose a layer after it.",
    )
)
"""Operators that loading writes in others where it can, and why it could not; or what to write instead."""


def merged(*tables: Rules) -> dict[str, Row]:
    """Merge tables, refusing an operator that stands in two of them."""
    result: dict[str, Row] = {}
    for table in tables:
        for op, row in table.items():
            if op in result:
                raise ValueError(f"two rules for {op!r}")
            result[op] = row
    return result


def key_of(record: Record) -> str:
    """Return the table key of a record: the operator, with its domain where that is not ONNX's."""
    return f"{record.domain}.{record.op}" if record.domain else record.op


def gradient_pullback(rules: Rules, record: Record, cotangents: tuple[Value | None, ...]) -> list[Value | None]:
    """Return one cotangent per input of ``record``, None off the tape or where there is no derivative.

    Raises
    ------
    UnsupportedOperatorError
        When ``rules`` has no row for the operator or no formula for an input on the tape.
    """
    row = rules.get(key_of(record))
    if row is None and record.op in HINTS:
        raise UnsupportedOperatorError(f"no gradient rule for {record}: {HINTS[record.op]}")
    if row is None:
        raise UnsupportedOperatorError(
            f"no gradient rule for {record}. Choose a layer after it, a method that walks no graph (reciprocam, rise), "
            f"or add a row: fgcam_onnx.vjp.RULES[{key_of(record)!r}] = …"
        )
    if not isinstance(row, AllOutputs) and any(c is not None for c in cotangents[1:]):
        raise UnsupportedOperatorError(
            f"only the first output of {record} has a gradient rule. Choose a layer after it."
        )
    return [_of_input(row, i, cotangents, record) if on else None for i, on in enumerate(record.on_tape)]


def _of_input(row: Row, i: int, cotangents: tuple[Value | None, ...], record: Record) -> Value | None:
    g: Any = cotangents
    y: Any = record.outputs
    if not isinstance(row, AllOutputs):
        g, y = cotangents[0], record.outputs[0]
    try:
        if isinstance(row, EachInput):
            result = row.rule(i, g, y, *record.inputs, **record.attrs)
        else:
            rules = row.rules if isinstance(row, AllOutputs) else row
            rule = rules[i] if i < len(rules) else None
            result = None if rule is None else rule(g, y, *record.inputs, **record.attrs)
    except UnsupportedOperatorError as error:
        raise UnsupportedOperatorError(f"{record}: {error}") from None
    except FgcamError as error:
        raise type(error)(f"{record}: {error}") from error
    if result is not None and not isinstance(result, Value):
        raise TypeError(f"the rule of {record} returned {type(result).__name__}")
    return result
