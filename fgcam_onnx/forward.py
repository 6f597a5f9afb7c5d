"""The plain forward pass: what the model gives, for targets that depend on it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .graph.emitter import Emitter
from .graph.facts import facts_of
from .graph.model import Model
from .graph.shapes import Dim
from .methods import Options
from .methods.method import Feeds, runner
from .program import append_scores
from .runtime import check_finite
from .targets import Predicted

Forward = Callable[[Feeds], Predicted]
OTHER = "other/"


def spatial_axes(model: Model, name: str) -> tuple[int, ...]:
    """Return the axes of input ``name`` beside the batch and the channels."""
    spec, channels = next(i for i in model.inputs if i.name == name), facts_of(model).channel_axis.get(name, 1)
    return tuple(a for a in range(1, len(spec.shape)) if a != channels)


def picture_sides(model: Model, name: str) -> tuple[int, int] | None:
    """Return the axes of height and width of input ``name``, or None where it is no picture."""
    axes = spatial_axes(model, name)
    return (axes[0], axes[1]) if len(axes) == 2 else None


def forward(options: Options, *, others: bool = False) -> Forward:
    """Return what runs the model of ``options`` plainly; with ``others``, its other outputs are kept, too."""
    model, name = options.model, options.score.logits
    emitter, flow = Emitter(model), options.flow
    batch = flow.answers
    emitter.scope = "score"
    emitter.output("logits", append_scores(emitter, name, source=options.input))

    def of_batch(first: Dim) -> bool:
        return first == batch or not (isinstance(first, int) or isinstance(batch, int))

    if others:
        for spec in model.outputs:
            if (
                spec.name != options.score.output
                and spec.dtype.kind in "fiu"
                and spec.shape
                and of_batch(spec.shape[0])
            ):
                emitter.output(f"{OTHER}{spec.name}", emitter.value(spec.name))
    whole = math.prod(d for d in flow.answer_shape if isinstance(d, int)) == flow.classes
    shape = tuple(d for d in flow.answer_shape if isinstance(d, int)) if whole else (-1,)
    axis = facts_of(model).channel_axis.get(name) if not flow.axis else None
    sides = picture_sides(model, options.input)
    run = runner(options, emitter.build())

    def predict(feeds: Feeds) -> Predicted:
        found = run(feeds)
        logits = found["logits"].astype(np.float32, copy=False)
        check_finite({"logits": logits}, "the model")
        seen = feeds[options.input].shape
        return Predicted(
            logits.reshape(len(logits), *shape),
            {n.removeprefix(OTHER): a for n, a in found.items() if n.startswith(OTHER)},
            (seen[sides[0]], seen[sides[1]]) if sides else (0, 0),
            axis,
            options.head,
        )

    return predict
