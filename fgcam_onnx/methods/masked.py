"""Gradient-free CAMs that mask the input: the model is run under each channel's mask and the score is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..cam.perturbation import (
    Live,
    Progress,
    live_channels,
    softmax_over_channels,
    stretched,
    upsampled,
    upsampling,
    without_constant,
)
from ..errors import LayerError
from ..graph.facts import facts_of
from ..graph.value import Value
from ..heads import Head
from ..layers.layers import Layer
from ..program import Scored
from . import unrolled
from .cams import Cam, Components, Finish, Inside
from .method import Arrays, Feeds, Options
from .rerun import Given, Read, Rerun, by_probability, by_target, rerun
from .sampling import at_least
from .unrolled import append_copies

Floats = NDArray[np.float32]
Scores = Callable[[Options, Rerun, Arrays, Live, Read], Floats]
"""Returns the scores (n,) of the channels in ``Live``, run under their masks on one image."""


@dataclass(frozen=True)
class Masking:
    """How channels become masks of the input.

    Attributes
    ----------
    scores : callable
        Runs the masks of one image.
    coordinates : str
        How maps are placed on the input: ``half_pixel`` or ``align_corners``.
    stretch : bool
        Whether masks are brought to 0 to 1 once they have the input's size; else the maps given are masks already.
    noise : bool
        Whether noise of the input's size is added to the masks.
    """

    scores: Scores
    coordinates: str = "half_pixel"
    stretch: bool = False
    noise: bool = False


def masked_by(
    masking: Masking,
    *,
    by: Callable[[Head, Floats], Read] = by_target,
    weights: Callable[[Floats], Floats] = softmax_over_channels,
) -> Finish:
    """Return the weighing of a layer's channels by the scores under their masks.

    Parameters
    ----------
    by : callable
        Takes what the output means and the target's seed (K,); returns what reads a score off the logits.
    weights : callable
        Takes the scores of all channels (C,); returns their weights.
    """

    def finish(options: Options, layer: Layer) -> Callable[[Feeds, Arrays, Components], Components]:
        given = options.settings
        at_least(1, samples=given.get("samples", 1))
        at_least(0, seed=given.get("seed", 0), std=given.get("std", 0))
        run = _runs(options, layer, masking)

        def weigh(feeds: Feeds, found: Arrays, activations: Components) -> Components:
            weighed = []
            for i, (a, seed) in enumerate(zip(activations, found["seed"], strict=True)):
                live = live_channels(a)
                scores = live.spread(
                    masking.scores(options, run, run.image(feeds, found, i), live, by(options.head, seed))
                )
                weighed.append(a * weights(scores).reshape(-1, *[1] * (a.ndim - 1)))
            return np.stack(weighed)

        return weigh

    return finish


def _runs(options: Options, layer: Layer, masking: Masking) -> Rerun:
    """Return what runs the model under masks; upsampling, stretching and masking happen in its graph."""
    each: Given = {"maps": (np.float32, layer.spatial)}
    shared: Given = {"noise": (np.float32, _picture(options)[1])} if masking.noise else {}
    return rerun(options, [options.input], _mask(options, layer, masking), each=each, shared=shared)


def _picture(options: Options) -> tuple[int, tuple[int, ...]]:
    """Return the channel axis of the image input, and the sizes of its spatial axes."""
    axis = facts_of(options.model).channel_axis.get(options.input, 1)
    shape = next(i.shape for i in options.model.inputs if i.name == options.input)
    return axis, tuple(d for a, d in enumerate(shape) if a not in (0, axis) and isinstance(d, int))


def _mask(options: Options, layer: Layer, masking: Masking) -> Callable[..., Value]:
    """Return what multiplies images (..., C, H, W) by maps (..., h, w) that are made masks of.

    Raises
    ------
    LayerError
        The layer has other axes than the input, so that its maps are no masks of it.
    """
    axis, wide = _picture(options)
    if len(layer.spatial) != len(wide):
        sizes = [" x ".join(map(str, s)) for s in (layer.spatial, wide)]
        raise LayerError(
            f"the {sizes[0]} positions of layer {layer.name!r} are no masks of an input of {sizes[1]}. Choose another "
            "layer, or a method that does not mask the input, such as gradcam or ablationcam"
        )
    ways = upsampling(layer.spatial, wide, coordinates=masking.coordinates)

    def mask(x: Value, maps: Value, noise: Value | None = None) -> Value:
        masks = upsampled(maps, [x.emitter.constant(way) for way in ways])
        masks = stretched(masks, _space(layer)) if masking.stretch else masks
        masks = masks if noise is None else masks + noise
        return x * x.emitter.emit("Unsqueeze", masks, x.emitter.ints([axis - len(wide) - 2]))

    return mask


def _space(layer: Layer) -> tuple[int, ...]:
    """Return the axes of a map at ``layer``, counted from the end."""
    return tuple(range(-len(layer.spatial), 0))


def masked_inside(
    masking: Masking,
    *,
    read: unrolled.Read = unrolled.by_target,
    weights: Callable[[Value], Value] = unrolled.softmax_over_copies,
    factors: Callable[[Options], Floats] = lambda options: np.ones(1, np.float32),
) -> Inside:
    """Return the same weighing in the graph.

    Parameters
    ----------
    read : callable
        Reads a number off the scores under a mask.
    weights : callable
        Takes the scores of all channels (N, C); returns their weights.
    factors : callable
        Returns what each channel's map is multiplied by, run by run; its score is the mean over the runs.
    """

    def inside(options: Options, scored: Scored, layer: Layer, components: Value) -> Value:
        times, channels = factors(options), layer.channels
        mask = _mask(options, layer, masking)

        maps = without_constant(components.transpose((0, layer.channel_axis, *layer.spatial_axes)), _space(layer))
        maps = maps if masking.stretch else stretched(maps, _space(layer))

        def change(x: Value, numbers: Value) -> Value:
            channel, factor = (
                x.emitter.emit("Gather", x.emitter.constant(table), numbers)
                for table in (np.arange(channels).repeat(len(times)), np.tile(times, channels))
            )
            chosen = x.emitter.emit("Gather", maps, channel, axis=1)
            return mask(x, chosen if len(times) == 1 else chosen * factor.reshape((None, *[1] * len(layer.spatial))))

        count = channels * len(times)
        scores = append_copies(options, scored, [options.input], change, count=count, read=read)
        return components * weights(scores.reshape((None, channels, len(times))).mean(2)).reshape(layer.by_channel)

    return inside


def once(options: Options, run: Rerun, image: Arrays, live: Live, read: Read) -> Floats:
    """Run each channel's mask once."""
    return run(image, {"maps": live.maps}, read=read, progress=options.progress)


def noisy(options: Options, run: Rerun, image: Arrays, live: Live, read: Read) -> Floats:
    """Average the scores under masks with noise, the same for all channels, drawn anew for each sample."""
    samples, rng = options.settings["samples"], np.random.default_rng(options.settings["seed"])
    _, size = run.shared["noise"]
    maps, total = stretched(live.maps, live.space), np.zeros(())
    for i in range(samples):
        noise = (options.settings["std"] * rng.standard_normal(size)).astype(np.float32)
        progress = _part(options.progress, i, samples)
        total = total + run(image, {"maps": maps}, read=read, shared={"noise": noise}, progress=progress)
    return np.asarray(total / samples, np.float32)


def integrated(options: Options, run: Rerun, image: Arrays, live: Live, read: Read) -> Floats:
    """Average the scores under masks that grow: the i-th is the mask times the sum of 1/n to i/n."""
    samples = options.settings["samples"]
    maps, total = stretched(live.maps, live.space), np.zeros(())
    for i, factor in enumerate(growing(options)):
        grown = factor * maps
        total = total + run(image, {"maps": grown}, read=read, progress=_part(options.progress, i, samples))
    return np.asarray(total / samples, np.float32)


def growing(options: Options) -> Floats:
    """Return the factors of a growing mask."""
    samples = options.settings["samples"]
    return np.asarray(np.cumsum(np.arange(1, samples + 1) / samples), np.float32)


def _part(progress: Progress | None, index: int, parts: int) -> Progress | None:
    """Return what tells the progress of one of several equal parts as that of the whole."""
    if progress is None:
        return None
    return lambda done, total: progress(index * total + done, parts * total)


def _masked_at(options: Options, layer: Layer) -> tuple[str, ...]:
    return (options.input,)


FG_CAM_BASES = {
    "scorecam": Cam(
        "each channel weighed by the target's probability on the input under the channel's mask",
        "Wang et al., 2020, arXiv:1910.01279, as in Qiu, Jin & Zhang, AAAI 2024, arXiv:2303.09171",
        gradient=False,
        cut=_masked_at,
        finish=masked_by(Masking(once, stretch=True), by=by_probability, weights=np.asarray),
        inside=masked_inside(Masking(once, stretch=True), read=unrolled.by_probability, weights=lambda scores: scores),
    ),
}
"""Where FG-CAM's published code weighs otherwise than the CAM of that name."""

MASKED_CAMS: dict[str, Cam] = {
    "iscam": Cam(
        "Score-CAM's scores averaged over masks that grow from nothing",
        "Naidu et al., 2020, arXiv:2010.03023",
        gradient=False,
        cut=_masked_at,
        finish=masked_by(Masking(integrated)),
        inside=masked_inside(Masking(integrated), factors=growing),
        settings={"samples": 10},
    ),
    "scorecam": Cam(
        "each channel weighed by the softmax, over channels, of the target's score under the channel's mask",
        "Wang et al., 2020, arXiv:1910.01279",
        gradient=False,
        cut=_masked_at,
        finish=masked_by(Masking(once, coordinates="align_corners", stretch=True)),
        inside=masked_inside(Masking(once, coordinates="align_corners", stretch=True)),
    ),
    "sscam": Cam(
        "Score-CAM's scores averaged over masks with noise",
        "Wang et al., 2020, arXiv:2006.14255",
        gradient=False,
        cut=_masked_at,
        finish=masked_by(Masking(noisy, noise=True)),
        settings={"samples": 35, "seed": 0, "std": 2.0},
    ),
}
