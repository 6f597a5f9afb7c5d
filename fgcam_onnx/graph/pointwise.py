"""Operators that work element by element, or along the last axis, as NumPy formulas: a few can be asked for numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

Array = NDArray[Any]

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)


def _cast(x: Array, *, to: int, **_: Any) -> Array:
    if to not in (*FLOATS, TensorProto.BOOL):
        raise ValueError("a step")
    return x.astype(np.bool_ if to == TensorProto.BOOL else np.float64)


def _softmax(x: Array, *, axis: int = -1) -> Array:
    shifted = np.exp(x - x.max(axis, keepdims=True))
    total: Array = shifted / shifted.sum(axis, keepdims=True)
    return total


def _clip(x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


def _reduced(reduce: Callable[..., Array]) -> Callable[..., Array]:
    def formula(x: Array, axes: Array | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Array:
        if axes is None or not keepdims or [int(a) for a in axes.ravel()] not in ([-1], [x.ndim - 1]):
            raise ValueError("not along the last axis")
        return reduce(x, axis=-1, keepdims=True)

    return formula


def _square_sum(x: Array, **along: Any) -> Array:
    total: Array = np.sum(x * x, **along)
    return total


_erf = np.vectorize(math.erf, otypes=[np.float64])

FORMULAS: dict[str, Callable[..., Array]] = {
    "Abs": np.abs,
    "Add": np.add,
    "And": np.logical_and,
    "Cast": _cast,
    "Clip": _clip,
    "Div": np.divide,
    "Dropout": lambda x, *_, **__: x,
    "Elu": lambda x, *, alpha=1.0: np.where(x > 0, x, alpha * (np.exp(np.minimum(x, 0)) - 1)),
    "Equal": np.equal,
    "Erf": _erf,
    "Exp": np.exp,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "HardSigmoid": lambda x, *, alpha=0.2, beta=0.5: np.clip(alpha * x + beta, 0, 1),
    "Identity": lambda x: x,
    "IsInf": lambda x, *, detect_negative=1, detect_positive=1: (
        (x == np.inf) & bool(detect_positive) | (x == -np.inf) & bool(detect_negative)
    ),
    "IsNaN": np.isnan,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Log": np.log,
    "Max": lambda *xs: np.maximum.reduce(np.broadcast_arrays(*xs)),
    "Min": lambda *xs: np.minimum.reduce(np.broadcast_arrays(*xs)),
    "Mul": np.multiply,
    "Neg": np.negative,
    "Not": np.logical_not,
    "Or": np.logical_or,
    "Pow": np.power,
    "Reciprocal": np.reciprocal,
    "ReduceL2": _reduced(lambda x, **along: np.sqrt(_square_sum(x, **along))),
    "ReduceMax": _reduced(np.max),
    "ReduceMean": _reduced(np.mean),
    "ReduceMin": _reduced(np.min),
    "ReduceSum": _reduced(np.sum),
    "ReduceSumSquare": _reduced(_square_sum),
    "Relu": lambda x: np.maximum(x, 0),
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Softmax": _softmax,
    "Softplus": lambda x: np.logaddexp(x, 0),
    "Sqrt": np.sqrt,
    "Sub": np.subtract,
    "Sum": lambda *xs: sum(xs[1:], xs[0]),
    "Tanh": np.tanh,
    "Where": np.where,
}
"""Operator to formula in float64; one whose settings it is not written for raises ValueError."""


def computed(nodes: Iterable[NodeProto], known: Mapping[str, Array], output: str) -> Array | None:
    """Return tensor ``output`` that ``nodes`` make of ``known`` tensors; None where a formula refuses."""
    values: dict[str, Array | None] = {**known, "": None}
    with np.errstate(all="ignore"):
        for node in nodes:
            attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            inputs = [values.get(i) for i in node.input]
            if any(v is None for v, i in zip(inputs, node.input, strict=True) if i):
                return None
            try:
                values[node.output[0]] = np.asarray(FORMULAS[node.op_type](*inputs, **attrs))
            except (TypeError, ValueError, IndexError):
                return None
    return values.get(output)
