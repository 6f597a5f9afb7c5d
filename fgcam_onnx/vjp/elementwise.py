"""VJPs of elementwise operators: ``rule(g, y, *inputs, **attributes)`` is one input's cotangent.

``g`` is the cotangent of the output ``y``. Attributes are keyword-only and carry the defaults of the
ONNX schema. The caller sums broadcast axes away, which makes the rule of ``Add`` plain ``g``.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from ..errors import FgcamError
from ..graph.value import Array
from .rule import EachInput, Rules


def erf_slope(g: Array, y: Array, x: Array) -> Array:
    """Return ``g * 2/sqrt(pi) * exp(-x^2)``, the factor within the exponential."""
    return g * np.exp(math.log(2 / math.sqrt(math.pi)) - x * x)


def clip_x(g: Array, y: Array, x: Array, low: Array = None, high: Array = None) -> Array:
    """Pass ``g`` where ``x`` is left as it is: within the bounds, the bounds included, as in torch's clamp.

    Not where ``x == y``: of a half-precision model a runtime may have ``x`` in float32 and ``y`` rounded.
    """
    within = [inside(x, b) for b, inside in ((low, np.greater_equal), (high, np.less_equal)) if b is not None]
    return np.where(functools.reduce(np.logical_and, within), g, 0) if within else g


def clip_low(g: Array, y: Array, x: Array, low: Array, high: Array = None) -> Array:
    """Pass ``g`` where ``x`` is below the lower bound, and that below the upper, which wins."""
    below = x < low
    return np.where(below if high is None else np.logical_and(below, low <= high), g, 0)


def clip_high(g: Array, y: Array, x: Array, low: Array, high: Array) -> Array:
    """Pass ``g`` where ``x``, or the lower bound, is above the upper bound."""
    return np.where((x if low is None else np.maximum(x, low)) > high, g, 0)


def dropout_x(
    g: Array, y: Array, x: Array, ratio: Array = None, training: Array = None, *, seed: int | None = None
) -> Array:
    """Return ``g``: at inference nothing is dropped."""
    if training is not None and (training.constant is None or training.constant.any()):
        raise FgcamError("Dropout in training mode has no gradient rule; export the model for inference")
    return g


def relu_x(g: Array, y: Array, x: Array) -> Array:
    """Pass ``g`` where the output is positive; written with ``y`` so that Conv and Relu can still fuse."""
    return np.where(y > 0, g, 0)


def celu_x(g: Array, y: Array, x: Array, *, alpha: float = 1.0) -> Array:
    """Slope ``exp(x / alpha)`` below 0."""
    return np.where(x > 0, g, g * np.exp(np.minimum(x, 0) / alpha))


def elu_x(g: Array, y: Array, x: Array, *, alpha: float = 1.0) -> Array:
    """Slope ``alpha * exp(x)`` below 0."""
    return np.where(x > 0, g, g * alpha * np.exp(np.minimum(x, 0)))


def selu_x(
    g: Array,
    y: Array,
    x: Array,
    *,
    alpha: float = 1.67326319217681884765625,
    gamma: float = 1.05070102214813232421875,
) -> Array:
    """Slope ``gamma`` above 0, ``gamma * alpha * exp(x)`` below."""
    return np.where(x > 0, gamma * g, g * (gamma * alpha) * np.exp(np.minimum(x, 0)))


def gelu_x(g: Array, y: Array, x: Array, *, approximate: str = "none") -> Array:
    """Slope of ``x * Phi(x)``, or of its tanh approximation."""
    if approximate == "tanh":
        c = math.sqrt(2 / math.pi)
        t = np.tanh(c * (x + 0.044715 * x * x * x))
        return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x))
    phi = np.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
    return g * (0.5 * (1 + erf(x * (1 / math.sqrt(2)))) + x * phi)


def erf(x: Array) -> Array:
    """Return the error function of a value."""
    return x.emitter.emit("Erf", x)


def sigmoid(x: Array) -> Array:
    """Return the logistic function of a value."""
    return x.emitter.emit("Sigmoid", x)


def hard_sigmoid_x(g: Array, y: Array, x: Array, *, alpha: float = 0.2, beta: float = 0.5) -> Array:
    """Slope ``alpha`` where ``0 < alpha * x + beta < 1``."""
    return np.where(np.logical_and(y > 0, y < 1), alpha * g, 0)


def hard_swish_x(g: Array, y: Array, x: Array) -> Array:
    """Slope of ``x * clip(x / 6 + 1/2, 0, 1)``."""
    inner = np.where(np.logical_and(x > -3, x < 3), g * (x * (1 / 3) + 0.5), 0)
    return np.where(x >= 3, g, inner)


def mish_x(g: Array, y: Array, x: Array) -> Array:
    """Slope of ``x * tanh(softplus(x))``."""
    t = np.tanh(x.emitter.emit("Softplus", x))
    return g * (t + x * (1 - t * t) * sigmoid(x))


def swish_x(g: Array, y: Array, x: Array, *, alpha: float = 1.0) -> Array:
    """Slope ``s + alpha * y * (1 - s)`` of ``x * s``, where ``s = sigmoid(alpha * x)``."""
    s = sigmoid(alpha * x)
    return g * (s + alpha * y * (1 - s))


def shrink_x(g: Array, y: Array, x: Array, *, bias: float = 0.0, lambd: float = 0.5) -> Array:
    """Pass ``g`` outside the dead zone."""
    return np.where(np.logical_or(x < -lambd, x > lambd), g, 0)


def leaky_relu_x(g: Array, y: Array, x: Array, *, alpha: float = 0.01) -> Array:
    """Slope ``alpha`` below 0."""
    return np.where(x > 0, g, alpha * g)


def prelu_slope(g: Array, y: Array, x: Array, slope: Array) -> Array:
    """Return ``g * min(x, 0)``."""
    return g * np.minimum(x, 0)


def greatest(i: int, g: Array, y: Array, *xs: Array) -> Array:
    """Pass ``g`` to the first of the largest inputs.

    Inputs are compared with one another, not with ``y``, which a runtime may have rounded to half precision.
    """
    won = [xs[i] > x for x in xs[:i]] + [xs[i] >= x for x in xs[i + 1 :]]
    return np.where(functools.reduce(np.logical_and, won), g, 0) if won else g


def least(i: int, g: Array, y: Array, *xs: Array) -> Array:
    """Pass ``g`` to the first of the smallest inputs."""
    return greatest(i, g, y, *(-x for x in xs))


def mean_of(i: int, g: Array, y: Array, *xs: Array) -> Array:
    """Return an equal part of ``g``."""
    return g * (1 / len(xs))


def mod_b(g: Array, y: Array, a: Array, b: Array, *, fmod: int = 0) -> Array:
    """Return ``-g * floor(a / b)``: with ``fmod`` the quotient is truncated instead."""
    quotient = a / b
    floor = np.sign(quotient) * np.floor(np.abs(quotient)) if fmod else np.floor(quotient)
    return -g * floor


def pow_a(g: Array, y: Array, a: Array, b: Array) -> Array:
    """Return ``g * b * a^(b-1)``, 0 where ``b`` is; squares are written without Pow, which is slow."""
    if b.constant is not None and b.constant.size == 1 and b.constant.item() == 2:
        return 2 * g * a
    slope = b.astype(g.dtype) * np.power(a, b - 1)
    return g * slope if b.constant is not None and b.constant.all() else np.where(b == 0, 0, g * slope)


def _cast_back(g: Array, y: Array, x: Array) -> Array | None:
    """Return ``g`` in the type of ``x``; to integers it is a step, and from integers there is nothing to follow."""
    return None if {x.dtype.kind, y.dtype.kind, g.dtype.kind} & set("biu") else g.astype(x.dtype)


def cast_x(g: Array, y: Array, x: Array, *, round_mode: str = "up", saturate: int = 1, to: int) -> Array | None:
    """Cast back."""
    return _cast_back(g, y, x)


def cast_like_x(
    g: Array, y: Array, x: Array, like: Array, *, round_mode: str = "up", saturate: int = 1
) -> Array | None:
    """Cast back."""
    return _cast_back(g, y, x)


# fmt: off
RULES: Rules = {
    "Abs":         (lambda g, y, x: g * np.sign(x),),
    "Acos":        (lambda g, y, x: -g / np.sqrt(1 - x * x),),
    "Acosh":       (lambda g, y, x: g / np.sqrt(x * x - 1),),
    "Add":         (lambda g, y, a, b: g, lambda g, y, a, b: g),
    "Asin":        (lambda g, y, x: g / np.sqrt(1 - x * x),),
    "Asinh":       (lambda g, y, x: g / np.sqrt(x * x + 1),),
    "Atan":        (lambda g, y, x: g / (1 + x * x),),
    "Atanh":       (lambda g, y, x: g / (1 - x * x),),
    "Cast":        (cast_x,),
    "CastLike":    (cast_like_x, None),
    "Celu":        (celu_x,),
    "Clip":        (clip_x, clip_low, clip_high),
    "Cos":         (lambda g, y, x: -g * np.sin(x),),
    "Cosh":        (lambda g, y, x: g * np.sinh(x),),
    "Div":         (lambda g, y, a, b: g / b, lambda g, y, a, b: -g * y / b),
    "Dropout":     (dropout_x,),
    "Elu":         (elu_x,),
    "Erf":         (erf_slope,),
    "Exp":         (lambda g, y, x: g * y,),
    "Gelu":        (gelu_x,),
    "HardSigmoid": (hard_sigmoid_x,),
    "HardSwish":   (hard_swish_x,),
    "Identity":    (lambda g, y, x: g,),
    "LeakyRelu":   (leaky_relu_x,),
    "Log":         (lambda g, y, x: g / x,),
    "Max":         EachInput(greatest),
    "Mean":        EachInput(mean_of),
    "Min":         EachInput(least),
    "Mish":        (mish_x,),
    "Mod":         (lambda g, y, a, b, *, fmod=0: g, mod_b),
    "Mul":         (lambda g, y, a, b: g * b, lambda g, y, a, b: g * a),
    "Neg":         (lambda g, y, x: -g,),
    "PRelu":       (lambda g, y, x, slope: np.where(x > 0, g, g * slope), prelu_slope),
    "Pow":         (pow_a, lambda g, y, a, b: np.where(y == 0, 0, g * y * np.log(a))),
    "Reciprocal":  (lambda g, y, x: -g * y * y,),
    "Relu":        (relu_x,),
    "Selu":        (selu_x,),
    "Shrink":      (shrink_x,),
    "Sigmoid":     (lambda g, y, x: g * y * (1 - y),),
    "Sin":         (lambda g, y, x: g * np.cos(x),),
    "Sinh":        (lambda g, y, x: g * x.emitter.emit("Cosh", x),),
    "Softplus":    (lambda g, y, x: g * sigmoid(x),),
    "Softsign":    (lambda g, y, x: g / np.square(1 + np.abs(x)),),
    "Sqrt":        (lambda g, y, x: g / (2 * y),),
    "Sub":         (lambda g, y, a, b: g, lambda g, y, a, b: -g),
    "Sum":         EachInput(lambda i, g, y, *xs: g),
    "Swish":       (swish_x,),
    "Tan":         (lambda g, y, x: g * (1 + y * y),),
    "Tanh":        (lambda g, y, x: g * (1 - y * y),),
    "ThresholdedRelu": (lambda g, y, x, *, alpha=1.0: np.where(x > alpha, g, 0),),
    "Where":       (None, lambda g, y, c, a, b: np.where(c, g, 0), lambda g, y, c, a, b: np.where(c, 0, g)),
}
# fmt: on
