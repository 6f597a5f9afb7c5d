"""Class activation maps: components at a layer, by a formula or by masked runs; their sum is the map."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cam.gradient import (
    Weighting,
    activations,
    grad_cam,
)
from ..graph.emitter import Emitter
from ..graph.layers import Layer
from ..graph.value import Value
from ..program import COMPONENTS, Scored, append_features, append_gradients, append_map
from ..runtime import check_finite
from .method import Arrays, Feeds, Method, Options, Outputs, Run, one_graph, runner, start

Components = NDArray[np.float32]
Finish = Callable[[Options, Layer], Callable[[Feeds, Arrays, Components], Components]]
"""Built for a layer; takes inputs, what the first program found (``seed`` too) and components (N, C, h, w)."""


@dataclass(frozen=True)
class Cam:
    """Where a CAM's components come from.

    Attributes
    ----------
    formula : Weighting
        Components from activations and gradients.
    gradient : bool
        Whether the formula uses the gradients.
    seed : callable, optional
        The cotangent of the logits, where it is not the target's.
    finish : Finish, optional
        What is done to the components outside the graph: masked runs, singular vectors.
    channels : bool
        Whether there are components for each channel; without, there is only a map and nothing to refine.
    settings : mapping
        Its own options and their defaults.
    """

    summary: str
    source: str
    formula: Weighting = activations
    gradient: bool = True
    seed: Callable[[Emitter, Scored], Value] | None = None
    finish: Finish | None = None
    channels: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)


def append_components(
    options: Options, emitter: Emitter, scored: Scored, cam: Cam, layers: Sequence[Layer]
) -> list[Value]:
    """Append the components of ``cam`` at each layer, before anything outside the graph is done to them."""
    if not cam.gradient:
        return [append_features(emitter, layer) for layer in layers]
    seed = cam.seed(emitter, scored) if cam.seed is not None else scored.seed
    names = [layer.name for layer in layers]
    gradients = append_gradients(emitter, names, output=options.score.logits, seed=seed, saturation=options.saturation)
    return [
        cam.formula(append_features(emitter, layer), layer.folded(gradients[layer.name]), layer.spatial_axes)
        for layer in layers
    ]


def find_components(options: Options, cam: Cam, layers: Sequence[Layer]) -> Run:
    """Return what runs ``cam`` up to its components: arrays ``fgcam/components/i``, axes as in layer i."""
    emitter, scored = start(options)
    emitter.output("seed", scored.weights)
    for i, value in enumerate(append_components(options, emitter, scored, cam, layers)):
        emitter.output(f"{COMPONENTS}/{i}", value)
    run = runner(options, emitter.build())
    finishes = [f(options, layer) for layer in layers] if (f := cam.finish) is not None else []

    def components(feeds: Feeds) -> Arrays:
        found = run(feeds)
        for i, (layer, finish) in enumerate(zip(layers, finishes, strict=False)):
            name, axis = f"{COMPONENTS}/{i}", layer.channel_axis
            finished = finish(feeds, found, np.moveaxis(found[name], axis, 1))
            found[name] = np.ascontiguousarray(np.moveaxis(finished, 1, axis))
        check_finite({n: a for n, a in found.items() if n.startswith(COMPONENTS)}, "the explanation")
        return found

    return components


def cam_method(cam: Cam) -> Method:
    """Return the method whose map is the sum of the components of ``cam`` over the channels."""

    def append(options: Options, emitter: Emitter, scored: Scored) -> Outputs:
        components = append_components(options, emitter, scored, cam, options.layers)
        return {
            f"map/{i}": append_map(emitter, layer, c)
            for i, (layer, c) in enumerate(zip(options.layers, components, strict=True))
        }

    def build(options: Options) -> Run:
        if cam.finish is None:
            return one_graph(options, append)
        components = find_components(options, cam, options.layers)

        def run(feeds: Feeds) -> Arrays:
            found = components(feeds)
            for i, layer in enumerate(options.layers):
                found[f"map/{i}"] = found.pop(f"{COMPONENTS}/{i}").sum(axis=layer.channel_axis)
            return found

        return run

    return Method(cam.summary, cam.source, None if cam.finish else append, build, at="base", settings=cam.settings)


GRADIENT_CAMS = {
    "gradcam": Cam(
        "each channel weighed by its mean gradient",
        "Selvaraju et al., 2017, arXiv:1610.02391",
        grad_cam,
    ),
}
