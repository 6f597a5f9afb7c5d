"""Run a model on many variants of each image: in batches, in a fixed order, for a fixed target."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import LayerError, OptionError
from ..graph.emitter import Emitter
from ..layers.layers import Layer
from ..program import SEED, append_gradients, append_scores, append_target, require_reach
from .method import Arrays, Feeds, Options, Runner, check_single, runner, start

GRADIENT = "gradient"

Draw = Callable[[Sequence[int]], Any]
"""Draws variants by their numbers, once for all images."""

Vary = Callable[[NDArray[Any], Any], NDArray[Any]]
"""Makes (n, ...) variants of one image of what was drawn."""


@dataclass(frozen=True)
class Part:
    """Some variants of one image: which they are, what was drawn for them, and what the program made of them."""

    image: int
    numbers: range
    drawn: Any
    found: Arrays


def only_input(options: Options, method: str) -> Layer:
    """Return the input, the only place where ``method`` has a map.

    Raises
    ------
    LayerError
        Other layers were asked for.
    """
    others = [layer.name for layer in options.layers if layer.name != options.input]
    if others:
        raise LayerError(f"{method} explains the input; it has no map of {', '.join(map(repr, others))}")
    return options.layers[0]


def at_least(least: float, **settings: float) -> None:
    """Refuse settings below ``least``.

    Raises
    ------
    OptionError
        Naming the setting.
    """
    for name, value in settings.items():
        if not value >= least or not np.isfinite(value):
            raise OptionError(f"{name} must be at least {least}, not {value}")


def first_program(options: Options) -> Runner:
    """Return what finds target, score and scores of the images, and ``seed``, the weight of each logit."""
    emitter, scored = start(options)
    emitter.output("seed", scored.weights)
    return runner(options, emitter.build())


def gradient_program(options: Options, layers: Sequence[Layer], *, cells: bool = False) -> Runner:
    """Return what finds ``gradient/i`` at each layer and the ``score``, given the weights of the logits.

    ``cells`` as in `append_gradients`.
    """
    check_single(options.flow)
    require_reach(layers)
    emitter = Emitter(options.model)
    scored = append_target(emitter, options.score.logits, source=options.input, seeded=True)
    emitter.output("score", scored.score)
    gradients = append_gradients(
        emitter,
        [layer.name for layer in layers],
        output=options.score.logits,
        seed=scored.seed,
        saturation=options.saturation,
        cells=cells,
    )
    for i, layer in enumerate(layers):
        emitter.output(f"{GRADIENT}/{i}", layer.folded(gradients[layer.name]))
    return runner(options, emitter.build())


def score_program(options: Options) -> Runner:
    """Return what finds the ``scores``, all logits."""
    check_single(options.flow)
    emitter = Emitter(options.model)
    emitter.output("scores", append_scores(emitter, options.score.logits, source=options.input))
    return runner(options, emitter.build())


def seeded(feeds: Feeds, found: Arrays) -> Arrays:
    """Return ``feeds`` with the target of the clean images as weights of the logits."""
    return {**feeds, SEED: found["seed"]}


def like_input(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return ``values`` as the model takes them; whole numbers are rounded and cut to their type's range."""
    if dtype.kind in "iu":
        ends = np.iinfo(dtype)
        return np.asarray(np.clip(np.rint(values), ends.min, ends.max), dtype)
    return values.astype(dtype)


def stream(run: Runner, feeds: Feeds, options: Options, *, count: int, draw: Draw, vary: Vary) -> Iterator[Part]:
    """Run ``count`` variants of every image, no more at once than the batch.

    Variants come in ascending order and are drawn once for all images, whose other inputs stay their own.
    ``vary`` takes and returns floats; see :func:`like_input` for models that take whole numbers.
    """
    name = options.input
    images, step = feeds[name], run.fixed or run.limit
    done, total = 0, count * len(images)
    for begin in range(0, count, step):
        numbers = range(begin, min(begin + step, count))
        drawn = draw(numbers)
        for i, x in enumerate(images):
            beside = {
                n: v[i : i + 1].repeat(len(numbers), 0) if n in run.split else v for n, v in feeds.items() if n != name
            }
            variants = like_input(vary(real_of(x), drawn), x.dtype)
            yield Part(i, numbers, drawn, run({**beside, name: variants}))
            done += len(numbers)
            if options.progress is not None:
                options.progress(done, total)


def real_of(x: NDArray[Any]) -> NDArray[Any]:
    """Return ``x`` in float32 at least."""
    return x if x.dtype in (np.float32, np.float64) else x.astype(np.float32)
