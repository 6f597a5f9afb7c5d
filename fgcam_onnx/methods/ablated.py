"""Gradient-free CAMs that change the features: only what lies behind the layer is run again."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from ..cam.perturbation import drop, neighbourhood
from ..errors import NumericsError
from ..graph.value import Value
from ..layers.channelwise import last_with_channels
from ..layers.layers import Layer
from ..program import Scored
from .cams import Cam, Components
from .method import Arrays, Feeds, Options
from .rerun import by_target, rerun
from .unrolled import append_copies


def channels_at(options: Options, layer: Layer) -> tuple[str, ...]:
    """Return the tensor at which channels of ``layer`` are taken out: behind what works channel by channel."""
    return (last_with_channels(options.model, layer.name) if layer.grid is None else layer.name,)


def places_at(options: Options, layer: Layer) -> tuple[str, ...]:
    """Return the tensors at which places of ``layer`` are taken out.

    Between blocks of a transformer these are two, whichever of them is the layer: the normalised tokens, since a
    normalisation would undo a weight before it, and the shortcut past it (ViT-ReciproCAM, arXiv:2310.02588).
    """
    if layer.grid is None:
        return (layer.name,)
    norms = [n for n in options.model.nodes if n.op_type == "LayerNormalization"]
    beside = next((n for n in norms if layer.name in (n.input[0], n.output[0])), None)
    return (beside.output[0], beside.input[0]) if beside is not None else (layer.name,)


def _ablating(layer: Layer) -> Callable[[Value, Value], Value]:
    """Return what sets a channel to 0 in copy after copy of a tensor of ``layer``'s rank; -1 is none."""
    channels, rank = np.arange(layer.channels), len(layer.shape)
    axis = layer.channel_axis if layer.grid is None else 3 - layer.grid.axis

    def ablate(x: Value, channel: Value) -> Value:
        kept = (x.emitter.constant(channels[None]) != channel.reshape((None, 1))).astype(np.float32)
        return x * x.emitter.emit("Unsqueeze", kept, x.emitter.ints([a for a in range(1, rank) if a != axis]))

    return ablate


def without_each_channel(options: Options, layer: Layer) -> Callable[[Feeds, Arrays, Components], Components]:
    """Return the weighing of channels by the share of the score that is lost without them, in every token."""
    run = rerun(options, channels_at(options, layer), _ablating(layer), each={"channel": (np.int64, ())})

    def weigh(feeds: Feeds, found: Arrays, activations: Components) -> Components:
        weighed = []
        for i, (a, seed) in enumerate(zip(activations, found["seed"], strict=True)):
            live = np.flatnonzero(a.any(axis=tuple(range(1, a.ndim))))
            chosen = np.append(live, -1)
            scores = run(
                run.image(feeds, found, i),
                {"channel": chosen},
                read=by_target(options.head, seed),
                progress=options.progress,
            )
            if scores[-1] == 0:
                raise NumericsError("the score is exactly 0: Ablation-CAM weighs channels by shares of it")
            weights = np.zeros(len(a), np.float32)
            weights[live] = drop(scores[:-1], scores[-1])
            weighed.append(a * weights.reshape(-1, *[1] * (a.ndim - 1)))
        return np.stack(weighed)

    return weigh


def append_without_each(options: Options, scored: Scored, layer: Layer, activations: Value) -> Value:
    """Append the same; where the score is exactly 0, what is not a number comes out."""
    channels, ablate = layer.channels, _ablating(layer)
    last = np.append(np.arange(channels), -1)

    def change(x: Value, numbers: Value) -> Value:
        return ablate(x, x.emitter.emit("Gather", x.emitter.constant(last), numbers))

    scores = append_copies(options, scored, channels_at(options, layer), change, count=channels + 1)
    found, whole = scores.emitter.emit_many("Split", scores, scores.emitter.ints([channels, 1]), axis=1, count=2)
    weights: Value = drop(found, whole)
    return activations * weights.reshape(layer.by_channel)


def _keeping(options: Options, layer: Layer) -> Callable[[Value, Value], Value]:
    """Return what keeps the neighbourhood of a place, by its number, in copy after copy of the layer's tensor."""
    size = layer.spatial
    near = [neighbourhood(n, gaussian=options.settings["gaussian"]) for n in size]
    at = [i.ravel() for i in np.indices(size)]

    def keep(x: Value, place: Value) -> Value:
        emitter = x.emitter

        def line(axis: int) -> Value:
            where = emitter.emit("Gather", emitter.constant(at[axis]), place)
            kept = emitter.emit("Gather", emitter.constant(near[axis]), where)
            return kept.reshape((None, *(n if a == axis else 1 for a, n in enumerate(size))))

        kept = functools.reduce(lambda whole, axis: whole * line(axis), range(1, len(size)), line(0))
        axis = layer.channel_axis
        if (grid := layer.grid) is not None:
            tokens, extra = kept.reshape((None, math.prod(size))), emitter.ints([0, grid.before, 0, grid.after])
            kept, axis = emitter.emit("Pad", tokens, extra, emitter.constant(np.asarray(1, np.float32))), 3 - grid.axis
        return x * emitter.emit("Unsqueeze", kept, emitter.ints([axis]))

    return keep


def only_each_place(options: Options, layer: Layer) -> Callable[[Feeds, Arrays, Components], Components]:
    """Return the map of the scores when the features of one place and its neighbourhood are all there is."""
    run = rerun(options, places_at(options, layer), _keeping(options, layer), each={"place": (np.int64, ())})
    each = {"place": np.arange(math.prod(layer.spatial))}

    def score(feeds: Feeds, found: Arrays, activations: Components) -> Components:
        maps = [
            run(run.image(feeds, found, i), each, read=by_target(options.head, seed), progress=options.progress)
            for i, seed in enumerate(found["seed"])
        ]
        return np.stack(maps).reshape(-1, 1, *layer.spatial)

    return score


def append_each_place(options: Options, scored: Scored, layer: Layer, activations: Value) -> Value:
    """Append the same."""
    keep, count = _keeping(options, layer), math.prod(layer.spatial)
    scores = append_copies(options, scored, places_at(options, layer), keep, count=count)
    shape = [None, *layer.spatial]
    shape.insert(layer.channel_axis, 1)
    return scores.reshape(shape)


ABLATED_CAMS: dict[str, Cam] = {
    "ablationcam": Cam(
        "each channel weighed by the share of the score that is lost without it",
        "Desai & Ramaswamy, 2020, doi:10.1109/WACV45572.2020.9093360",
        gradient=False,
        cut=channels_at,
        finish=without_each_channel,
        inside=append_without_each,
    ),
    "reciprocam": Cam(
        "at each place the score when only the features of that place are left",
        "Byun & Lee, 2022, arXiv:2209.14074",
        gradient=False,
        cut=places_at,
        finish=only_each_place,
        inside=append_each_place,
        settings={"gaussian": True},
        channels=False,
        relative=True,
    ),
}
