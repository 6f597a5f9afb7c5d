"""VJPs of reductions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import FgcamError
from ..graph.value import Array, Value
from .rule import AllOutputs, InputRule, Rules, product


def reduced_axes(x: Value, axes: Value | None, noop: int = 0) -> list[int]:
    """Return the axes that a Reduce operator reduces, non-negative and each once; all where none are given."""
    if axes is None:
        return [] if noop else list(range(x.rank))
    if axes.constant is None:
        raise FgcamError("a reduction over axes that are computed has no gradient rule")
    named = list(dict.fromkeys(int(a) % x.rank for a in np.atleast_1d(axes.constant)))
    return named or ([] if noop else list(range(x.rank)))


def _kept(v: Value, axes: Sequence[int], keepdims: int) -> Value:
    return v if keepdims or not axes else v.emitter.emit("Unsqueeze", v, v.emitter.ints(sorted(axes)))


def _rule(slope: Callable[[Array, Array, Array, list[int]], Array]) -> InputRule:
    """Make a rule of ``slope(g, y, x, axes)``, whose result is broadcast to ``x``."""

    def rule(
        g: Value,
        y: Value,
        x: Value,
        axes: Value | None = None,
        *,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Array:
        over = reduced_axes(x, axes, noop_with_empty_axes)
        ct = slope(_kept(g, over, keepdims), _kept(y, over, keepdims), x, over)
        return ct if ct.shape == x.shape else x.emitter.expand_like(ct, x)

    return rule


def _extremum(g: Array, y: Array, x: Array, axes: list[int]) -> Array:
    """Share ``g`` among equal extrema, as torch's amax does."""
    hit = (x == y).astype(x.dtype)
    return g * hit / hit.sum(axes, keepdims=True)


def _prod(g: Array, y: Array, x: Array, axes: list[int]) -> Array:
    """Return ``g`` times the product of the others; exact also where one factor is 0."""
    zero = (x == 0).astype(x.dtype)
    zeros = zero.sum(axes, keepdims=True)
    safe = np.where(x == 0, 1, x)
    others = x.emitter.emit("ReduceProd", safe, x.emitter.ints(axes), keepdims=1)
    return g * np.where(zeros == 0, y / safe, np.where(zeros == 1, zero * others, 0))


def cum_sum_x(g: Value, y: Value, x: Value, axis: Value, *, exclusive: int = 0, reverse: int = 0) -> Value:
    """Return the cumulative sum from the other end."""
    return g.emitter.emit("CumSum", g, axis, exclusive=exclusive or None, reverse=None if reverse else 1)


def _mean(g: Array, y: Array, x: Array, axes: list[int]) -> Array:
    """Return an equal part of ``g``."""
    count = product([x.shape[a] for a in axes])
    return g / (count or np.ones_like(x).sum(axes, keepdims=True))


def top_k_x(
    g: tuple[Value, ...],
    y: tuple[Value, ...],
    x: Value,
    k: Value,
    *,
    axis: int = -1,
    largest: int = 1,
    sorted: int = 1,  # noqa: A002
) -> Value:
    """Send ``g`` back to the places the values came from."""
    e = x.emitter
    return e.emit("ScatterElements", e.zeros_like(x), y[1], g[0], axis=axis)


# fmt: off
RULES: Rules = {
    "CumSum":          (cum_sum_x,),
    "ReduceL1":        (_rule(lambda g, y, x, axes: g * np.sign(x)),),
    "ReduceL2":        (_rule(lambda g, y, x, axes: np.where(y == 0, 0, g * x / np.where(y == 0, 1, y))),),
    "ReduceLogSum":    (_rule(lambda g, y, x, axes: g / np.exp(y)),),
    "ReduceLogSumExp": (_rule(lambda g, y, x, axes: g * np.exp(x - y)),),
    "ReduceMax":       (_rule(_extremum),),
    "ReduceMean":      (_rule(_mean),),
    "ReduceMin":       (_rule(_extremum),),
    "ReduceProd":      (_rule(_prod),),
    "ReduceSum":       (_rule(lambda g, y, x, axes: g),),
    "ReduceSumSquare": (_rule(lambda g, y, x, axes: 2 * g * x),),
    "TopK":            AllOutputs((top_k_x,)),
}
# fmt: on
