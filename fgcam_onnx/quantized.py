"""What quantized operators mean to a backward walk.

The forward pass stays the deployed, integer one. A walk sees each quantized operator as its float meaning
on the real values that the integers stand for, ``(q - zero) * scale``. Rounding is straight-through, and
nothing flows where an output that starts at 0 is 0: a quantizer's saturation is often all that is left of
a ReLU. A quantizer of what cannot be negative cuts nothing off.

Half floats are seen the same way: a walk goes in float32 over operators that are run as they are deployed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .backward import Pullback
from .errors import UnsupportedOperatorError
from .graph.facts import facts_of
from .graph.model import LARGE
from .graph.quantization import LAYOUTS, MS, Layout, concat_layout, units_of
from .graph.tape import Record
from .graph.value import Array, Value

INTEGER_PRODUCTS = {"ConvInteger": "Conv", "MatMulInteger": "MatMul"}
ALONG_AXIS = 13
"""The opset since which a Softmax is along one axis."""

QUANTIZERS = ("Cast", "DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear")


@dataclass(frozen=True)
class Meaning:
    """A quantized operator as a float one.

    Attributes
    ----------
    record : Record
        The float operator on real values.
    positions : tuple of int
        Where each of its inputs stands among the quantized operator's.
    scales : tuple of Value or None
        Real units per integer of each input; None where the input is float, or its units are the output's.
    out_scale : Value or None
        Real units per integer of the output.
    saturating : Value or None
        The integer output, where it may have been cut off at 0.
    """

    record: Record
    positions: tuple[int, ...]
    scales: tuple[Value | None, ...]
    out_scale: Value | None = None
    saturating: Value | None = None


def is_half(value: Value | None) -> bool:
    """Tell float16 and bfloat16, in which gradients overflow and vanish."""
    return value is not None and value.dtype.name in ("bfloat16", "float16")


def real(value: Value) -> Value:
    """Return the real values that an integer activation stands for; a float one in float32 at least."""
    emitter = value.emitter
    if is_half(value):
        array = value.constant
        if array is not None and array.size <= LARGE:
            return emitter.constant(array.astype(np.float32))
        return emitter.stands_for(value.astype(np.float32), value)
    if value.dtype.kind == "f":
        return value
    units = units_of(emitter.model).get(value.name)
    if units is None:
        return emitter.stands_for(value.astype(np.float32), value)
    scale, zero = (emitter.value(n) if n else None for n in units)
    return emitter.stands_for(emitter.emit("DequantizeLinear", value, scale, zero), value)


def per_real_unit(layer: Value, g: Value) -> Value:
    """Return the cotangent of a layer's real values, given that of its integers."""
    units = units_of(layer.emitter.model).get(layer.name)
    return g / layer.emitter.value(units[0]) if units is not None and layer.dtype.kind in "iu" else g


def on_real_values(pullback: Pullback, *, units: bool, floor: bool = True) -> Pullback:
    """Let ``pullback`` see quantized operators as their float meaning.

    With ``units``, cotangents of integer tensors are per integer, as derivatives are; without, they are
    shares of something that has no units, as relevance is. Without ``floor``, a quantizer that cuts off at 0
    lets everything through, as rounding does.
    """

    def walk(record: Record, given: tuple[Value | None, ...]) -> list[Value | None]:
        meaning = meaning_of(record)
        if meaning is None:
            return pullback(record, given)
        g = given[0]
        if g is None:
            return [None] * len(record.inputs)
        if units and floor and meaning.saturating is not None:
            g = above_floor(g, meaning.saturating)
        if units and meaning.out_scale is not None:
            g = g / meaning.out_scale
        returned = pullback(meaning.record, (g, *given[1 : len(meaning.record.outputs)]))
        result: list[Value | None] = [None] * len(record.inputs)
        for position, scale, ct in zip(meaning.positions, meaning.scales, returned, strict=False):
            result[position] = ct * scale if units and ct is not None and scale is not None else ct
        return result

    return walk


def above_floor(g: Array, q: Value) -> Array:
    """Return ``g`` where ``q`` stands for more than 0, if it cannot stand for less: the quantizer is a ReLU.

    At any other end of the range an integer does not tell whether it was cut off; there ``g`` passes, as
    it does through rounding. Taking the end for a cut would silence the strongest activations, and the
    very score, of a model calibrated to its extremes.
    """
    non_negative = facts_of(q.emitter.model).non_negative
    value: Array = real(q)
    return np.where(value > 0, g, 0) if q.emitter.origin(q) in non_negative else g


def meaning_of(record: Record) -> Meaning | None:
    """Return what ``record`` means, or None where it is not quantized."""
    if record.op in QUANTIZERS and not record.domain:
        return _quantizer(record)
    if record.op in INTEGER_PRODUCTS:
        return _integer_product(record)
    layout = _layout(record)
    if layout is not None:
        return _qlinear(record, layout)
    return _on_reals(record)


def meant(record: Record) -> Record:
    """Return what a quantized operator means to a walk; any other as it is."""
    meaning = meaning_of(record)
    return record if meaning is None else meaning.record


def _layout(record: Record) -> Layout | None:
    key = f"{record.domain}.{record.op}" if record.domain else record.op
    return concat_layout(len(record.inputs)) if key == MS + "QLinearConcat" else LAYOUTS.get(key)


def _float_record(
    record: Record,
    op: str,
    inputs: Sequence[Value | None],
    outputs: Sequence[Value | None],
    positions: Sequence[int],
    attrs: dict[str, Any] | None = None,
) -> Record:
    on_tape = tuple(p < len(record.on_tape) and record.on_tape[p] for p in positions)
    kept = dict(record.attrs) if attrs is None else attrs
    on_tape += (False,) * (len(inputs) - len(on_tape))
    return Record(op, "", record.name, tuple(inputs), tuple(outputs), kept, on_tape)


def _quantizer(record: Record) -> Meaning | None:
    """See conversions between integers and floats as the identity."""
    x, y = record.inputs[0], record.output
    if x is None or (record.op == "Cast" and not _keeps_values(x, y)):
        return None
    if record.attrs.get("block_size"):
        raise UnsupportedOperatorError(f"{record} quantizes activations in blocks, which has no rule")
    identity = _float_record(record, "Identity", [real(x)], [real(y)], [0], {})
    if record.op == "Cast":
        return Meaning(identity, (0,), (None,))
    if record.op == "DequantizeLinear":
        return Meaning(identity, (0,), (_real_scale(record),))
    if record.op == "DynamicQuantizeLinear":
        return Meaning(identity, (0,), (None,), record.outputs[1])
    scale = _real_scale(record)
    facts = facts_of(x.emitter.model)
    uncut = x.name in facts.preprocessed or x.emitter.origin(x) in facts.non_negative
    return Meaning(identity, (0,), (None,), scale, None if uncut else y)


def _keeps_values(x: Value, y: Value) -> bool:
    """Tell a Cast from integers to floats, between floats of which one is half, or to integers that are dequantized.

    To any other integers it is a step, as Floor is.
    """
    if y.dtype.kind in "iu" and x.dtype.kind not in "biu":
        return y.name in units_of(y.emitter.model)
    to_float = y.dtype.kind == "f" or is_half(y)
    between = is_half(x) or (is_half(y) and x.dtype.kind == "f")
    return to_float and (x.dtype.kind in "iu" or between)


def _real_scale(record: Record) -> Value | None:
    """Return the scale of a quantizer, shaped so that it broadcasts along its axis."""
    scale, x = record.inputs[1], record.inputs[0]
    if scale is None or x is None:
        return None
    wide = real(scale)
    if wide.rank != 1 or wide.shape == (1,):
        return wide
    axis = record.attrs.get("axis", 1) % x.rank
    return wide.reshape([wide.shape[0] if a == axis else 1 for a in range(x.rank)])


def _integer_product(record: Record) -> Meaning:
    """See ConvInteger and MatMulInteger as the product of what is left when the zero points are taken off."""
    inputs = [*record.inputs, None, None]
    data = [_offset(inputs[i], inputs[i + 2]) for i in (0, 1)]
    op = INTEGER_PRODUCTS[record.op]
    y = record.output.astype(np.float32)
    return Meaning(_float_record(record, op, data, [y], [0, 1]), (0, 1), (None, None))


def _offset(q: Value | None, zero: Value | None) -> Value:
    if q is None:
        raise UnsupportedOperatorError("an integer product lacks an operand")
    x = q.astype(np.float32)
    return q.emitter.stands_for(x - zero.astype(np.float32) if zero is not None else x, q)


def _qlinear(record: Record, layout: Layout) -> Meaning:
    """See an operator that takes and gives integers as the float one between them."""
    if record.attrs.get("channels_last"):
        raise UnsupportedOperatorError(f"{record} with channels last has no rule")
    varying = record.varying
    plain = [record.inputs[i] for i in layout.plain]
    data: list[Value] = []
    scales: list[Value] = []
    for k, (i, s, z) in enumerate(layout.data):
        q, scale, zero = record.inputs[i], record.inputs[s], record.inputs[z]
        if q is None or scale is None:
            raise UnsupportedOperatorError(f"{record} lacks an operand")
        axis = _channel_axis(layout.means, k, q, record.attrs)
        data.append(_dequantized(q, scale, zero, axis, fixed=i not in varying))
        scales.append(scale)
    positions = [*layout.plain, *(i for i, _, _ in layout.data)]
    if layout.bias is not None and layout.bias < len(record.inputs) and record.inputs[layout.bias] is not None:
        data.append(_bias(record, layout, scales))
        positions.append(layout.bias)
    y = record.output
    integer = y.dtype.kind in "iu"
    attrs = {k: v for k, v in record.attrs.items() if k not in ("channels_last", "opset")}
    if record.attrs.get("opset", ALONG_AXIS) < ALONG_AXIS and attrs.get("axis", -1) not in (-1, y.rank - 1):
        raise UnsupportedOperatorError(
            f"{record} sums over several axes, as before opset {ALONG_AXIS}, which has no rule"
        )
    out = record.inputs[layout.out[0]] if integer and layout.out is not None else None
    float_record = _float_record(record, layout.means, [*plain, *data], [real(y)], positions, attrs)
    units = (*[None] * len(plain), *scales)
    return Meaning(float_record, tuple(positions), units, out, y if integer else None)


def _channel_axis(means: str, operand: int, q: Value, attrs: Any) -> int:
    """Return the axis along which an operand's scales differ, where they do."""
    if means == "Conv":
        return 0 if operand else 1
    if means == "Gemm":
        return 0 if operand and attrs.get("transB") else q.rank - 1
    return q.rank - 1 if operand else q.rank - 2


def _dequantized(q: Value, scale: Value, zero: Value | None, axis: int, *, fixed: bool) -> Value:
    """Return ``(q - zero) * scale``; of a weight in plain arithmetic, which runtimes fold once."""
    emitter = q.emitter
    if not fixed:
        return emitter.stands_for(emitter.emit("DequantizeLinear", q, scale, zero), q)

    def shaped(v: Value) -> Value:
        if v.rank == 0 or v.shape == (1,):
            return v.reshape((1,))
        if v.rank == 1:
            return v.reshape([v.shape[0] if a == axis else 1 for a in range(q.rank)])
        return v

    x = q.astype(np.float32)
    if zero is not None:
        x = x - shaped(zero.astype(np.float32))
    return x * shaped(scale)


def _bias(record: Record, layout: Layout, scales: Sequence[Value]) -> Value:
    bias = record.inputs[layout.bias or 0]
    if bias is None:
        raise UnsupportedOperatorError(f"{record} lacks its bias")
    return bias.astype(np.float32) * (scales[0] * scales[1])


def _on_reals(record: Record) -> Meaning | None:
    """See an ordinary operator on integers (MaxPool, Reshape) or half floats as it acts on their real values."""
    chosen = [i for i in record.varying if (v := record.inputs[i]) is not None and v.dtype.kind in "iu"]
    integer = any(record.on_tape[i] for i in chosen)
    if not integer and not any(map(is_half, (*record.inputs, *record.outputs))):
        return None

    def seen(v: Value | None, *, counts: bool) -> Value | None:
        return real(v) if v is not None and (is_half(v) or (counts and integer)) else v

    inputs = [seen(v, counts=i in chosen) for i, v in enumerate(record.inputs)]
    outputs = [seen(v, counts=v is not None and v.dtype.kind in "iu") for v in record.outputs]
    positions = tuple(range(len(record.inputs)))
    float_record = _float_record(record, record.op, inputs, outputs, positions, dict(record.attrs))
    return Meaning(float_record, positions, (None,) * len(positions))
