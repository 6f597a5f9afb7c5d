"""Gradient-free CAMs that change the features: only what lies behind the layer is run again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..cam.perturbation import drop, neighbourhood
from ..errors import NumericsError
from ..graph.channelwise import last_with_channels
from ..graph.layers import Layer
from ..graph.value import Value
from .cams import Cam, Components
from .method import Arrays, Feeds, Options
from .rerun import rerun


def where_channels_go(options: Options, layer: Layer) -> str:
    """Return the tensor at which the channels of ``layer`` are taken out."""
    return last_with_channels(options.model, layer.name) if len(layer.shape) == 4 else layer.name


def the_layer(options: Options, layer: Layer) -> str:
    """Return the layer's tensor."""
    return layer.name


def without_each_channel(options: Options, layer: Layer) -> Callable[[Feeds, Arrays, Components], Components]:
    """Return the weighing of channels by the share of the score that is lost without them."""
    channels = np.arange(layer.channels)

    def ablate(x: Value, channel: Value) -> Value:
        kept = (x.emitter.constant(channels[None]) != channel.reshape((None, 1))).astype(np.float32)
        axes = [a for a in range(1, x.rank) if a != layer.channel_axis]
        return x * x.emitter.emit("Unsqueeze", kept, x.emitter.ints(axes))

    run = rerun(options, where_channels_go(options, layer), ablate, each={"channel": (np.int64, ())})

    def weigh(feeds: Feeds, found: Arrays, activations: Components) -> Components:
        weighed = []
        for i, (a, seed) in enumerate(zip(activations, found["seed"], strict=True)):
            live = np.flatnonzero(a.any(axis=(1, 2)))
            chosen = np.append(live, -1)
            scores = run(run.image(feeds, found, i), {"channel": chosen}, progress=options.progress) @ seed
            if scores[-1] == 0:
                raise NumericsError("the score is exactly 0: Ablation-CAM weighs channels by shares of it")
            weights = np.zeros(len(a), np.float32)
            weights[live] = drop(scores[:-1], scores[-1])
            weighed.append(a * weights[:, None, None])
        return np.stack(weighed)

    return weigh


def only_each_place(options: Options, layer: Layer) -> Callable[[Feeds, Arrays, Components], Components]:
    """Return the map of the scores when the features of one place and its neighbourhood are all there is."""
    height, width = layer.spatial
    places = [neighbourhood(n, gaussian=options.settings["gaussian"]) for n in layer.spatial]

    def keep(x: Value, row: Value, column: Value) -> Value:
        tall, broad = (
            x.emitter.emit("Gather", x.emitter.constant(p), i) for p, i in zip(places, (row, column), strict=True)
        )
        kept = tall.reshape((None, height, 1)) * broad.reshape((None, 1, width))
        return x * x.emitter.emit("Unsqueeze", kept, x.emitter.ints([layer.channel_axis]))

    given = {"row": (np.int64, ()), "column": (np.int64, ())}
    run = rerun(options, layer.name, keep, each=given)
    rows, columns = (i.ravel() for i in np.indices((height, width)))

    def score(feeds: Feeds, found: Arrays, activations: Components) -> Components:
        each = {"row": rows, "column": columns}
        maps = [
            run(run.image(feeds, found, i), each, progress=options.progress) @ seed
            for i, seed in enumerate(found["seed"])
        ]
        return np.stack(maps).reshape(-1, 1, height, width)

    return score


ABLATED_CAMS: dict[str, Cam] = {
    "ablationcam": Cam(
        "each channel weighed by the share of the score that is lost without it",
        "Desai & Ramaswamy, 2020, doi:10.1109/WACV45572.2020.9093360",
        gradient=False,
        cut=where_channels_go,
        finish=without_each_channel,
    ),
    "reciprocam": Cam(
        "at each place the score when only the features of that place are left",
        "Byun & Lee, 2022, arXiv:2209.14074",
        gradient=False,
        cut=the_layer,
        finish=only_each_place,
        settings={"gaussian": True},
        channels=False,
    ),
}
