"""FullGrad: the input's and every bias's share of the score, at the input's resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import check_known
from ..graph.emitter import Emitter
from ..graph.facts import facts_of
from ..graph.tape import Record, tape_between
from ..graph.value import Value
from ..program import Scored, append_features
from ..saving.ends import widened
from .biases import biases_of
from .method import Method, Options, Outputs
from .sampling import only_input
from .walks import Cotangents, gradients_along

RESCALES = ("layer", "channel", "none")


def append(options: Options, emitter: Emitter, scored: Scored) -> Outputs:
    """Append FullGrad: magnitudes of input times gradient and of every bias times its gradient, added up.

    Each is rescaled to 0..1 over all its channels (``layer``, as published), each channel for itself
    (``channel``, as pytorch-grad-cam does) or not (``none``), and enlarged linearly. Biases of tensors without
    channels and the input's axes count in the completeness only.
    """
    layer, rescale = only_input(options, "fullgrad"), options.settings["rescale"]
    check_known("rescale", rescale, RESCALES)
    terms: list[tuple[Value, int | None]] = []

    def watch(record: Record, given: Cotangents, returned: Cotangents) -> None:
        axis = _channel_axis(emitter, record.output)
        for term in biases_of(record, given, returned):
            # the name of a free batch gets lost where shapes are computed, as in MaxPool's gradient
            same = term.rank == len(layer.folded_shape) and term.shape[1:] == record.output.shape[1:]
            terms.append((term, axis if same else None))

    tape = tape_between(emitter, sources=[layer.name], output=options.score.logits)
    found = gradients_along(tape, scored.seed, saturation=options.saturation, watch=watch)
    x = append_features(emitter, layer)
    terms.insert(0, (x * found[layer.name], layer.channel_axis))
    maps = [widened(_rescaled(abs(t), axis, rescale), layer.spatial) for t, axis in terms if axis is not None]
    outputs = {"map/0": _sum(maps)}
    if not options.flow.bag and all(_leads(t, options.flow.images) for t, _ in terms):
        shares = [_per_image(t, x) for t, _ in terms]
        outputs |= {
            "sum/0": _sum([s.sum(1) for s in shares]),
            "total": scored.score,
            "magnitude": _sum([abs(s).sum(1) for s in shares]),
        }
    return outputs


def _sum(values: Sequence[Value]) -> Value:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def _channel_axis(emitter: Emitter, value: Value) -> int | None:
    axis = facts_of(emitter.model).channel_axis.get(emitter.origin(value))
    spread = value.rank > 2 and any(d != 1 for a, d in enumerate(value.shape) if a not in (0, axis))
    return axis if spread else None


def _rescaled(magnitude: Value, axis: int, rescale: str) -> Value:
    """Return the sum over the channels of rescaled magnitudes."""
    if rescale != "none":
        axes = [a for a in range(1, magnitude.rank) if rescale == "layer" or a != axis]
        low, high = magnitude.min(axes, keepdims=True), magnitude.max(axes, keepdims=True)
        flat = high <= low
        magnitude = (magnitude - low) / magnitude.emitter.where(flat, 1, high - low)
    return magnitude.sum(axis)


def _leads(term: Value, batch: Any) -> bool:
    """Tell whether the first dimension counts images, or parts of images in their order."""
    first = term.shape[0] if term.rank else 0
    if not isinstance(first, int):
        return True
    return isinstance(batch, int) and first > 0 and first % batch == 0


def _per_image(term: Value, x: Value) -> Value:
    """Return the elements of ``term`` as (N, ...), one row for each image of ``x``."""
    emitter = term.emitter
    if isinstance(x.shape[0], int):
        return term.reshape((x.shape[0], None))
    count = emitter.emit("Shape", x, start=0, end=1)
    return emitter.reshape(term, emitter.emit("Concat", count, emitter.ints([-1]), axis=0))


FULLGRAD = {
    "fullgrad": Method(
        "input times gradient and every bias times its gradient, as magnitudes at the input's resolution",
        "Srinivas & Fleuret, 2019, arXiv:1905.00780",
        append,
        settings={"rescale": "layer"},
        takes=frozenset({"saturation"}),
    ),
}
