"""Gradient-free CAMs: the model is run on masked inputs or masked features and the target's score is read."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cam.perturbation import score_cam_weights
from ..graph.emitter import Emitter
from ..graph.facts import facts_of
from ..graph.layers import Layer
from ..program import append_scores
from .cams import Cam, Components
from .method import Arrays, Feeds, Options, Runner, runner


def score_cam(options: Options, layer: Layer) -> Callable[[Feeds, Arrays, Components], Components]:
    """Return the weighing of activations by Score-CAM, through a session of its own."""
    emitter = Emitter(options.model)
    emitter.output("scores", append_scores(emitter, options.score.logits))
    run = runner(options, emitter.build())
    name = options.input
    inner = facts_of(options.model).channel_axis.get(name, 1)

    def weigh(feeds: Feeds, found: Arrays, activations: Components) -> Components:
        weighed = []
        for i, (x, a, seed) in enumerate(zip(feeds[name], activations, found["seed"], strict=True)):
            others = {n: v[i : i + 1] if n in run.batched else v for n, v in feeds.items() if n != name}
            weights = score_cam_weights(
                x,
                a,
                seed,
                scores=functools.partial(_masked_scores, run, others, name),
                channel_axis=inner,
                batch=options.batch,
                progress=options.progress,
            )
            weighed.append(a * weights[:, None, None])
        return np.stack(weighed)

    return weigh


def _masked_scores(run: Runner, others: Arrays, name: str, masked: NDArray[Any]) -> NDArray[np.float32]:
    """Return the scores of ``masked`` inputs, every other input the image's own."""
    count = len(masked)
    beside = {n: v.repeat(count, 0) if n in run.batched else v for n, v in others.items()}
    return np.asarray(run({**beside, name: masked})["scores"])


MASKED_CAMS = {
    "scorecam": Cam(
        "each channel weighed by the target's probability on the input under the channel's mask",
        "Wang et al., 2020, arXiv:1910.01279",
        gradient=False,
        finish=score_cam,
    ),
}
