"""The table of methods: how each is built from a model, and run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cam.gradient import WEIGHTINGS, grad_cam
from .cam.perturbation import Progress, score_cam_weights
from .errors import OptionError, suggest
from .fgcam import append_refinement, denoise, refinement
from .graph.emitter import Emitter
from .graph.facts import facts_of
from .graph.layers import Layer
from .graph.model import Model
from .graph.score import Score
from .graph.value import Value
from .lrp.composites import fg_cam, relevance_cam
from .program import (
    COMPONENTS,
    TARGET,
    Scored,
    append_gradients,
    append_map,
    append_relevance,
    append_scores,
    append_target,
    batch_of,
    class_count,
)
from .quantized import real
from .runtime import Session, check_finite

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Options:
    """What a method is built from; every dimension but the batch is bound."""

    model: Model
    input: str
    score: Score
    layers: tuple[Layer, ...]
    base: str
    base_layer: Layer
    denoise: bool
    residual: str
    products: str
    saturation: bool
    device: str
    threads: int
    batch: int
    progress: Progress | None


@dataclass(frozen=True)
class Runner:
    """Runs a program on any number of images, in batches that the model and the memory allow."""

    session: Session
    batched: frozenset[str]
    fixed: int | None
    limit: int

    def __call__(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """Run on ``feeds``, batch first; a fixed batch is filled up by repeating the last image."""
        whole = {n: a for n, a in feeds.items() if n not in self.batched}
        split = {n: a for n, a in feeds.items() if n in self.batched}
        count = len(next(iter(split.values())))
        step = self.fixed or self.limit
        parts = []
        for start in range(0, count, step):
            part = {n: a[start : start + step] for n, a in split.items()}
            size = min(step, count - start)
            if self.fixed and size < self.fixed:
                part = {n: np.concatenate([a, a[-1:].repeat(self.fixed - size, 0)]) for n, a in part.items()}
            parts.append({n: a[:size] for n, a in self.session.run({**whole, **part}).items()})
        return {n: np.concatenate([p[n] for p in parts]) for n in parts[0]}


Method = Callable[[Mapping[str, NDArray[Any]], NDArray[np.int64]], Arrays]
"""Takes inputs and targets (-1 for the top class); returns target, score, scores, map/i and sums."""


def _runner(options: Options, program: Model) -> Runner:
    batch = batch_of(options.model)
    session = Session(program, device=options.device, threads=options.threads)
    batched = frozenset(i.name for i in program.inputs if i.shape and i.shape[0] == batch)
    return Runner(session, batched, batch if isinstance(batch, int) else None, options.batch)


def _start(options: Options) -> tuple[Emitter, Scored]:
    emitter = Emitter(options.model)
    emitter.scope = "score"
    scored = append_target(emitter, options.score.logits)
    for name in ("target", "score", "scores"):
        emitter.output(name, getattr(scored, name))
    emitter.scope = "gradient"
    return emitter, scored


def _gradients(options: Options, emitter: Emitter, scored: Scored, layers: list[str]) -> dict[str, Value]:
    return append_gradients(
        emitter, layers, output=options.score.logits, seed=scored.seed, saturation=options.saturation
    )


def _gradient_components(options: Options, emitter: Emitter, scored: Scored, layer: Layer) -> Value:
    g = _gradients(options, emitter, scored, [layer.name])[layer.name]
    components: Value = WEIGHTINGS[options.base](real(emitter.value(layer.name)), g, layer.spatial_axes)
    return components


def gradient_cam(options: Options) -> Method:
    """Return the raw gradient CAM at every layer asked for."""
    emitter, scored = _start(options)
    names = [x.name for x in options.layers]
    gradients = _gradients(options, emitter, scored, names)
    for i, layer in enumerate(options.layers):
        a = real(emitter.value(layer.name))
        components = WEIGHTINGS[options.base](a, gradients[layer.name], layer.spatial_axes)
        emitter.output(f"map/{i}", append_map(emitter, layer, components))
    run = _runner(options, emitter.build())
    return lambda feeds, target: run({**feeds, TARGET: target})


def relevance_cam_method(options: Options) -> Method:
    """Return Relevance-CAM (Lee et al., CVPR 2021, doi:10.1109/CVPR46437.2021.01470) at every layer asked for.

    Relevance starts at the K logits, 1 for the target and -1/K for every other class; a channel's weight is
    its mean over space.
    """
    emitter, scored = _start(options)
    classes = class_count(options.model, options.score.logits)
    start = scored.seed * (1 + 1 / classes) - 1 / classes
    relevance = append_relevance(
        emitter,
        [x.name for x in options.layers],
        output=options.score.logits,
        seed=start,
        pullback=relevance_cam(options.residual, products=options.products),
    )
    for i, layer in enumerate(options.layers):
        components = grad_cam(real(emitter.value(layer.name)), relevance[layer.name], layer.spatial_axes)
        emitter.output(f"map/{i}", append_map(emitter, layer, components))
    run = _runner(options, emitter.build())
    return lambda feeds, target: run({**feeds, TARGET: target})


def fg_cam_method(options: Options) -> Method:
    """Return FG-CAM: one program where the components are a gradient CAM's and are not denoised, else two."""
    composite = fg_cam(options.residual, products=options.products)
    gradient = options.base in WEIGHTINGS
    emitter, scored = _start(options)
    if gradient:
        components = _gradient_components(options, emitter, scored, options.base_layer)
    else:
        components = real(emitter.value(options.base_layer.name))
    if gradient and not options.denoise:
        append_refinement(emitter, components, base=options.base_layer, layers=options.layers, composite=composite)
        run = _runner(options, emitter.build())
        return lambda feeds, target: run({**feeds, TARGET: target})
    emitter.output(COMPONENTS, components)
    first = _runner(options, emitter.build())
    program = refinement(options.model, base=options.base_layer, layers=options.layers, composite=composite)
    second = _runner(options, program)
    weigh = None if gradient else _score_cam(options)

    def run_both(feeds: Mapping[str, NDArray[Any]], target: NDArray[np.int64]) -> Arrays:
        found = first({**feeds, TARGET: target})
        components = found.pop(COMPONENTS)
        if weigh is not None:
            components = weigh(feeds, components, found["target"])
        check_finite({"components": components}, "the explanation")
        if options.denoise:
            axis = options.base_layer.channel_axis
            components = np.moveaxis(denoise(np.moveaxis(components, axis, 1)), 1, axis)
        return found | second({**feeds, COMPONENTS: np.ascontiguousarray(components)})

    return run_both


def _score_cam(
    options: Options,
) -> Callable[[Mapping[str, NDArray[Any]], NDArray[np.float32], NDArray[np.int64]], NDArray[np.float32]]:
    """Return the weighing of activations by Score-CAM, through a session of its own."""
    emitter = Emitter(options.model)
    emitter.output("scores", append_scores(emitter, options.score.logits))
    run = _runner(options, emitter.build())
    name = options.input
    axis = options.base_layer.channel_axis
    inner = facts_of(options.model).channel_axis.get(name, 1)

    def weigh(
        feeds: Mapping[str, NDArray[Any]], activations: NDArray[np.float32], target: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        weighed = []
        for i, (x, a, t) in enumerate(zip(feeds[name], activations, target, strict=True)):
            others = {n: v[i : i + 1] if n in run.batched else v for n, v in feeds.items() if n != name}
            channels_first = np.moveaxis(a, axis - 1, 0)
            weights = score_cam_weights(
                x,
                channels_first,
                int(t),
                scores=functools.partial(_masked_scores, run, others, name),
                channel_axis=inner,
                batch=options.batch,
                progress=options.progress,
            )
            weighed.append(np.moveaxis(channels_first * weights[:, None, None], 0, axis - 1))
        return np.stack(weighed)

    return weigh


def _masked_scores(run: Runner, others: Arrays, name: str, masked: NDArray[Any]) -> NDArray[np.float32]:
    """Return the scores of ``masked`` inputs, every other input the image's own."""
    count = len(masked)
    beside = {n: v.repeat(count, 0) if n in run.batched else v for n, v in others.items()}
    return np.asarray(run({**beside, name: masked})["scores"])


METHODS: dict[str, Callable[[Options], Method]] = {
    "fgcam": fg_cam_method,
    "gradcam": gradient_cam,
    "relevancecam": relevance_cam_method,
}

BASES = (*WEIGHTINGS, "scorecam")


def find_method(name: str) -> Callable[[Options], Method]:
    """Return the builder of method ``name``.

    Raises
    ------
    OptionError
        No such method; names the near ones.
    """
    if name not in METHODS:
        raise OptionError(f"unknown method {name!r}; choose {', '.join(METHODS)}.{suggest(name, METHODS)}")
    return METHODS[name]
