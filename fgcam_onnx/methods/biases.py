"""What an operator adds to the score that is not its inputs times their gradients: its biases.

A network that is piecewise linear is, at one image, ``f(x) = sum(x * df/dx) + sum(b * df/db)`` over all biases
(Srinivas & Fleuret, 2019, arXiv:1905.00780). What other operators add is their implicit bias, ``y - J x``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph.operators import VIEWS
from ..graph.tape import Record
from ..graph.value import Value
from .walks import Cotangents

HOMOGENEOUS = VIEWS | frozenset(
    [
        "Abs", "AveragePool", "DepthToSpace", "Expand", "Gather", "GatherElements", "GatherND", "GlobalAveragePool",
        "GlobalMaxPool", "LeakyRelu", "MaxPool", "Neg", "PRelu", "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean",
        "ReduceMin", "ReduceSum", "Relu", "Resize", "Slice", "SpaceToDepth", "Split", "Tile", "Upsample",
    ]
)  # fmt: skip
"""Operators that are their input times their slope."""

JOINING = frozenset({"Concat", "Max", "Mean", "Min", "Sum", "Where"})
"""Homogeneous in all their inputs together: those that do not depend on the image act as biases."""


def biases_of(record: Record, given: Cotangents, returned: Cotangents) -> list[Value]:
    """Return what ``record`` adds to the score, place by place: bias times gradient.

    Terms have the shape of the output, or of an input where input and output have no places in common.
    """
    g = given[0]
    if record.op in HOMOGENEOUS or g is None:
        return []
    ends = list(zip(record.inputs, record.on_tape, strict=True))
    others = [v for v, on in ends if v is not None and not on and v.dtype.kind == "f"]
    if record.op in JOINING or record.op in ("Add", "Sub"):
        if not others:
            return []
    elif record.op == "Pad" and all(v.constant is not None and not v.constant.any() for v in others):
        return []
    if record.op in EXPLICIT and sum(record.on_tape) == 1:
        return EXPLICIT[record.op](record, g)
    return _implicit(record, given, returned)


def _implicit(record: Record, given: Cotangents, returned: Cotangents) -> list[Value]:
    ends = [
        (v, ct, sign)
        for values, cts, sign in ((record.outputs, given, 1), (record.inputs, returned, -1))
        for v, ct in zip(values, cts, strict=False)
        if v is not None and ct is not None
    ]
    shape = record.output.shape
    if all(ct.shape[1:] == shape[1:] and ct.rank == len(shape) and v.rank <= len(shape) for v, ct, _ in ends):
        first, *rest = [v * ct if sign > 0 else -(v * ct) for v, ct, sign in ends]
        return [sum(rest, first)]
    return [v * ct if sign > 0 else -(v * ct) for v, ct, sign in ends]


def _added(record: Record, g: Value) -> list[Value]:
    """Return the constant that a sum adds to what is on the tape."""
    (constant,) = [v for v, on in zip(record.inputs, record.on_tape, strict=True) if not on and v is not None]
    taken = record.op == "Sub" and record.on_tape[0]
    return [-(g * constant) if taken else g * constant]


def _third(record: Record, g: Value) -> list[Value]:
    """Return the bias that a product takes as its third input."""
    bias = record.inputs[2] if len(record.inputs) > 2 else None
    if bias is None:
        return []
    if record.op == "Gemm":
        return [g * (bias * float(record.attrs.get("beta", 1.0)))]
    return [g * _per_channel(bias, g)]


def _per_channel(v: Value, like: Value) -> Value:
    return v.reshape([None if a == 1 else 1 for a in range(like.rank)]) if like.rank > 2 else v


def _normalized(record: Record, g: Value) -> list[Value]:
    """Return what a BatchNormalization with fixed statistics adds."""
    _, scale, bias, mean, variance = record.inputs[:5]
    if scale is None or bias is None or mean is None or variance is None:
        return []
    added = bias - mean * scale / np.sqrt(variance + float(record.attrs.get("epsilon", 1e-5)))
    return [g * _per_channel(added, g)]


def _nothing(record: Record, g: Value) -> list[Value]:
    return []


def _divided(record: Record, g: Value) -> list[Value]:
    """Return what is left of a quotient: nothing by a constant, all of it twice under a constant."""
    return [] if record.on_tape[0] else [g * record.output * 2]


EXPLICIT: dict[str, Callable[[Record, Any], list[Value]]] = {
    "Add": _added,
    "BatchNormalization": _normalized,
    "Conv": _third,
    "ConvTranspose": _third,
    "Div": _divided,
    "Gemm": _third,
    "MatMul": _nothing,
    "Mul": _nothing,
    "Sub": _added,
}
"""Operators whose bias can be read, where one input is on the tape."""
