"""Programs: append scores, gradients and relevance to a model. Functions add nodes and return values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from . import vjp
from .backward import Pullback, backward
from .errors import LayerError, TargetError
from .graph.emitter import Emitter
from .graph.model import Model
from .graph.shapes import Dim
from .graph.tape import tape_between
from .graph.value import Value
from .layers.layers import Layer
from .lrp.canonize import canonized
from .lrp.trace import Step, traced
from .quantized import on_real_values, per_real_unit, real
from .vjp.rule import Rules
from .vjp.swish import joined

SEED = "fgcam/seed"
TARGET = "fgcam/target"
COMPONENTS = "fgcam/components"


@dataclass(frozen=True)
class Scored:
    """What a program knows of the score.

    Attributes
    ----------
    seed : Value
        Cotangent of the logits, of their shape.
    weights : Value of shape (N, K)
        The same for each image: how much each logit counts; one-hot where a class is explained.
    target : Value of shape (N,), int64
        The class that is explained: as given, or the top one where -1 was given.
    score : Value of shape (N,)
        The target's logit, or the weighted sum.
    scores : Value of shape (N, K)
        All logits.
    """

    seed: Value
    weights: Value
    target: Value
    score: Value
    scores: Value


def batch_of(model: Model) -> Dim:
    """Return the batch dimension: free where any input's is, else an int."""
    first = [i.shape[0] for i in model.inputs if i.shape]
    return next((d for d in first if not isinstance(d, int)), first[0] if first else 1)


def class_count(model: Model, logits: str) -> int:
    """Return how many elements of ``logits`` belong to one image: the targets to choose from.

    Raises
    ------
    TargetError
        When the number is not fixed.
    """
    shape, batch = Emitter(model).shape(logits), batch_of(model)
    rest = shape[1:]
    if isinstance(batch, int) and all(isinstance(d, int) for d in shape):
        return math.prod(d for d in shape if isinstance(d, int)) // batch
    if not shape or not all(isinstance(d, int) for d in rest):
        raise TargetError(f"the output {logits!r} has shape {list(shape)}: the number of targets is not known")
    return math.prod(d for d in rest if isinstance(d, int))


def append_scores(emitter: Emitter, logits: str) -> Value:
    """Append the logits as (N, K), K elements for each image."""
    value = emitter.value(logits)
    batch, classes = batch_of(emitter.model), class_count(emitter.model, logits)
    flat = emitter.reshape(value, (batch if isinstance(batch, int) else None, classes))
    return _wide(flat)


def append_target(emitter: Emitter, logits: str, *, seeded: bool = False) -> Scored:
    """Append the choice of target, one per image.

    It is an int64 input ``fgcam/target``, -1 for the top class; with ``seeded`` an input ``fgcam/seed`` (N, K),
    the weight of each logit.
    """
    scores = append_scores(emitter, logits)
    batch, classes = scores.shape[0], class_count(emitter.model, logits)
    top = emitter.emit("ArgMax", scores, axis=1, keepdims=0)
    if seeded:
        return scored_by(emitter, logits, emitter.input(SEED, scores.dtype, (batch_of(emitter.model), classes)), top)
    given = emitter.input(TARGET, np.int64, (batch_of(emitter.model),))
    target = emitter.where(given < 0, top, given)
    column = emitter.reshape(target, (batch if isinstance(batch, int) else None, 1))
    one_hot = (emitter.constant(np.arange(classes)[None]) == column).astype(scores.dtype)
    return scored_by(emitter, logits, one_hot, target)


def scored_by(emitter: Emitter, logits: str, weights: Value, target: Value) -> Scored:
    """Return what a program knows of the score that is the sum of ``weights`` (N, K) times the logits."""
    scores = append_scores(emitter, logits)
    seed = emitter.reshape_like(weights, emitter.value(logits))
    return Scored(seed, weights, target, (weights * scores).sum(1), scores)


def require_reach(layers: Iterable[Layer]) -> None:
    """Refuse layers of which nothing reaches the score: gradients and relevance there are all 0.

    Raises
    ------
    LayerError
        Names the layer, and what to choose instead.
    """
    for layer in layers:
        if layer.reach == "none":
            what = "only its extra tokens do" if layer.grid is not None and layer.grid.extra else "nothing reads it"
            raise LayerError(
                f"the positions of layer {layer.name!r} do not reach the score ({what}): every gradient there is 0. "
                "Choose an earlier layer; `fgcam inspect` ranks them."
            )


def append_features(emitter: Emitter, layer: Layer) -> Value:
    """Append the activations of ``layer`` as real numbers, tokens folded to their grid."""
    features: Value = layer.folded(real(emitter.value(layer.name)))
    return features


def append_gradients(
    emitter: Emitter,
    layers: Iterable[str],
    *,
    output: str,
    seed: Value,
    rules: Rules = vjp.RULES,
    saturation: bool = True,
) -> dict[str, Value]:
    """Append the gradient of ``output``, weighed by ``seed``, at every layer named.

    Without ``saturation`` quantizers are straight-through where they cut off at 0, too.
    """
    layers = list(layers)
    tape = tape_between(emitter, sources=layers, output=output)
    if rules is vjp.RULES:
        tape = joined(tape)
    found = backward(
        tape, _wide(seed), on_real_values(lambda r, g: vjp.gradient_pullback(rules, r, g), units=True, floor=saturation)
    )
    return {name: per_real_unit(emitter.value(name), found[name]) for name in layers}


def append_relevance(
    emitter: Emitter,
    layers: Iterable[str],
    *,
    output: str,
    seed: Value,
    pullback: Pullback,
    canonize: bool = False,
    derivative: bool = False,
    steps: list[Step] | None = None,
) -> dict[str, Value]:
    """Append the relevance that ``pullback`` hands from ``output`` back to every layer named.

    Parameters
    ----------
    canonize : bool
        Let the rules see normalizations and biases as part of the linear operators that they follow.
    derivative : bool
        Whether what is handed back is a derivative, which has units, and not a share.
    steps : list of Step, optional
        Where to note what every operator gets and hands on.
    """
    layers = list(layers)
    if layers == [output]:
        return {output: seed}
    behind = [x for x in layers if x != output]
    tape = tape_between(emitter, sources=behind, output=output)
    if canonize:
        tape = canonized(tape)
    walk = on_real_values(pullback, units=derivative)
    found = backward(tape, _wide(seed), walk if steps is None else traced(walk, steps))
    if derivative:
        found = found | {n: per_real_unit(emitter.value(n), found[n]) for n in behind}
    return {output: seed} | found


def _wide(seed: Value) -> Value:
    """Return ``seed`` in float32 at least: a walk in half precision would overflow."""
    return seed if seed.dtype.kind == "f" and seed.dtype.itemsize > 2 else seed.astype(np.float32)


def append_map(emitter: Emitter, layer: Layer, components: Value) -> Value:
    """Append the map: the sum of ``components`` over the channels, of shape (N, h, w)."""
    if components.rank != 4:
        raise LayerError(f"layer {layer.name!r} has shape {list(components.shape)}, not (N, C, H, W)")
    return components.sum(layer.channel_axis)


def append_total(value: Value) -> Value:
    """Append the sum over all but the batch, of shape (N,)."""
    return value.sum(list(range(1, value.rank)))
