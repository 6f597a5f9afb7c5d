"""Integrated gradients: the gradient averaged along the straight way from a baseline to the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..cam.sampling import quadrature
from ..errors import OptionError
from ..graph.emitter import Emitter
from ..graph.value import Value
from ..program import Scored, append_total
from ..surgery.replay import replayed_on
from .baselines import baseline_of
from .method import CELLS, Arrays, Feeds, Method, Options, Outputs, Run
from .sampling import GRADIENT, first_program, gradient_program, only_input, real_of, seeded, stream
from .walks import gradients_along

NAME = "integratedgradients"
SETTINGS = {"steps": 50, "baseline": 0.0, "rule": "gausslegendre", **CELLS}


def places_of(options: Options) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return weights and places of the steps; last comes the baseline itself, which weighs nothing."""
    weights, places = quadrature(options.settings["rule"], options.settings["steps"])
    return np.append(weights, 0).astype(np.float32), np.append(places, 0).astype(np.float32)


def build(options: Options) -> Run:
    """Return integrated gradients in batches of steps."""
    layer = only_input(options, NAME)
    weights, places = places_of(options)
    first, second = first_program(options), gradient_program(options, [layer], cells=options.settings["cells"])

    def begin(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(baseline_of(x, layer, options.settings["baseline"]), np.float32)

    def along(x: NDArray[np.float32], places: NDArray[np.float32]) -> NDArray[np.float32]:
        b = begin(x[None])
        return np.asarray(b + places.reshape(-1, *[1] * x.ndim) * (x - b))

    def run(feeds: Feeds) -> Arrays:
        found = first(feeds)
        x = real_of(feeds[options.input])
        mean, start = np.zeros(x.shape), np.zeros(len(x))
        parts = stream(
            second, seeded(feeds, found), options,
            count=len(places), draw=lambda numbers: places[list(numbers)], vary=along,
        )  # fmt: skip
        for part in parts:
            mean[part.image] += np.tensordot(weights[list(part.numbers)], part.found[f"{GRADIENT}/0"], 1)
            start[part.image] = part.found["score"][-1]
        components = (x - begin(x)) * mean
        score = found["score"]
        return found | {
            "map/0": components.sum(axis=layer.channel_axis),
            "sum/0": components.sum(axis=tuple(range(1, components.ndim))),
            "total": score - start,
            "magnitude": np.abs(score) + np.abs(start),
        }

    return run


def append(options: Options, emitter: Emitter, scored: Scored) -> Outputs:
    """Append integrated gradients as one graph, which repeats the images along the batch, once for each step.

    Raises
    ------
    OptionError
        The model's batch is fixed, or it has several inputs.
    """
    layer = only_input(options, NAME)
    if options.flow.bag:
        raise OptionError(f"{NAME} as one graph repeats the images along the batch: this model's answer is of them all")
    if isinstance(options.flow.images, int):
        raise OptionError(f"{NAME} as one graph repeats the images along the batch, which this model fixes at a number")
    if len(options.model.inputs) > 1:
        raise OptionError(f"{NAME} as one graph is for models of one input; this one has {len(options.model.inputs)}")
    weights, places = places_of(options)
    steps, x = len(places), emitter.value(options.input)
    wide = x.astype(np.float32)
    baseline = baseline_of(wide, layer, options.settings["baseline"])
    offset = (wide - baseline).reshape((1, None, *x.shape[1:]))
    begin = baseline.reshape((1, None, *x.shape[1:])) if isinstance(baseline, Value) else baseline
    points = offset * emitter.constant(places.reshape(-1, *[1] * x.rank)) + begin
    points = points.reshape((None, *x.shape[1:])).astype(x.dtype)
    tape = replayed_on(emitter, emitter.typed_as(x, points), source=x.name, output=options.score.logits)

    def repeated(v: Value, by: NDArray[np.float32]) -> Value:
        wide = v.reshape((1, None, *v.shape[1:])) * emitter.constant(by.reshape(-1, *[1] * v.rank))
        return emitter.typed_as(v, wide.reshape((None, *v.shape[1:])))

    gradients = gradients_along(
        tape, repeated(scored.seed, weights), saturation=options.saturation, cells=options.settings["cells"]
    )
    g = gradients[next(iter(tape.sources))].reshape((steps, None, *x.shape[1:])).sum(0)
    components = emitter.typed_as(x, g * (x.astype(g.dtype) - baseline))
    ends = repeated(scored.seed, np.eye(steps, dtype=np.float32)[-1]) * emitter.value(tape.output)
    start = append_total(ends).reshape((steps, None)).sum(0)
    return {
        "map/0": components.sum(layer.channel_axis),
        "sum/0": append_total(components),
        "total": scored.score - start,
        "magnitude": abs(scored.score) + abs(start),
    }


INTEGRATED = {
    NAME: Method(
        "the gradient along the way from a baseline to the image, times the difference of the two",
        "Sundararajan, Taly & Yan, 2017, arXiv:1703.01365",
        append,
        build,
        settings=SETTINGS,
        takes=frozenset({"saturation"}),
    ),
}
