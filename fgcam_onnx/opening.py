"""What a graph does to an input before its first weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .graph.model import Model

PASSING = frozenset(
    {
        "Cast", "Concat", "DequantizeLinear", "Dropout", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Shape",
        "Slice", "Squeeze", "Transpose", "Unsqueeze",
    }
)  # fmt: skip
"""Operators that leave values as they are, for what is asked here."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Opening:
    """What is first done to an input.

    Attributes
    ----------
    operators : str
        The arithmetic, in order.
    centre : ndarray or None
        What is subtracted, in units of the input, a number or one for each channel.
    spread : ndarray or None
        The deviation that a first BatchNormalization divides by, in units of the input.
    factor : float or None
        What the input is multiplied by, where nothing is subtracted.
    room : (float, float) or None
        What a quantizer of the input can hold.
    gain : float or None
        Median length of the first layer's filters, times what the input was multiplied by.
    """

    operators: str = ""
    centre: Array | None = None
    spread: Array | None = None
    factor: float | None = None
    room: tuple[float, float] | None = None
    gain: float | None = None


@dataclass
class _Walk:
    """The input as ``slope * x + shift`` on the way."""

    slope: Array
    shift: Array
    operators: list[str]
    room: tuple[float, float] | None = None
    spread: Array | None = None
    mean: Array | None = None


def opening(model: Model, name: str) -> Opening:
    """Return what is done to input ``name`` up to the first weights; what cannot be read is left out."""
    walk, reached = _Walk(np.ones(1), np.zeros(1), []), {name}
    gain: float | None = None
    for node in model.nodes:
        if not reached & set(node.input):
            continue
        constants = [model.constants[i] for i in node.input if i in model.constants]
        if node.op_type == "QuantizeLinear" and walk.room is None and len(constants) >= 1:
            walk.room = _room(constants)
        elif node.op_type in ("Add", "Sub", "Mul", "Div") and len(constants) == 1:
            _step(walk, node.op_type, _channels(constants[0]), first=node.input[0] in reached)
        elif node.op_type == "BatchNormalization" and len(constants) == 4:
            _normalized(walk, [np.asarray(c, np.float64).reshape(-1) for c in constants])
            break
        elif node.op_type not in PASSING and node.op_type != "QuantizeLinear":
            gain = _gain(walk, constants) if node.op_type in ("Conv", "Gemm", "MatMul") else None
            break
        reached.update(node.output)
    return _read(walk, gain)


def _channels(constant: NDArray[Any]) -> Array:
    return np.asarray(constant, np.float64).reshape(-1)[:4096]


def _step(walk: _Walk, op: str, c: Array, *, first: bool) -> None:
    """Follow an arithmetic operator with a constant; what does not broadcast here is passed over."""
    if c.size not in (1, 3) or (op == "Div" and (not first or not c.all())):
        return
    if c.size == 1 and float(c[0]) == (1.0 if op in ("Mul", "Div") else 0.0):
        return
    walk.operators.append(op)
    if op in ("Mul", "Div"):
        by = c if op == "Mul" else 1 / c
        walk.slope, walk.shift = walk.slope * by, walk.shift * by
    elif op == "Add":
        walk.shift = walk.shift + c
    else:
        sign = 1.0 if first else -1.0
        walk.slope, walk.shift = sign * walk.slope, sign * (walk.shift - c)


def _normalized(walk: _Walk, constants: list[Array]) -> None:
    walk.operators.append("BatchNormalization")
    mean, variance = constants[2], constants[3]
    if walk.slope.all() and mean.size in (1, 3):
        walk.mean = (mean - walk.shift) / walk.slope
        walk.spread = np.sqrt(np.maximum(variance, 0)) / np.abs(walk.slope)


def _room(constants: list[NDArray[Any]]) -> tuple[float, float] | None:
    if any(c.size != 1 for c in constants):
        return None
    scale = float(np.asarray(constants[0]).reshape(-1)[0])
    zero = constants[1] if len(constants) > 1 else np.zeros(1, np.uint8)
    if zero.dtype.kind not in "iu":
        return None
    ends, at = np.iinfo(zero.dtype), int(zero.reshape(-1)[0])
    return (ends.min - at) * scale, (ends.max - at) * scale


def _gain(walk: _Walk, constants: list[NDArray[Any]]) -> float | None:
    """Return the median length of the filters; only a convolution says which axis they are on."""
    weights = next((np.asarray(c, np.float64) for c in constants if c.ndim == 4), None)
    if weights is None or weights.dtype.kind != "f":
        return None
    lengths = np.sqrt((weights.reshape(len(weights), -1) ** 2).sum(1))
    return float(np.median(lengths) * np.abs(walk.slope).mean())


def _read(walk: _Walk, gain: float | None) -> Opening:
    shifted = bool(walk.shift.any()) and bool(walk.slope.all())
    centre = walk.mean if walk.mean is not None else -walk.shift / walk.slope if shifted else None
    scaled = not shifted and walk.mean is None and bool((walk.slope != 1).any())
    factor = float(np.abs(walk.slope).mean()) if scaled else None
    return Opening(" ".join(walk.operators), centre, walk.spread, factor, walk.room, gain)
