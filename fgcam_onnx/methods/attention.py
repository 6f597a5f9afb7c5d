"""Methods that read a transformer's attention."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import LayerError, OptionError
from ..graph.emitter import Emitter
from ..graph.shapes import Dim
from ..graph.value import Array, Value
from ..layers.attention import attention_weights, tokens_of
from ..program import Scored, append_gradients
from .method import Method, Options, Outputs


def rolled(weights: list[Array], gradients: list[Array]) -> Array:
    """Return how much each token counts for each other, (N, T, T), from layers of (N, heads, T, T).

    ``R <- R + mean_h((gradient * weights)+) R`` from the identity on (Chefer et al., 2021, arXiv:2103.15679, eq. 5, 6).
    """
    total: Any = None
    for a, g in zip(weights, gradients, strict=True):
        positive: Any = np.maximum(g * a, 0)
        mean = positive.mean(axis=1)
        step = mean if total is None else np.matmul(mean, total) + mean  # total is R without the identity
        total = step if total is None else total + step
    return total


def append_chefer(options: Options, emitter: Emitter, scored: Scored) -> Outputs:
    """Append the relevance of every patch for the tokens that the score is read from."""
    if len(options.layers) > 1 or options.layers[0].op != "Input":
        raise OptionError("chefer gives one map, on the grid of patches: leave layers (--layer) out")
    logits = options.score.logits
    names = attention_weights(options.model, logits=logits)
    tokens = tokens_of(options.model, names[0], logits=logits, source=options.input, grid=options.base_layer.grid)
    found = append_gradients(emitter, names, output=logits, seed=scored.seed)
    values = [emitter.value(n) for n in names]
    weights = [_by_head(v, options, first=v.shape[0]) for v in values]
    # a gradient's free batch may have lost its name
    gradients = [_by_head(found[n], options, first=v.shape[0]) for n, v in zip(names, values, strict=True)]
    total: Value = rolled(list(weights), list(gradients))
    rows = emitter.emit("Gather", total, emitter.ints(tokens.read), axis=1).mean(axis=1)
    batch = options.flow.answers
    column = rows.reshape((batch if isinstance(batch, int) else None, tokens.count, 1))
    return {"map/0": tokens.grid.fold(column).sum(len(tokens.grid.size) + 1)}


def _by_head(v: Value, options: Options, *, first: Dim) -> Value:
    """Return (N, heads, T, T); of three axes the ``first`` is split."""
    if v.rank == 4:
        return v
    batch = options.flow.answers
    if not isinstance(batch, int) or not isinstance(first, int):
        if first == batch:
            return v.reshape((None, 1, *v.shape[1:]))
        raise LayerError(
            f"the heads of {v.name!r} are mixed with the batch, which is free: export the model with a fixed batch"
        )
    return v.reshape((batch, first // batch, *v.shape[1:]))


ATTENTION = {
    "chefer": Method(
        "attention weighed by its positive gradient and rolled out over the layers",
        "Chefer et al., 2021, arXiv:2103.15679",
        append_chefer,
    ),
}
