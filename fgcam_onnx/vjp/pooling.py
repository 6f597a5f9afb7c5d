"""VJPs of pooling operators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.rounding import pool_padding
from ..graph.value import Array, Value
from .rule import Rules, static
from .scattering import added
from .separable import apply_along, windows


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
        auto_pad=auto_pad,
        ceil_mode=ceil_mode or None,
        dilations=dilations,
        kernel_shape=list(kernel_shape),
        pads=pads,
        strides=strides,
    )
    sent = _of_seen(g, x, auto_pad, dilations, kernel_shape, pads, strides)
    flat, places, sent = (e.reshape(v, (None,)) for v in (x, where, sent))
    return e.reshape_like(added("ScatterElements", flat, places, sent, axis=0), x)


def _of_seen(
    g: Value,
    x: Value,
    auto_pad: str,
    dilations: Sequence[int] | None,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None,
    strides: Sequence[int] | None,
) -> Value:
    """Return ``g``, 0 for windows that see nothing but padding, and so have no maximum."""
    space, n = g.shape[2:], len(kernel_shape)
    stride, dilation, pad = strides or [1] * n, dilations or [1] * n, pads or [0] * 2 * n
    if all(d == 1 for d in dilation) or not all(isinstance(d, int) for d in (*space, *x.shape[2:])):
        return g
    for a, (size, out) in enumerate(zip(static(x.shape[2:]), static(space), strict=True)):
        before, _ = pool_padding(
            size, kernel=kernel_shape[a], stride=stride[a], pads=(pad[a], pad[n + a]), auto_pad=auto_pad
        )
        place = np.arange(out)[:, None] * stride[a] - before + np.arange(kernel_shape[a]) * dilation[a]
        seen = ((place >= 0) & (place < size)).any(1)
        if not seen.all():
            g = g * g.emitter.constant(seen.astype(g.dtype).reshape(-1, *[1] * (n - 1 - a)))
    return g


def average_pool_x(
    g: Value,
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
    return _spread(
        "AveragePool",
        g,
        x,
        dilations,
        kernel_shape,
        pads,
        strides,
        auto_pad=auto_pad,
        ceil_mode=ceil_mode or None,
        count_include_pad=count_include_pad or None,
    )


def _spread(
    op: str,
    g: Value,
    x: Value,
    dilations: Sequence[int] | None,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None,
    strides: Sequence[int] | None,
    **attrs: Any,
) -> Value:
    """Return the adjoint of a pooling ``op`` that is linear and acts on each axis alone."""
    size, out = static(x.shape[2:]), static(g.shape[2:])
    n = len(size)
    stride, dilation, pad = strides or [1] * n, dilations or [1] * n, pads or [0] * 2 * n
    explicit = attrs["auto_pad"] == "NOTSET"
    moving = [a for a in range(n) if (kernel_shape[a], stride[a], pad[a], pad[n + a]) != (1, 1, 0, 0)]
    return apply_along(
        g,
        {
            2 + a: windows(
                g,
                op,
                (size[a], out[a]),
                dilations=[dilation[a]] if dilation[a] > 1 else None,
                kernel_shape=[kernel_shape[a]],
                pads=[pad[a], pad[n + a]] if explicit else None,
                strides=[stride[a]],
                **attrs,
            )
            for a in moving
        },
    )


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
    g: Value,
    y: Value,
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
    norm: Array = y
    safe: Any = g
    safe = safe if p == 1 else np.where(norm > 0, safe / np.power(np.where(norm > 0, norm, 1), float(p - 1)), 0)
    rest = {"auto_pad": auto_pad, "ceil_mode": ceil_mode or None, "p": 1}
    spread = _spread("LpPool", safe, x, dilations, kernel_shape, pads, strides, **rest)
    return np.sign(x) * np.power(np.abs(x), float(p - 1)) * spread


RULES: Rules = {
    "AveragePool": (average_pool_x,),
    "GlobalAveragePool": (global_average_pool_x,),
    "GlobalMaxPool": (global_max_pool_x,),
    "LpPool": (lp_pool_x,),
    "MaxPool": (max_pool_x,),
}
