"""Canonizer: scales and shifts around a linear operator taken into its weights and bias, on the tape.

The forward graph stays as it is. What changes is what a rule sees: Conv, BatchNormalization becomes one Conv with
other weights, MatMul, Add becomes one with a bias. Rules that modify weights give other relevance for the two
forms of the same function; the merged one is what published composites are meant for.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..graph.subgraphs import reads
from ..graph.tape import Record, Tape
from ..graph.value import Array, Value
from .rules import Shifted, bias_of

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Affine:
    """What an operator does to its input, element by element: ``scale * x + shift``; None for 1 and 0."""

    scale: Value | None = None
    shift: Value | None = None


def canonized(tape: Tape) -> Tape:
    """Return ``tape`` with scales and shifts merged into the linear operator before them, else after them.

    An operator stays where its input has other readers, is a source of the tape, or where merging would not give
    the same function (a shift before a convolution that pads with zeros).
    """
    records = dict(enumerate(tape))
    made = {o.name: i for i, r in records.items() for o in r.outputs[:1] if o is not None}
    readers = _readers(tape)
    for i, record in list(records.items()):
        x = _data(record)
        at = made.get(x.name) if x is not None else None
        if x is None or at is None or readers[x.name] > 1 or x.name in tape.sources:
            continue
        merged = _merged(records[at], record)
        if merged is not None:
            del records[at]
            records[i] = merged
    return replace(tape, records=tuple(records[i] for i in sorted(records)))


def _readers(tape: Tape) -> Counter[str]:
    """Return how many operators, and outputs, read each tensor of the model."""
    model = next(iter(tape)).emitter.model if tape.records else None
    counted: Counter[str] = Counter()
    if model is not None:
        for node in model.nodes:
            counted.update(set(reads(node)))
        counted.update(o.name for o in model.outputs)
    return counted


def _data(record: Record) -> Value | None:
    """Return the only input that depends on the graph's input."""
    return record.inputs[record.varying[0]] if len(record.varying) == 1 else None


def _merged(before: Record, after: Record) -> Record | None:
    """Return both as one linear operator, where they are one."""
    if before.domain or after.domain or len(before.varying) != 1:
        return None
    if before.op in WEIGHTED and (affine := affine_of(after)) is not None:
        return _scaled(before, after, affine)
    if before.op == "BatchNormalization" and after.op in WEIGHTED:
        return _scaled_before(before, after)
    return None


def affine_of(record: Record) -> Affine | None:
    """Return what a BatchNormalization, or arithmetic with a constant, does; None for any other operator."""
    if record.op == "BatchNormalization" and not record.attrs.get("training_mode"):
        return _normalization(record)
    if record.op not in ("Add", "Div", "Mul", "Sub") or len(record.varying) != 1:
        return None
    i = record.varying[0]
    constant = record.inputs[1 - i]
    if constant is None or (i and record.op in ("Div", "Sub")) or constant.rank > record.output.rank:
        return None
    table: dict[str, Affine] = {
        "Add": Affine(shift=constant),
        "Div": Affine(scale=1 / constant),
        "Mul": Affine(scale=constant),
        "Sub": Affine(shift=-constant),
    }
    return table[record.op]


def _normalization(record: Record) -> Affine | None:
    scale, bias, mean, variance = record.inputs[1:5]
    if scale is None or bias is None or mean is None or variance is None:
        return None
    factor: Array = scale / np.sqrt(variance + float(record.attrs.get("epsilon", 1e-5)))
    shape = (*scale.shape, *[1] * (record.output.rank - 2))
    return Affine(factor.reshape(shape), (bias - mean * factor).reshape(shape))


def _scaled(linear: Record, after: Record, affine: Affine) -> Record | None:
    """Return ``affine(linear(x))`` as one operator."""
    w = linear.inputs[1]
    if w is None or linear.varying != (0,):
        return None
    shift = bias_of(linear)
    if affine.scale is not None:
        factor = _per_channel(affine.scale, linear)
        if factor is None:
            return None
        w = w * _along(factor, w, _out_axis(linear, w), groups=_groups(linear))
        shift = None if shift is None else shift * affine.scale
    if affine.shift is not None:
        shift = affine.shift if shift is None else shift + affine.shift
    return _shifted(linear, after, w, shift)


def _scaled_before(normalization: Record, linear: Record) -> Record | None:
    """Return ``linear(normalization(x))`` as one operator, where padding does not come between them."""
    w, affine = linear.inputs[1], _normalization(normalization)
    plain = linear.op in ("Conv", "Gemm", "MatMul") and _groups(linear) == 1 and not any(linear.attrs.get("pads", ()))
    if w is None or affine is None or affine.scale is None or affine.shift is None or not plain:
        return None
    if linear.varying != (0,) or linear.attrs.get("transA") or (linear.op != "Conv" and normalization.output.rank != 2):
        return None
    axis = 1 if linear.op == "Conv" or linear.attrs.get("transB") else 0
    sums = [a for a in range(w.rank) if a != 1 - axis]
    constant = (w * _along(affine.shift.reshape((w.shape[axis],)), w, axis)).sum(sums)
    alpha = float(linear.attrs.get("alpha", 1.0))
    constant = (constant * alpha).reshape((w.shape[1 - axis], *[1] * (w.rank - 2)))
    bias = bias_of(linear)
    scaled = w * _along(affine.scale.reshape((w.shape[axis],)), w, axis)
    merged = _shifted(linear, linear, scaled, constant if bias is None else bias + constant)
    return replace(merged, inputs=(normalization.inputs[0], scaled), on_tape=(normalization.on_tape[0], False))


def _shifted(linear: Record, after: Record, w: Value, shift: Value | None) -> Shifted:
    """Return ``linear`` with weight ``w``, making the output of ``after``."""
    attrs: dict[str, Any] = {k: v for k, v in linear.attrs.items() if k != "beta"}
    return Shifted(
        linear.op, "", linear.name, (linear.inputs[0], w), after.outputs, attrs, (linear.on_tape[0], False), shift
    )


def _groups(linear: Record) -> int:
    return int(linear.attrs.get("group", 1))


def _out_axis(linear: Record, w: Value) -> int:
    if linear.op == "Conv" or (linear.op == "Gemm" and linear.attrs.get("transB")):
        return 0
    return 1 if linear.op in ("ConvTranspose", "Gemm") else w.rank - 1


def _per_channel(scale: Value, linear: Record) -> Value | None:
    """Return a scale as a vector over the output channels, or of one element; None where it differs otherwise."""
    rank = linear.output.rank
    axis = 1 if linear.op in ("Conv", "ConvTranspose") else rank - 1
    wide = [1] * (rank - scale.rank) + [d if isinstance(d, int) else 0 for d in scale.shape]
    if any(d != 1 for a, d in enumerate(wide) if a != axis):
        return None
    return scale.reshape((wide[axis],))


def _along(vector: Value, w: Value, axis: int, *, groups: int = 1) -> Value:
    """Return a vector shaped to broadcast along ``axis`` of ``w``."""
    size = vector.shape[0]
    if groups > 1 and axis == 1 and size != 1:
        return _along_groups(vector, w, groups)
    return vector.reshape([size if a == axis else 1 for a in range(w.rank)])


def _along_groups(vector: Value, w: Value, groups: int) -> Value:
    """Return a vector over the outputs of a grouped transposed convolution, whose weight is (in, out / groups, ...)."""
    each, per_group = w.shape[0], w.shape[1]
    if not isinstance(each, int) or not isinstance(per_group, int):
        raise TypeError("a weight has free dimensions")
    table = vector.reshape((groups, 1, per_group))
    repeated = table * vector.emitter.constant(np.ones((1, each // groups, 1), vector.dtype))
    return repeated.reshape((each, per_group, *[1] * (w.rank - 2)))
