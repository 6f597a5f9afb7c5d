"""Relevance through normalizations that are not merged into a linear operator.

With the spread held constant, as that of BatchNormalization is, they are linear, ``y = w (x - mean(x)) / spread + b``,
and share as linear operators do (Ali et al., 2022, arXiv:2202.07304; Achtibat et al., 2024, arXiv:2402.05602). Handing
relevance on unchanged would not do: where the mean or the shift makes most of an output, a share in proportion to the
small input explodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import vjp
from ..backward import Pullback
from ..graph.facts import facts_of
from ..graph.tape import Record
from ..graph.value import Array, Value
from ..vjp.normalization import per_channel
from .rules import Division, Given, first, passthrough


def as_linear(divide: Division) -> Pullback:
    """Return ``R_i = x_i sum_j dy_j/dx_i R_j / s(y_j)`` with the spread held constant; unchanged without mean."""

    def pull(record: Record, given: Given) -> list[Value | None]:
        if record.op not in NORMALIZATIONS:
            return passthrough(record, given)
        share: Any = divide(first(given), record.output)
        x: Value | None = record.inputs[0]
        if record.op == "BatchNormalization":
            g = vjp.pullback(record, (share,))[0]
            return [None if g is None or x is None else x * g, *[None] * (len(record.inputs) - 1)]
        scale: Value | None = record.inputs[1]
        if x is None or scale is None:
            raise TypeError(f"{record} lacks an input")
        message: Value = x * CENTRED[record.op](share, x, scale, **record.attrs)
        return [message, *[None] * (len(record.inputs) - 1)]

    return pull


def _through(g: Array, x: Array, axes: Sequence[int], epsilon: float) -> Array:
    """Return the cotangent of ``x`` given that of ``(x - mean) / spread``, the spread constant."""
    centred = x - x.mean(axes, keepdims=True)
    inverse = 1 / np.sqrt((centred * centred).mean(axes, keepdims=True) + epsilon)
    return inverse * (g - g.mean(axes, keepdims=True))


def _layer(g: Array, x: Value, scale: Value, *, axis: int = -1, epsilon: float = 1e-5, **_: Any) -> Array:
    return _through(g * scale, x, range(axis % x.rank, x.rank), epsilon)


def _instance(g: Array, x: Value, scale: Value, *, epsilon: float = 1e-5, **_: Any) -> Array:
    return _through(g * per_channel(scale, x.rank), x, range(2, x.rank), epsilon)


def _group(g: Array, x: Value, scale: Value, *, num_groups: int, epsilon: float = 1e-5, **_: Any) -> Array:
    batch, channels, *space = x.shape
    grouped = (batch, num_groups, channels // num_groups if isinstance(channels, int) else None, *space)
    gs = (g * per_channel(scale, x.rank)).reshape(grouped)
    return x.emitter.reshape_like(_through(gs, x.reshape(grouped), range(2, x.rank + 1), epsilon), x)


CENTRED: dict[str, Callable[..., Array]] = {
    "GroupNormalization": _group,
    "InstanceNormalization": _instance,
    "LayerNormalization": _layer,
}


NORMALIZATIONS = ("BatchNormalization", *CENTRED)


def all_addends(divide: Division) -> Pullback:
    """Return the rule of a sum in which constants take their share, too, preprocessing aside.

    A constant is a bias, a shift or a position; what an addend that is broadcast gets is summed.
    """

    def pull(record: Record, given: Given) -> list[Value | None]:
        r, varying = first(given), record.varying
        signs = [1, -1] if record.op == "Sub" else [1] * len(record.inputs)
        if len(varying) == 1 and _preprocesses(record):
            return [r if i == varying[0] else None for i in range(len(record.inputs))]
        share = divide(r, record.output if record.op != "Mean" else record.output * len(record.inputs))
        return [
            (v if s > 0 else -v) * share if i in varying and v is not None else None
            for i, (v, s) in enumerate(zip(record.inputs, signs, strict=True))
        ]

    return pull


def _preprocesses(record: Record) -> bool:
    known = facts_of(record.emitter.model).preprocessed
    x = record.inputs[record.varying[0]]
    return x is not None and x.emitter.origin(x) in known
