"""Second derivatives: the gradient program walked back once more."""

from __future__ import annotations

from .. import vjp
from ..backward import Pullback, backward
from ..errors import FgcamError, UnsupportedOperatorError
from ..graph.emitter import Emitter
from ..graph.tape import Record, Tape, tape_between
from ..graph.value import Value
from ..layers.layers import Layer
from ..program import Scored
from ..quantized import on_real_values, per_real_unit, real
from .method import Options

STEP = 2.0**-7
"""Share of the activations by which they are moved up and down where a difference replaces the derivative."""


def shapley_slope(options: Options, emitter: Emitter, scored: Scored, layer: Layer, gradient: Value) -> Value:
    """Return ``g - H a / 2``, H the second derivatives of the score by the activations ``a``.

    Cai, 2025, arXiv:2501.06261. :func:`append_curvature` says how ``H a`` is had.
    """
    return gradient - 0.5 * append_curvature(options, emitter, scored, layer, gradient)


def append_curvature(options: Options, emitter: Emitter, scored: Scored, layer: Layer, gradient: Value) -> Value:
    """Append ``H a`` at a layer: the derivative of its gradient in the direction of its activations.

    H is symmetric, so ``H a`` is the gradient of ``g`` weighed by ``a``: one more walk, from the gradient back to
    the layer, over the model's nodes and the gradient's. It is 0 where all behind the layer is piecewise linear.
    Where an operator of the gradient has no rule, the central difference replaces it.
    """
    try:
        return append_derivative(options, emitter, layer, gradient)
    except FgcamError:
        return append_difference(options, emitter, scored, layer)


def append_derivative(options: Options, emitter: Emitter, layer: Layer, gradient: Value) -> Value:
    """Append ``H a`` by walking the gradient back.

    Raises
    ------
    UnsupportedOperatorError
        An operator of the gradient has no rule.
    """
    activations = emitter.value(layer.name)
    direction = real(activations).astype(gradient.dtype)
    # A path of slope 0 beside the others: the walk arrives also where every other path is constant.
    end = gradient + direction * 0.0
    tape = tape_between(emitter, sources=[layer.name], output=end.name, nodes=emitter.nodes)
    found = backward(tape, direction, _pullback(options))
    return per_real_unit(activations, found[layer.name])


def append_difference(options: Options, emitter: Emitter, scored: Scored, layer: Layer) -> Value:
    """Append ``(g(a + a/128) - g(a - a/128)) / (2/128)``, the model replayed behind the layer.

    Raises
    ------
    UnsupportedOperatorError
        The layer holds integers or half precision, too coarse to be moved by a share.
    """
    activations = emitter.value(layer.name)
    if activations.dtype.kind != "f" or activations.dtype.itemsize < 4:
        raise UnsupportedOperatorError(
            f"layer {layer.name!r} is {activations.dtype}: second derivatives behind it are not to be had. Use gradcam."
        )
    forward = tape_between(emitter, sources=[layer.name], output=options.score.logits)
    seed = scored.seed.astype(activations.dtype)
    found = []
    for sign in (1, -1):
        moved = activations * (1 + sign * STEP)
        tape = replayed(forward, {layer.name: moved})
        found.append(backward(tape, seed, _pullback(options))[moved.name])
    return (found[0] - found[1]) * (0.5 / STEP)


def replayed(tape: Tape, values: dict[str, Value]) -> Tape:
    """Return ``tape`` emitted again on other ``values`` of its sources, of the same shapes."""
    now = dict(values)
    records: list[Record] = []
    for record in tape:
        again = record.replay([now.get(v.name, v) if v is not None else None for v in record.inputs])
        records.append(again)
        for before, after in zip(record.outputs, again.outputs, strict=True):
            if before is not None and after is not None:
                now[before.name] = after.emitter.typed_as(before, after)
    return Tape(tuple(records), frozenset(now[s].name for s in tape.sources), now[tape.output].name)


def _pullback(options: Options) -> Pullback:
    return on_real_values(
        lambda record, given: vjp.gradient_pullback(vjp.RULES, record, given), units=True, floor=options.saturation
    )
