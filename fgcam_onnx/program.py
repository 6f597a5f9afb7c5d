"""Programs: append scores, gradients and relevance to a model. Functions add nodes and return values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from . import vjp
from .backward import Pullback, backward
from .cells import in_cells
from .errors import LayerError
from .graph.emitter import Emitter
from .graph.forms import in_forms
from .graph.model import Model
from .graph.tape import Record, tape_between
from .graph.value import Value
from .layers.flow import Flow, flow_of
from .layers.layers import Layer
from .lrp.canonize import canonized
from .lrp.pairs import in_pairs
from .lrp.trace import Step, traced
from .quantized import on_real_values, per_real_unit, real
from .vjp.rule import Rules

SEED = "fgcam/seed"
TARGET = "fgcam/target"
COMPONENTS = "fgcam/components"


@dataclass(frozen=True)
class Scored:
    """What a program knows of the score.

    Attributes
    ----------
    weights : Value of shape (N, K)
        How much each logit of each answer counts; one-hot where a class is explained.
    target : Value of shape (N,), int64
        The class that is explained: as given, or the top one where -1 was given.
    score : Value of shape (N,)
        The target's logit, or the weighted sum.
    scores : Value of shape (N, K)
        All logits.
    logits : Value
        The same as the model has them.
    axis : int or None
        Their axis of the answers.
    """

    weights: Value
    target: Value
    score: Value
    scores: Value
    logits: Value
    axis: int | None

    def spread(self, weights: Value) -> Value:
        """Return ``weights`` (N, K) in the shape of the logits."""
        emitter, like = weights.emitter, self.logits
        if not self.axis:
            return emitter.reshape_like(weights, like)
        order = _first(self.axis, like.rank)
        sizes = [like.shape[a] for a in order]
        return weights.reshape([None, *sizes[1:]]).transpose([order.index(a) for a in range(like.rank)])

    @property
    def seed(self) -> Value:
        """The cotangent of the logits, of their shape."""
        return self.spread(self.weights)


def class_count(model: Model, logits: str, *, source: str | None = None) -> int:
    """Return how many elements of ``logits`` belong to one answer: the targets to choose from.

    Raises
    ------
    TargetError
        When the number is not fixed.
    """
    return flow_of(model, logits=logits, source=source).classes


def append_scores(emitter: Emitter, logits: str, *, source: str | None = None) -> Value:
    """Append the logits as (N, K), K elements for each of N answers to the images of input ``source``."""
    flow, value = flow_of(emitter.model, logits=logits, source=source), emitter.value(logits)
    if flow.axis:
        value = value.transpose(_first(flow.axis, value.rank))
    return _wide(emitter.reshape(value, (_rows(flow), flow.classes)))


def append_target(emitter: Emitter, logits: str, *, source: str | None = None, seeded: bool = False) -> Scored:
    """Append the choice of target, one per answer.

    It is an int64 input ``fgcam/target``, -1 for the top class; with ``seeded`` an input ``fgcam/seed`` (N, K),
    the weight of each logit.
    """
    flow, scores = (
        flow_of(emitter.model, logits=logits, source=source),
        append_scores(emitter, logits, source=source),
    )
    top = emitter.emit("ArgMax", scores, axis=1, keepdims=0)
    if seeded:
        given = emitter.input(SEED, scores.dtype, (flow.answers, flow.classes))
        return scored_by(emitter, logits, given, top, source=source)
    given = emitter.input(TARGET, np.int64, (flow.answers,))
    target = emitter.where(given < 0, top, given)
    column = emitter.reshape(target, (_rows(flow), 1))
    one_hot = (emitter.constant(np.arange(flow.classes)[None]) == column).astype(scores.dtype)
    return scored_by(emitter, logits, one_hot, target, source=source)


def scored_by(emitter: Emitter, logits: str, weights: Value, target: Value, *, source: str | None = None) -> Scored:
    """Return what a program knows of the score that is the sum of ``weights`` (N, K) times the logits."""
    scores, flow = append_scores(emitter, logits, source=source), flow_of(emitter.model, logits=logits, source=source)
    return Scored(weights, target, (weights * scores).sum(1), scores, emitter.value(logits), flow.axis)


def _rows(flow: Flow) -> int | None:
    return flow.answers if isinstance(flow.answers, int) else None


def _first(axis: int, rank: int) -> list[int]:
    """Return the order of axes that puts ``axis`` in front."""
    return [axis, *(a for a in range(rank) if a != axis)]


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
    cells: bool = False,
) -> dict[str, Value]:
    """Append the gradient of ``output``, weighed by ``seed``, at every layer named.

    Without ``saturation`` quantizers are straight-through where they cut off at 0, too. With ``cells`` what strided
    windows hand back is shared evenly in the cells of their strides.
    """

    def pullback(record: Record, given: tuple[Value | None, ...]) -> list[Value | None]:
        return vjp.gradient_pullback(rules, record, given)

    layers = list(layers)
    tape = tape_between(emitter, sources=layers, output=output)
    if rules is vjp.RULES:
        tape = in_forms(tape)
    walk = on_real_values(in_cells(pullback, derivative=True) if cells else pullback, units=True, floor=saturation)
    found = backward(tape, _wide(seed), walk)
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
    cells: bool = False,
    steps: list[Step] | None = None,
) -> dict[str, Value]:
    """Append the relevance that ``pullback`` hands from ``output`` back to every layer named.

    Parameters
    ----------
    canonize : bool
        Let the rules see normalizations and biases as part of the linear operators that they follow.
    derivative : bool
        Whether what is handed back is a derivative, which has units, and not a share.
    cells : bool
        Let what strided windows hand back be shared in the cells of their strides.
    steps : list of Step, optional
        Where to note what every operator gets and hands on.
    """
    layers = list(layers)
    if layers == [output]:
        return {output: seed}
    behind = [x for x in layers if x != output]
    tape = in_forms(tape_between(emitter, sources=behind, output=output))
    if not derivative:
        tape = in_pairs(tape)
    if canonize:
        tape = canonized(tape)
    shared = in_cells(pullback, derivative=derivative) if cells else pullback
    walk = on_real_values(shared, units=derivative)
    found = backward(tape, _wide(seed), walk if steps is None else traced(walk, steps))
    if derivative:
        found = found | {n: per_real_unit(emitter.value(n), found[n]) for n in behind}
    return {output: seed} | found


def _wide(seed: Value) -> Value:
    """Return ``seed`` in float32 at least: a walk in half precision would overflow."""
    return seed if seed.dtype.kind == "f" and seed.dtype.itemsize > 2 else seed.astype(np.float32)


def append_map(emitter: Emitter, layer: Layer, components: Value) -> Value:
    """Append the map: the sum of ``components`` over the channels, of shape (N, *layer.spatial)."""
    return components.sum(layer.channel_axis)


def append_total(value: Value) -> Value:
    """Append the sum over all but the batch, of shape (N,)."""
    return value.sum(list(range(1, value.rank)))
