"""LIME and KernelSHAP: parts of the picture hidden together, and a linear model of the scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cam import coalitions
from ..cam.coalitions import Floats
from ..errors import OptionError
from ..layers.layers import Layer
from .baselines import baseline_of
from .method import Arrays, Feeds, Method, Options, Run, Runner
from .sampling import at_least, first_program, only_input, real_of, score_program, stream

Labels = NDArray[np.int64]
Plan = tuple[int, Callable[[Sequence[int]], Floats]]
"""How many coalitions there are, and what makes them by their numbers."""


def segments_of(x: NDArray[Any], layer: Layer, given: Any) -> Labels:
    """Return the part, from 0 on, that each position of an image (...) belongs to: as given, or by SLIC.

    SLIC (Achanta et al., 2012, doi:10.1109/TPAMI.2012.120) is scikit-image's, of the image stretched to [0, 1].

    Raises
    ------
    OptionError
        The parts given do not have the image's size, or there are more axes than SLIC takes.
    """
    if isinstance(given, np.ndarray):
        if given.shape != layer.spatial:
            raise OptionError(f"segments are {list(layer.spatial)}, a part for each position, not {list(given.shape)}")
        return np.unique(given, return_inverse=True)[1].reshape(layer.spatial)
    from skimage.segmentation import slic

    wide = tuple(n for n in layer.spatial if n > 1)
    if len(wide) > 3:
        raise OptionError(f"SLIC is of up to 3 axes, not {len(wide)}: give segments as an array, {list(layer.spatial)}")
    values = np.moveaxis(x, layer.channel_axis - 1, -1).reshape(*(wide if len(wide) > 1 else (1, *wide, 1)[:2]), -1)
    low, high = values.min(), values.max()
    scaled = (values - low) / (high - low if high > low else 1)
    found = slic(scaled.astype(np.float64), n_segments=given, start_label=0, channel_axis=-1)
    return np.unique(found, return_inverse=True)[1].reshape(layer.spatial)


def fitted_segments(value: Any, what: str) -> int | Labels:
    """Return how many parts there are to be, or an array of whole numbers.

    Raises
    ------
    OptionError
        It is neither.
    """
    array = np.asarray(value) if not isinstance(value, str) else np.asarray(np.nan)
    if isinstance(value, bool) or array.dtype.kind not in "iu" or (array.ndim == 0 and array < 1):
        raise OptionError(f"{what} is a whole number from 1, or an array of them, not {value!r:.60}")
    return array.astype(np.int64) if array.ndim else int(array)


def parted(name: str, plan: Callable[[Options, int], Plan], fit: Callable[..., Floats]) -> Callable[[Options], Run]:
    """Return what builds a method that hides parts together.

    Parameters
    ----------
    plan : callable
        Takes the options and the number of parts; returns the coalitions.
    fit : callable
        Takes the options, coalitions (n, parts), their scores (n,), ``none`` and ``whole``, the scores of the baseline
        and of the image; returns a number for each part.
    """

    def build(options: Options) -> Run:
        layer, settings = only_input(options, name), options.settings
        at_least(1, samples=settings["samples"])
        at_least(0, seed=settings["seed"])
        first, second = first_program(options), score_program(options)

        def run(feeds: Feeds) -> Arrays:
            found, images = first(feeds), real_of(feeds[options.input])
            labels = [segments_of(x, layer, settings["segments"]) for x in images]
            plans = [plan(options, int(own.max()) + 1) for own in labels]
            told = _told(options, [count + 1 for count, _ in plans])
            maps = np.zeros((len(images), *layer.spatial))
            for i, (own, (count, make)) in enumerate(zip(labels, plans, strict=True)):
                parts = int(own.max()) + 1

                def draw(numbers: Sequence[int], make: Any = make, parts: int = parts) -> Floats:
                    kept = make([m - 1 for m in numbers if m])
                    return np.concatenate([np.zeros((1, parts)), kept]) if 0 in numbers else kept

                def hide(x: NDArray[Any], kept: Floats, own: Labels = own) -> NDArray[np.float32]:
                    mask = np.expand_dims(kept[:, own], layer.channel_axis).astype(np.float32)
                    begin = np.asarray(baseline_of(x[None], layer, settings["baseline"]), np.float32)
                    return np.asarray(x * mask + begin * (1 - mask))

                kept, scores = [], []
                alone, told_of = _alone(second, feeds, i, options), replace(options, progress=told[i])
                for part in stream(second, alone, told_of, count=count + 1, draw=draw, vary=hide):
                    kept.append(part.drawn)
                    scores.append(part.found["scores"].astype(np.float64) @ found["seed"][i])
                z, y = np.concatenate(kept)[1:], np.concatenate(scores)
                values = fit(options, z, y[1:], none=float(y[0]), whole=float(found["score"][i]))
                maps[i] = values[own]
            return found | {"map/0": maps}

        return run

    return build


def _alone(run: Runner, feeds: Feeds, index: int, options: Options) -> dict[str, NDArray[Any]]:
    """Return the feeds of one image."""
    rows = {*run.split, options.input}
    return {n: v[index : index + 1] if n in rows else v for n, v in feeds.items()}


def _told(options: Options, counts: Sequence[int]) -> list[Callable[[int, int], None] | None]:
    """Return for each image what is told how far its runs are, as a share of all images'."""
    if (progress := options.progress) is None:
        return [None] * len(counts)
    before = np.cumsum([0, *counts])

    def after(start: int) -> Callable[[int, int], None]:
        return lambda done, _: progress(start + done, int(before[-1]))

    return [after(int(start)) for start in before[:-1]]


def lime_plan(options: Options, parts: int) -> Plan:
    """Return as many coalitions as asked for, drawn evenly."""
    return options.settings["samples"], lambda n: coalitions.halves(parts, n, seed=options.settings["seed"])


def lime(options: Options, kept: Floats, scores: Floats, *, none: float, whole: float) -> Floats:
    """Return the coefficients of a ridge regression, near coalitions weighed more."""
    weights = coalitions.cosine_kernel(kept, options.settings["width"])
    return coalitions.ridge(kept, scores, weights)


def shap_plan(options: Options, parts: int) -> Plan:
    """Return all coalitions where there are no more than asked for, else as many, drawn as their kernel weighs them."""
    samples, seed = options.settings["samples"], options.settings["seed"]
    if _complete(options, parts):
        return 2**parts - 2, lambda numbers: coalitions.every(parts)[0][list(numbers)]
    return samples, lambda numbers: coalitions.by_size(parts, numbers, seed=seed)


def kernel_shap(options: Options, kept: Floats, scores: Floats, *, none: float, whole: float) -> Floats:
    """Return the Shapley values that a regression finds: exact where every coalition was run."""
    parts = kept.shape[1]
    weights = coalitions.every(parts)[1] if _complete(options, parts) else np.ones(len(kept))
    return np.asarray(coalitions.shapley_values(kept, scores, weights, none=none, whole=whole))


def _complete(options: Options, parts: int) -> bool:
    return parts < 31 and 2**parts - 2 <= options.settings["samples"]


SETTINGS: dict[str, Any] = {"samples": 1000, "segments": 50, "baseline": "mean", "seed": 0}

SEGMENTED = {
    "lime": Method(
        "segments hidden at random, and a linear model of the score near the image",
        "Ribeiro, Singh & Guestrin, 2016, arXiv:1602.04938",
        build=parted("lime", lime_plan, lime),
        settings=SETTINGS | {"width": 0.25},
    ),
    "kernelshap": Method(
        "segments hidden in coalitions, and the Shapley value of each by regression",
        "Lundberg & Lee, 2017, arXiv:1705.07874",
        build=parted("kernelshap", shap_plan, kernel_shap),
        settings=SETTINGS,
    ),
}
