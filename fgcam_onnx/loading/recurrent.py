"""Recurrent operators (LSTM, GRU, RNN) of known length, written out step by step.

All directions take each step together: a state has the shape (directions, 1, batch, hidden), and what runs
backwards reads and writes its sequence in reverse.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import UnsupportedOperatorError
from ..graph.value import Value
from .rewriting import Formulas, Results, given

LONGEST = 512
"""Most steps that are written out: each adds about a dozen nodes."""

DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}

State = tuple[Value | None, ...]
Times = Callable[[Value], Value]
"""``(directions, ..., inputs) -> (directions, ..., outputs)``: the product with a weight of each direction."""
Step = Callable[[Value, State], State]
"""``(the input's part of a step, the states before) -> the states after``, a state of zeros being None."""


def lstm(
    x: Value, w: Value, r: Value, b: Value | None = None, lengths: Value | None = None,
    h: Value | None = None, c: Value | None = None, p: Value | None = None,
    *, hidden_size: int, clip: float | None = None, direction: str = "forward", input_forget: int = 0, layout: int = 0,
    activations: Sequence[str] = (), activation_alpha: Sequence[float] = (), activation_beta: Sequence[float] = (),
) -> Results:  # fmt: skip
    """Return every ``h``, the last ``h`` and the last ``c`` (Hochreiter & Schmidhuber, 1997; gates i, o, f, c)."""
    _refuse(x, lengths, clip, layout, given=_names(activations), default=["Sigmoid", "Tanh", "Tanh"])
    if p is not None or input_forget:
        raise UnsupportedOperatorError("peepholes and coupled gates are not written out")
    return _lstm(x, _by(w), _by(r), b, (h, c), direction)


def dynamic_quantize_lstm(
    x: Value, w: Value, r: Value, b: Value | None = None, lengths: Value | None = None,
    h: Value | None = None, c: Value | None = None, p: Value | None = None,
    w_scale: Value | None = None, w_zero: Value | None = None, r_scale: Value | None = None,
    r_zero: Value | None = None,
    *, hidden_size: int, clip: float | None = None, direction: str = "forward", input_forget: int = 0, layout: int = 0,
    activations: Sequence[str] = (), activation_alpha: Sequence[float] = (), activation_beta: Sequence[float] = (),
) -> Results:  # fmt: skip
    """Return what ONNX Runtime's LSTM of integer weights does: it quantizes what they multiply by its range."""
    _refuse(x, lengths, clip, layout, given=_names(activations), default=["Sigmoid", "Tanh", "Tanh"])
    if p is not None or input_forget or w_scale is None or r_scale is None:
        raise UnsupportedOperatorError("peepholes, coupled gates and weights without a scale are not written out")
    return _lstm(x, _by_integers(w, w_scale, w_zero), _by_integers(r, r_scale, r_zero), b, (h, c), direction)


def _lstm(x: Value, by_w: Times, by_r: Times, b: Value | None, initial: State, direction: str) -> Results:
    def step(z: Value, state: State) -> State:
        h, c = state
        i, o, f, g = _parts(z if h is None else z + by_r(h), 4)
        fresh = _sigmoid(i) * np.tanh(g)
        c = fresh if c is None else _sigmoid(f) * c + fresh
        return _sigmoid(o) * np.tanh(c), c

    bias = None if b is None else _total(*_parts(_rows(b), 2))
    return _unrolled(x, by_w, bias, initial, step, direction)


def gru(
    x: Value, w: Value, r: Value, b: Value | None = None, lengths: Value | None = None, h: Value | None = None,
    *, hidden_size: int, clip: float | None = None, direction: str = "forward", layout: int = 0,
    linear_before_reset: int = 0,
    activations: Sequence[str] = (), activation_alpha: Sequence[float] = (), activation_beta: Sequence[float] = (),
) -> Results:  # fmt: skip
    """Return every ``h`` and the last (Cho et al., 2014, arXiv:1406.1078; gates z, r, h)."""
    _refuse(x, lengths, clip, layout, given=_names(activations), default=["Sigmoid", "Tanh"])
    rt = _columns(r)
    gates, candidate = _split(rt, [2 * hidden_size, hidden_size])
    bias = inner = None
    if b is not None:
        wb, rb = _parts(_rows(b), 2)
        outer, inner = _split(rb, [2 * hidden_size, hidden_size])
        bias = wb + x.emitter.emit("Concat", outer, inner * 0 if linear_before_reset else inner, axis=-1)

    def step(zs: Value, state: State) -> State:
        (h,) = state
        z, s, new = _parts(zs, 3)
        if h is not None:
            past_z, past_s = _parts(h @ gates, 2)
            z, s = z + past_z, s + past_s
        reset = _sigmoid(s)
        if linear_before_reset:
            past = _total(None if h is None else h @ candidate, inner)
            new = new if past is None else new + reset * past
        elif h is not None:
            new = new + (reset * h) @ candidate
        update, new = _sigmoid(z), np.tanh(new)
        return ((1 - update) * new if h is None else (1 - update) * new + update * h,)

    return _unrolled(x, _by(w), bias, (h,), step, direction)


def rnn(
    x: Value, w: Value, r: Value, b: Value | None = None, lengths: Value | None = None, h: Value | None = None,
    *, hidden_size: int, clip: float | None = None, direction: str = "forward", layout: int = 0,
    activations: Sequence[str] = (), activation_alpha: Sequence[float] = (), activation_beta: Sequence[float] = (),
) -> Results:  # fmt: skip
    """Return every ``h`` and the last (Elman, 1990); the activation is Tanh, Relu or Sigmoid."""
    names = _names(activations) or ["Tanh"]
    plain = [names[0]] if names[0] in ("Relu", "Sigmoid") else ["Tanh"]
    _refuse(x, lengths, clip, layout, given=names, default=plain)
    rt = _columns(r)

    def step(z: Value, state: State) -> State:
        (h,) = state
        return (x.emitter.emit(plain[0], z if h is None else z + h @ rt),)

    bias = None if b is None else _total(*_parts(_rows(b), 2))
    return _unrolled(x, _by(w), bias, (h,), step, direction)


RECURRENT: Formulas = {
    "GRU": gru,
    "LSTM": lstm,
    "RNN": rnn,
    "com.microsoft.DynamicQuantizeLSTM": dynamic_quantize_lstm,
}


def _refuse(
    x: Value, lengths: Value | None, clip: float | None, layout: int, *, given: Sequence[str], default: Sequence[str]
) -> None:
    """Refuse what is not written out.

    Raises
    ------
    UnsupportedOperatorError
        Naming it.
    """
    steps = x.shape[0]
    if not isinstance(steps, int) or not 0 < steps <= LONGEST:
        raise UnsupportedOperatorError(f"a sequence of {steps} steps is not written out")
    whole = lengths is None or (lengths.constant is not None and bool(np.all(lengths.constant == steps)))
    if not whole or clip is not None or layout:
        raise UnsupportedOperatorError("sequences of several lengths, clipping and layout 1 are not written out")
    if given and list(given) != list(default) * (len(given) // len(default)):
        raise UnsupportedOperatorError(f"the activations {list(given)} are not written out")


def _names(activations: Sequence[Any]) -> list[str]:
    return [a.decode() if isinstance(a, bytes) else a for a in activations]


def _unrolled(
    x: Value, by_w: Times, bias: Value | None, initial: State, step: Step, direction: str
) -> tuple[Value | None, ...]:
    """Take every step, and return the sequence of the first state and the last of each."""
    e = x.emitter
    steps, count = x.shape[0], DIRECTIONS[direction]
    forth = e.emit("Unsqueeze", x, e.ints([0]))
    runs = {"forward": [forth], "reverse": [_reversed(forth)]}.get(direction) or [forth, _reversed(forth)]
    sequence = runs[0] if count == 1 else e.emit("Concat", *runs, axis=0)
    z = by_w(sequence)
    z = z if bias is None else z + bias
    state = tuple(None if s is None or _is_zero(s) else e.emit("Unsqueeze", s, e.ints([1])) for s in initial)
    found: list[Value] = []
    for part in _parts(z, steps if isinstance(steps, int) else 1, axis=1):
        state = step(part, state)
        found += [state[0]] if state[0] is not None else []
    y = e.emit("Concat", *found, axis=1)
    if direction == "reverse":
        y = _reversed(y)
    elif count == 2:
        first, second = _parts(y, 2, axis=0)
        y = e.emit("Concat", first, _reversed(second), axis=0)
    last = [None if s is None else e.emit("Squeeze", s, e.ints([1])) for s in state]
    return (y.transpose([1, 0, 2, 3]), *last)


def _total(*terms: Value | None) -> Value | None:
    """Return the sum of those terms that are there."""
    kept = [t for t in terms if t is not None]
    return functools.reduce(operator.add, kept) if kept else None


def _is_zero(state: Value) -> bool:
    return state.constant is not None and not state.constant.any()


def _reversed(x: Value) -> Value:
    """Return ``x`` with its second axis, time, in reverse."""
    e = x.emitter
    return e.emit("Slice", x, e.ints([-1]), e.ints([np.iinfo(np.int64).min]), e.ints([1]), e.ints([-1]))


def _columns(w: Value) -> Value:
    """Return (directions, 1, inputs, outputs) of a weight (directions, outputs, inputs)."""
    e = w.emitter
    return e.emit("Unsqueeze", w.transpose([0, 2, 1]), e.ints([1]))


def _by(w: Value) -> Times:
    columns = _columns(w)
    return lambda x: x @ columns


def _by_integers(w: Value, scale: Value, zero: Value | None) -> Times:
    """Return the product with integers (directions, inputs, outputs) of what is quantized, for each direction."""
    e = w.emitter
    count = w.shape[0] if isinstance(w.shape[0], int) else 1

    def apart(v: Value | None) -> list[Value | None]:
        parts = [None] * count if v is None else [*_parts(v, count, axis=0)]
        return [None if p is None else p.reshape(_drop(p)) for p in parts]

    weights, scales, zeros = apart(w), apart(scale), apart(zero)

    def times(x: Value) -> Value:
        found = []
        for part, q, s, z in zip(_parts(x, count, axis=0), weights, scales, zeros, strict=True):
            xq, xs, xz = e.emit_many("DynamicQuantizeLinear", part, count=3)
            if s is not None:
                y = e.emit("MatMulInteger", xq, q, xz, *given(z)).astype(np.float32)
                found.append(y * (xs * s))
        return found[0] if count == 1 else e.emit("Concat", *found, axis=0)

    return times


def _drop(part: Value) -> list[int]:
    """Return the shape of one direction's part: a vector or a scalar where it has no more."""
    return [d for d in part.shape[1:] if isinstance(d, int)] if part.rank > 1 else []


def _rows(b: Value) -> Value:
    """Return (directions, 1, 1, outputs) of a bias (directions, outputs)."""
    return b.emitter.emit("Unsqueeze", b, b.emitter.ints([1, 2]))


def _parts(x: Value, count: int, *, axis: int = -1) -> tuple[Value, ...]:
    size = x.shape[axis]
    return _split(x, [size // count] * count if isinstance(size, int) else [], axis=axis)


def _split(x: Value, sizes: Sequence[int], *, axis: int = -1) -> tuple[Value, ...]:
    if len(sizes) == 1:
        return (x,)
    return x.emitter.emit_many("Split", x, x.emitter.ints(sizes), axis=axis, count=len(sizes))


def _sigmoid(x: Value) -> Value:
    return x.emitter.emit("Sigmoid", x)
