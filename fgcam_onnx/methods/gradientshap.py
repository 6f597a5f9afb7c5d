"""GradientShap: the gradient at random places between random baselines and noisy copies of the image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cam.sampling import generator
from .baselines import baseline_of
from .method import CELLS, Arrays, Feeds, Method, Options, Run
from .sampling import GRADIENT, at_least, first_program, gradient_program, only_input, seeded, stream

NAME = "gradientshap"
Drawn = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""Noise (n, ...), which of the baselines (n,), in [0, 1), and how far from it (n,), in [0, 1)."""


def draws(shape: tuple[int, ...], numbers: Any, *, seed: int) -> Drawn:
    """Draw noise of ``shape``, the baseline and the place between the two, for each of ``numbers``."""
    found = []
    for number in numbers:
        rng = generator(seed, number)
        found.append((rng.standard_normal(shape, np.float32), rng.random(), rng.random()))
    noise, which, places = zip(*found, strict=True)
    return np.stack(noise), np.asarray(which, np.float32), np.asarray(places, np.float32)


def build(options: Options) -> Run:
    """Return GradientShap: ``E[(x' - b) g(b + t (x' - b))]`` over noisy images x', baselines b and t in [0, 1).

    Several baselines, (B, ...) in place of one image, are a distribution of which each draw takes one.
    """
    layer, settings = only_input(options, NAME), options.settings
    at_least(1, samples=settings["samples"])
    at_least(0, noise=settings["noise"], seed=settings["seed"])
    first, second = first_program(options), gradient_program(options, [layer], cells=settings["cells"])
    given = settings["baseline"]

    def ends(x: NDArray[np.float32], drawn: Drawn) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        noise, which, _ = drawn
        many = isinstance(given, np.ndarray) and given.ndim > x.ndim
        found = [baseline_of(x[None], layer, b) for b in (given if many else [given])]
        begin = np.concatenate([np.broadcast_to(np.asarray(b, np.float32), (1, *x.shape)) for b in found])
        end = x + np.float32(settings["noise"] * np.ptp(x)) * noise
        return begin[(which * len(begin)).astype(int)], np.asarray(end, np.float32)

    def between(x: NDArray[np.float32], drawn: Drawn) -> NDArray[np.float32]:
        begin, end = ends(x, drawn)
        return begin + drawn[2].reshape(-1, *[1] * x.ndim) * (end - begin)

    def run(feeds: Feeds) -> Arrays:
        found, images = first(feeds), feeds[options.input]
        mean = np.zeros(images.shape)
        parts = stream(
            second, seeded(feeds, found), options, count=settings["samples"], vary=between,
            draw=lambda numbers: draws(images.shape[1:], numbers, seed=settings["seed"]),
        )  # fmt: skip
        for part in parts:
            begin, end = ends(images[part.image].astype(np.float32), part.drawn)
            mean[part.image] += ((end - begin) * part.found[f"{GRADIENT}/0"]).sum(0) / settings["samples"]
        return found | {"map/0": mean.sum(axis=layer.channel_axis)}

    return run


GRADIENT_SHAP = {
    NAME: Method(
        "the gradient at random places between baselines and noisy images, times the difference of the two",
        "Lundberg & Lee, 2017, arXiv:1705.07874",
        build=build,
        settings={"samples": 50, "baseline": 0.0, "noise": 0.0, "seed": 0, **CELLS},
        takes=frozenset({"saturation"}),
    ),
}
