"""Black-box methods: only the model's scores are read, on covered or masked inputs."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from ..cam.sampling import rise_masks, window_starts
from ..errors import OptionError
from .baselines import baseline_of, lengths
from .method import Arrays, Feeds, Method, Options, Run
from .sampling import at_least, first_program, only_input, score_program, stream


def occlusion(options: Options) -> Run:
    """Return occlusion: at each pixel, how much the score drops on average under the windows that cover it.

    A window of one length is as wide along every axis of more than one position.
    """
    layer, settings = only_input(options, "occlusion"), options.settings
    size = layer.spatial
    window, stride = (lengths(settings[name], len(size), name) for name in ("window", "stride"))
    if any(w > n for w, n in zip(window, size, strict=True) if n > 1) or max(window) > max(size):
        raise OptionError(f"a window of {_sides(window)} is larger than the input, {' x '.join(map(str, size))}")
    if any(s > w for s, w in zip(stride, window, strict=True)):
        raise OptionError(
            f"stride {_sides(stride)} is larger than the window {_sides(window)}: pixels between windows are left out"
        )
    axes = zip(size, window, stride, strict=True)
    starts = itertools.product(*(window_starts(n, min(w, n), s) for n, w, s in axes))
    places = [tuple(slice(i, i + w) for i, w in zip(at, window, strict=True)) for at in starts]
    first, second = first_program(options), score_program(options)

    def covered(x: NDArray[np.float32], numbers: list[int]) -> NDArray[np.float32]:
        variants = np.repeat(x[None], len(numbers), axis=0)
        hidden = np.broadcast_to(baseline_of(x[None], layer, settings["baseline"]), (1, *x.shape))[0]
        hidden = np.moveaxis(hidden, layer.channel_axis - 1, 0)
        for variant, m in zip(variants, numbers, strict=True):
            np.moveaxis(variant, layer.channel_axis - 1, 0)[:, *places[m]] = hidden[:, *places[m]]
        return variants

    def run(feeds: Feeds) -> Arrays:
        found = first(feeds)
        drops, covers = np.zeros((len(found["score"]), *size)), np.zeros(size)
        for place in places:
            covers[place] += 1
        for part in stream(second, feeds, options, count=len(places), draw=list, vary=covered):
            scores = part.found["scores"] @ found["seed"][part.image]
            for m, score in zip(part.numbers, scores, strict=True):
                drops[part.image][places[m]] += float(found["score"][part.image]) - float(score)
        return found | {"map/0": drops / covers}

    return run


def _sides(lengths: tuple[int, ...]) -> str:
    return str(lengths[0]) if len(set(lengths)) == 1 else " x ".join(map(str, lengths))


def rise(options: Options) -> Run:
    """Return RISE: random masks averaged, each weighed by the target's probability on the image under it.

    Of outputs of which the model makes no probability, by the target's score.

    ``centred`` takes the mean probability off first: in expectation the published map less a constant, with less
    noise, and above 0 where a pixel that is seen makes the target likelier.
    """
    layer, settings = only_input(options, "rise"), options.settings
    count, cells, p = settings["masks"], settings["cells"], settings["p"]
    at_least(1, masks=count, cells=cells)
    at_least(0, seed=settings["seed"])
    if not 0 < p <= 1:
        raise OptionError(f"p is the share of cells that stay and must be above 0 and at most 1, not {p}")
    first, second = first_program(options), score_program(options)
    size = layer.spatial

    def masked(x: NDArray[np.float32], masks: NDArray[np.float32]) -> NDArray[np.float32]:
        wide = np.expand_dims(masks, layer.channel_axis)
        hidden = np.asarray(baseline_of(x[None], layer, settings["baseline"]), np.float32)
        return np.asarray(x * wide + hidden * (1 - wide) if hidden.any() else x * wide)

    def run(feeds: Feeds) -> Arrays:
        found = first(feeds)
        total = np.zeros((len(found["score"]), *size))
        mean, seen = np.zeros(len(total)), np.zeros(size)
        parts = stream(
            second, feeds, options, count=count, vary=masked,
            draw=lambda numbers: rise_masks(size, numbers, cells=cells, p=p, seed=settings["seed"]),
        )  # fmt: skip
        for part in parts:
            scores = part.found["scores"]
            sure = options.head.probabilities(scores)
            weights = (scores if sure is None else sure) @ found["seed"][part.image]
            total[part.image] += np.tensordot(weights.astype(np.float64), part.drawn, 1)
            mean[part.image] += weights.sum(dtype=np.float64) / count
            if part.image == 0:
                seen += part.drawn.sum(axis=0, dtype=np.float64)
        if settings["centred"]:
            total -= np.multiply.outer(mean, seen)
        return found | {"map/0": total / (count * p)}

    return run


BLACK_BOX = {
    "occlusion": Method(
        "how much the score drops when a sliding window covers a pixel",
        "Zeiler & Fergus, 2014, arXiv:1311.2901",
        build=occlusion,
        settings={"window": 16, "stride": 8, "baseline": 0.0},
    ),
    "rise": Method(
        "random masks, averaged by the target's probability on the image under them",
        "Petsiuk, Das & Saenko, 2018, arXiv:1806.07421",
        build=rise,
        settings={"masks": 4000, "cells": 7, "p": 0.5, "baseline": 0.0, "centred": True, "seed": 0},
    ),
}
