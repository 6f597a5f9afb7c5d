"""VJPs of pooling operators."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..graph.value import Array, Value
from ..matrices import average_matrix
from .rule import Rules, static
from .scattering import added
from .separable import apply_along


def max_pool_x(
    g: Value,
    y: Value,
    x: Value,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    storage_order: int = 0,
    strides: Sequence[int] | None = None,
) -> Value:
    """Send ``g`` to the first maximum of each window; windows may overlap."""
    e = x.emitter
    _, where = e.emit_many(
        "MaxPool",
        x,
        count=2,
        ceil_mode=ceil_mode or None,
        dilations=dilations,
        kernel_shape=list(kernel_shape),
        pads=pads,
        strides=strides,
    )
    flat, places, sent = (e.reshape(v, (None,)) for v in (x, where, g))
    return e.reshape_like(added("ScatterElements", flat, places, sent, axis=0), x)


def average_pool_x(
    g: Array,
    y: Value,
    x: Value,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Value:
    """Spread ``g`` over each window: the average factorises into one matrix per axis."""
    size, out = static(x.shape[2:]), static(g.shape[2:])
    n = len(size)
    stride, dilation, pad = strides or [1] * n, dilations or [1] * n, pads or [0] * 2 * n
    matrices = {
        2 + a: average_matrix(
            size[a],
            out[a],
            kernel=kernel_shape[a],
            stride=stride[a],
            dilation=dilation[a],
            pad=(pad[a], pad[n + a]),
            include_pad=bool(count_include_pad),
        ).T
        for a in range(n)
    }
    return apply_along(g, matrices)


def global_average_pool_x(g: Value, y: Value, x: Value) -> Value:
    """Spread ``g`` evenly over space."""
    return g.emitter.expand_like(g * (1 / math.prod(static(x.shape[2:]))), x)


def global_max_pool_x(g: Value, y: Value, x: Value) -> Value:
    """Send ``g`` to the first maximum of each channel."""
    e = x.emitter
    n = x.rank
    flat = x.reshape((*x.shape[:2], math.prod(static(x.shape[2:]))))
    first = e.emit("ArgMax", flat, axis=2, keepdims=1)
    updates = e.reshape(g, (*x.shape[:2], 1))
    sent = e.emit("ScatterElements", e.zeros_like(flat), first, updates, axis=2)
    return e.reshape_like(sent, x) if n != 3 else sent


def lp_pool_x(
    g: Array,
    y: Array,
    x: Value,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int],
    p: int = 2,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Array:
    """Return ``sign(x) |x|^(p-1)`` times the window sum of ``g / y^(p-1)``; 0 where ``y`` is."""
    safe = np.where(y > 0, g / np.power(np.where(y > 0, y, 1), float(p - 1)), 0)
    spread = average_pool_x(
        safe,
        y,
        x,
        count_include_pad=1,
        dilations=dilations,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )
    return np.sign(x) * np.power(np.abs(x), float(p - 1)) * spread * math.prod(kernel_shape)


RULES: Rules = {
    "AveragePool": (average_pool_x,),
    "GlobalAveragePool": (global_average_pool_x,),
    "GlobalMaxPool": (global_max_pool_x,),
    "LpPool": (lp_pool_x,),
    "MaxPool": (max_pool_x,),
}
