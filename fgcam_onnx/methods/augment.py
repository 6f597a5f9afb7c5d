"""Smoothing: any method on copies of the images, mirrored and rescaled or noisy, its raw maps averaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..asked import whole_of
from ..cam.sampling import normal_noise
from ..errors import OptionError, check_known
from ..graph.emitter import Emitter
from ..graph.facts import facts_of
from ..program import SEED, TARGET
from .method import Arrays, Feeds, Options, Run
from .sampling import like_input, real_of
from .smooth import KINDS

FACTORS = (0.9, 1.0, 1.1)
TUNNELS: Mapping[str, str] = {"smoothgrad": "plain", "smoothgrad_sq": "squared", "vargrad": "vargrad"}
"""What captum's noise tunnel is called, and what that takes of the moments."""


@dataclass(frozen=True, kw_only=True)
class Tunnel:
    """A noise tunnel: a method on noisy copies of the images (captum's NoiseTunnel).

    Attributes
    ----------
    kind : {"smoothgrad", "smoothgrad_sq", "vargrad"}
        The mean of the maps (Smilkov et al., 2017, arXiv:1706.03825), of their squares (Hooker et al., 2019,
        arXiv:1806.10758), or their variance (Adebayo et al., 2018, arXiv:1810.03292).
    samples : int
        How many copies.
    noise : float
        The deviation of the normal noise, as a share of an image's own range.
    seed : int

    Raises
    ------
    OptionError
        No such kind, or a number out of range.
    """

    kind: str = "smoothgrad"
    samples: int = 10
    noise: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        check_known("kind", self.kind, TUNNELS)
        whole_of(self.samples, "samples", least=1)
        whole_of(self.seed, "seed", least=0)
        if isinstance(self.noise, bool) or not isinstance(self.noise, int | float) or not 0 <= self.noise < np.inf:
            raise OptionError(f"noise is a number from 0, not {self.noise!r:.60}")


def smoothed(run: Run, options: Options, *, mirrored: bool, tunnel: Tunnel | None) -> Run:
    """Return ``run`` averaged over mirror images, or through a tunnel, or both, the tunnel around."""
    run = augmented(run, options) if mirrored else run
    return run if tunnel is None else tunnelled(run, options, tunnel)


def check_smoothed(*, mirrored: bool, tunnel: Any, trace: bool, flat: bool) -> None:
    """Refuse what cannot be averaged over copies of an image.

    Raises
    ------
    OptionError
        A trace is wanted, the input is ``flat``, a row of numbers in no order, or ``tunnel`` is none.
    """
    if tunnel is not None and not isinstance(tunnel, Tunnel):
        raise OptionError(f"tunnel is a fgcam_onnx.Tunnel, such as Tunnel(kind='vargrad'), not {tunnel!r:.60}")
    if trace and (mirrored or tunnel is not None):
        what = "aug_smooth" if mirrored else "a tunnel"
        raise OptionError(f"a trace is of one run, {what} averages several: choose one")
    if mirrored and flat:
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


def tunnelled(run: Run, options: Options, tunnel: Tunnel) -> Run:
    """Return the moments of ``run`` over noisy copies of the images, as ``tunnel`` has them.

    The target is that of the images as they are. What the maps sum to is known of their mean alone.
    """
    name, formula = options.input, KINDS[TUNNELS[tunnel.kind]]

    def smooth(feeds: Feeds) -> Arrays:
        found, x = run(feeds), feeds[name]
        fixed = {**feeds, TARGET: found["target"]} if SEED not in feeds else dict(feeds)
        span = tunnel.noise * np.ptp(real_of(x), axis=tuple(range(1, x.ndim)), keepdims=True)
        sums = {n for n in found if n.startswith("sum/") or n in ("total", "magnitude")}
        maps = {n for n in found if n.startswith("map/")}
        moments = {n: np.zeros((2, *found[n].shape)) for n in maps | sums}
        for number in range(tunnel.samples):
            noise = normal_noise(x.shape[1:], [number], seed=tunnel.seed)
            copy = run({**fixed, name: like_input(x + span * noise, x.dtype)})
            for n, sums_of in moments.items():
                sums_of += np.stack([copy[n], np.square(copy[n], dtype=np.float64)]) / tunnel.samples
            if options.progress is not None:
                options.progress(number + 1, tunnel.samples)
        mean = {n: moments[n][0] for n in sums} if tunnel.kind == "smoothgrad" else {}
        kept = {n: a for n, a in found.items() if n not in sums}
        taken: Arrays = {n: formula(*moments[n]) for n in maps}
        return kept | mean | taken

    return smooth
