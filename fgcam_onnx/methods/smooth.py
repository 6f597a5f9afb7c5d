"""SmoothGrad and Smooth Grad-CAM++: gradients at noisy copies of the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cam.sampling import normal_noise, smooth_grad_cam_pp
from ..errors import OptionError, suggest
from ..layers.layers import Layer
from .cams import Cam, Components
from .method import CELLS, Arrays, Feeds, Method, Options, Run, Runner
from .sampling import GRADIENT, at_least, first_program, gradient_program, seeded, stream

Moments = list[list[NDArray[np.float64]]]
"""For each layer and power 1, 2, ... the mean of that power of the gradient, (N, ...)."""

KINDS: dict[str, Callable[[Any, Any], Any]] = {
    "plain": lambda g1, g2: g1,
    "squared": lambda g1, g2: g2,
    "vargrad": lambda g1, g2: g2 - g1 * g1,
}
"""What SmoothGrad takes of the first two moments."""

SMOOTH_GRAD = {"samples": 50, "noise": 0.15, "kind": "plain", "seed": 0, **CELLS}
SMOOTH_CAM = {"samples": 16, "noise": 0.1, "seed": 0}


def moments(run: Runner, feeds: Feeds, options: Options, settings: Mapping[str, Any], powers: int) -> Moments:
    """Return the moments of the gradients at all layers of ``run``, over noisy copies of each image.

    The noise is normal; its deviation is ``noise`` times the image's own range (largest less smallest value).
    """
    at_least(1, samples=settings["samples"])
    at_least(0, noise=settings["noise"], seed=settings["seed"])
    shape = feeds[options.input].shape[1:]
    sums: list[list[NDArray[np.float64]]] = []

    def noisy(x: NDArray[Any], noise: NDArray[np.float32]) -> NDArray[Any]:
        return np.asarray(x + x.dtype.type(settings["noise"] * np.ptp(x)) * noise)

    parts = stream(
        run, feeds, options,
        count=settings["samples"], draw=lambda n: normal_noise(shape, n, seed=settings["seed"]), vary=noisy,
    )  # fmt: skip
    for part in parts:
        found = [part.found[f"{GRADIENT}/{i}"].astype(np.float64) for i in range(len(run.session.model.outputs) - 1)]
        if not sums:
            count = len(feeds[options.input])
            sums = [[np.zeros((count, *g.shape[1:])) for _ in range(powers)] for g in found]
        for g, kept in zip(found, sums, strict=True):
            for power, total in enumerate(kept, 1):
                total[part.image] += (g**power).sum(axis=0) / settings["samples"]
    return sums


def smooth_grad(options: Options) -> Run:
    """Return SmoothGrad: the largest magnitude of any channel of the mean gradient, its square or variance."""
    settings = options.settings
    if settings["kind"] not in KINDS:
        raise OptionError(
            f"unknown kind {settings['kind']!r}; choose {', '.join(KINDS)}.{suggest(settings['kind'], KINDS)}"
        )
    kind = KINDS[settings["kind"]]
    first, second = first_program(options), gradient_program(options, options.layers, cells=settings["cells"])

    def run(feeds: Feeds) -> Arrays:
        found = first(feeds)
        taken = moments(second, seeded(feeds, found), options, settings, 2)
        return found | {
            f"map/{i}": np.abs(kind(*m)).max(axis=layer.channel_axis)
            for i, (layer, m) in enumerate(zip(options.layers, taken, strict=True))
        }

    return run


def smooth_cam(options: Options, layer: Layer) -> Callable[[Feeds, Arrays, Components], Components]:
    """Return the weighing of activations by Smooth Grad-CAM++, through a session of its own."""
    settings = {**SMOOTH_CAM, **{n: v for n, v in options.settings.items() if n in SMOOTH_CAM}}
    run = gradient_program(options, [layer])

    def weigh(feeds: Feeds, found: Arrays, activations: Components) -> Components:
        (taken,) = moments(run, seeded(feeds, found), options, settings, 3)
        g1, g2, g3 = (np.moveaxis(m, layer.channel_axis, 1) for m in taken)
        return np.asarray(smooth_grad_cam_pp(activations, (g1, g2, g3), range(2, g1.ndim)), np.float32)

    return weigh


SMOOTH = {
    "smoothgrad": Method(
        "the gradient averaged over noisy copies of the image, the largest of any channel",
        "Smilkov et al., 2017, arXiv:1706.03825",
        build=smooth_grad,
        settings=SMOOTH_GRAD,
        takes=frozenset({"saturation"}),
    ),
}

SMOOTH_CAMS = {
    "smoothgradcam++": Cam(
        "each channel weighed as Grad-CAM++ does, on gradients averaged over noisy copies of the image",
        "Omeiza et al., 2019, arXiv:1908.01224",
        gradient=False,
        walks=True,
        finish=smooth_cam,
        settings=SMOOTH_CAM,
    ),
}
