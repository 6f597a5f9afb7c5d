"""VJPs of normalizations and of Softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import FgcamError
from ..graph.value import Array, Value
from .rule import InputRule, Rules, product, refused


def per_channel(v: Value, rank: int) -> Value:
    """Shape a (C,) vector so that it broadcasts along axis 1."""
    return v.emitter.reshape(v, (*v.shape, *[1] * (rank - 2)))


def batch_normalization_x(
    g: Value, y: Value, x: Value, scale: Value, bias: Value, mean: Value, var: Value,
    *, epsilon: float = 1e-5, momentum: float = 0.9, training_mode: int = 0,
) -> Array:  # fmt: skip
    """Return ``g * scale / sqrt(var + epsilon)``: statistics are constants at inference."""
    _refuse_training(training_mode)
    factor = scale.astype(var.dtype) / np.sqrt(var + epsilon)
    return g * per_channel(factor.astype(g.dtype), x.rank)


def _refuse_training(training_mode: int) -> None:
    if training_mode:
        raise FgcamError("BatchNormalization in training mode has no gradient rule; export for inference")


def _centred(x: Value, axes: Sequence[int], epsilon: float) -> tuple[Array, Array]:
    """Return the normalised ``x`` and the inverse standard deviation over ``axes``."""
    centred = x - x.mean(axes, keepdims=True)
    inverse = 1 / np.sqrt((centred * centred).mean(axes, keepdims=True) + epsilon)
    return centred * inverse, inverse


def _normalized_x(gs: Value, x: Value, axes: Sequence[int], epsilon: float) -> Array:
    """Return the cotangent of ``x`` given that of its normalised form."""
    hat, inverse = _centred(x, axes, epsilon)
    return inverse * (gs - gs.mean(axes, keepdims=True) - hat * (gs * hat).mean(axes, keepdims=True))


def layer_normalization_x(
    g: Value, y: Value, x: Value, scale: Value, bias: Value | None = None,
    *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1,
) -> Array:  # fmt: skip
    """Differentiate through mean and variance over the axes from ``axis`` on."""
    axes = range(axis % x.rank, x.rank)
    return _normalized_x(g * scale, x, axes, epsilon)


def instance_normalization_x(
    g: Value, y: Value, x: Value, scale: Value, bias: Value, *, epsilon: float = 1e-5
) -> Array:
    """Differentiate through mean and variance over space."""
    return _normalized_x(g * per_channel(scale, x.rank), x, range(2, x.rank), epsilon)


def group_normalization_x(
    g: Value, y: Value, x: Value, scale: Value, bias: Value,
    *, epsilon: float = 1e-5, num_groups: int, stash_type: int = 1,
) -> Array:  # fmt: skip
    """Differentiate through mean and variance over each group of channels and space."""
    e = x.emitter
    batch, channels, *space = x.shape
    size = channels // num_groups if isinstance(channels, int) else None
    grouped = (batch, num_groups, size, *space)
    gs = (g * per_channel(scale, x.rank)).reshape(grouped)
    return e.reshape_like(_normalized_x(gs, x.reshape(grouped), range(2, x.rank + 1), epsilon), x)


def rms_normalization_x(
    g: Value, y: Value, x: Value, scale: Value, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Array:
    """Differentiate through the root mean square over the axes from ``axis`` on."""
    axes = range(axis % x.rank, x.rank)
    inverse = 1 / np.sqrt((x * x).mean(axes, keepdims=True) + epsilon)
    hat, gs = x * inverse, g * scale
    return inverse * (gs - hat * (gs * hat).mean(axes, keepdims=True))


def over_channels(g: Value, *_: Array, **__: object) -> Value:
    """Sum ``g`` over all axes but the channels'."""
    return g.sum([0, *range(2, g.rank)])


def shift(g: Value, *_: Array, **__: object) -> Value:
    """Return ``g``; the caller sums broadcast axes away."""
    return g


def scale_of(op: str, summed: InputRule) -> InputRule:
    """Make the rule of a scale: ``summed(g * hat)`` with what ``op`` gives at scale 1 and shift 0."""

    def rule(g: Array, y: Array, x: Value, scale: Array, *rest: Array, **attributes: Any) -> Array:
        _refuse_training(attributes.get("training_mode", 0))
        plain: list[Array] = [np.zeros_like(v) if i == 0 and v is not None else v for i, v in enumerate(rest)]
        ones: Array = np.ones_like(scale)
        return summed(g * x.emitter.emit(op, x, ones, *plain, **attributes))

    return rule


def lp_normalization_x(g: Value, y: Value, x: Value, *, axis: int = -1, p: int = 2) -> Array:
    """Differentiate ``x / norm_p(x)`` along ``axis``."""
    axes = [axis % x.rank]
    norm = np.abs(x).sum(axes, keepdims=True) if p == 1 else np.sqrt((x * x).sum(axes, keepdims=True))
    slope = np.sign(x) if p == 1 else y
    return (g - slope * (g * y).sum(axes, keepdims=True)) / norm


def lrn_x(
    g: Value, y: Value, x: Value, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int
) -> Value:
    """Differentiate across the window of channels (Krizhevsky et al., 2012)."""
    e = x.emitter
    before, after = (size - 1) // 2, size // 2
    base = bias + (alpha / size) * _channel_window(x * x, before, after)
    inner = _channel_window(g * y / base, after, before)
    return g * e.emit("Pow", base, e.constant(np.asarray(-beta, x.dtype))) - (2 * alpha * beta / size) * x * inner


def _channel_window(x: Value, before: int, after: int) -> Value:
    """Sum each channel with its ``before`` lower and ``after`` higher neighbours."""
    channels = x.shape[1]
    if not isinstance(channels, int):
        raise TypeError("the number of channels must be known")
    c = np.arange(channels)
    d = c[:, None] - c[None, :]
    band = ((d <= before) & (-d <= after)).astype(x.dtype)
    e = x.emitter
    mixed = e.constant(band) @ e.reshape(x, (x.shape[0], channels, product(x.shape[2:])))
    return e.reshape_like(mixed, x)


def softmax_x(g: Value, y: Value, x: Value, *, axis: int = -1) -> Value:
    """Return ``y * (g - sum(g * y))``."""
    return y * (g - (g * y).sum(axis, keepdims=True))


def log_softmax_x(g: Value, y: Value, x: Value, *, axis: int = -1) -> Array:
    """Return ``g - exp(y) * sum(g)``."""
    return g - np.exp(y) * g.sum(axis, keepdims=True)


RULES: Rules = {
    "BatchNormalization": (
        batch_normalization_x,
        scale_of("BatchNormalization", over_channels),
        over_channels,
        refused,
        refused,
    ),
    "GroupNormalization": (
        group_normalization_x,
        scale_of("GroupNormalization", over_channels),
        over_channels,
    ),
    "InstanceNormalization": (
        instance_normalization_x,
        scale_of("InstanceNormalization", over_channels),
        over_channels,
    ),
    "LRN": (lrn_x,),
    "LayerNormalization": (layer_normalization_x, scale_of("LayerNormalization", shift), shift),
    "LogSoftmax": (log_softmax_x,),
    "LpNormalization": (lp_normalization_x,),
    "RMSNormalization": (rms_normalization_x, scale_of("RMSNormalization", shift)),
    "Softmax": (softmax_x,),
}
