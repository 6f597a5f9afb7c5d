"""Smoothing by augmentation: any method on mirrored and rescaled copies of the images, its raw maps averaged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError
from ..graph.emitter import Emitter
from ..graph.facts import facts_of
from ..program import SEED, TARGET
from .method import Arrays, Feeds, Options, Run
from .sampling import like_input

FACTORS = (0.9, 1.0, 1.1)


def check_augmented(*, trace: bool, flat: bool) -> None:
    """Refuse what cannot be averaged over mirror images.

    Raises
    ------
    OptionError
        A trace is wanted, or the input is ``flat``, a row of numbers in no order.
    """
    if trace:
        raise OptionError("a trace is of one run, aug_smooth averages several: choose one")
    if flat:
        raise OptionError("aug_smooth averages over mirror images: a row of numbers has no mirror image")


def augmented(run: Run, options: Options) -> Run:
    """Return ``run`` averaged over the image and its mirror image along the last axis, each times 0.9, 1 and 1.1.

    These are pytorch-grad-cam's augmentations (``aug_smooth``). The target is that of the image as it is; the maps
    of mirror images are mirrored back. Values of models that take whole numbers are rounded and cut to the type's
    range. Needs six runs.

    Raises
    ------
    OptionError
        The output has places, of which a target names one: in the mirror image it is elsewhere.
    """
    name = options.input
    output = Emitter(options.model).shape(options.score.logits)
    if sum(d != 1 for d in output[1:]) > 1:
        sizes = " x ".join(str(d) for d in output[1:])
        raise OptionError(
            f"aug_smooth is for outputs of one score a class, not of {sizes}: a mirror image has it elsewhere"
        )
    channels = facts_of(options.model).channel_axis.get(name, 1)
    width = max(a for a in range(1, Emitter(options.model).value(name).rank) if a != channels)

    def smooth(feeds: Feeds) -> Arrays:
        found = run(feeds)
        x = feeds[name]
        fixed = {**feeds, TARGET: found["target"]} if SEED not in feeds else dict(feeds)
        averaged = {n for n in found if n.startswith(("map/", "sum/")) or n in ("total", "magnitude")}
        copies = [found]
        for flip in (False, True):
            for factor in FACTORS:
                if flip or factor != 1:
                    scaled = like_input(x * np.float32(factor), x.dtype) if factor != 1 else x
                    variant = np.ascontiguousarray(np.flip(scaled, width)) if flip else scaled
                    copies.append(_unflipped(run({**fixed, name: variant})) if flip else run({**fixed, name: variant}))
        return found | {n: np.mean([c[n].astype(np.float64) for c in copies], axis=0) for n in averaged}

    return smooth


def _unflipped(found: Arrays) -> Arrays:
    def back(name: str, array: NDArray[np.float32]) -> NDArray[np.float32]:
        return array[..., ::-1] if name.startswith("map/") else array

    return {n: back(n, a) for n, a in found.items()}
