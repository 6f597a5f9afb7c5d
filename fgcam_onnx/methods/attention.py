"""Methods that read a transformer's attention."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import LayerError, OptionError, check_known
from ..graph.emitter import Emitter
from ..graph.shapes import Dim
from ..graph.value import Array, Value
from ..layers.attention import Tokens, attention_weights, ends_of_blocks, tokens_of
from ..program import Scored, append_gradients
from ..surgery.replay import replayed_on
from .method import Method, Options, Outputs
from .sampling import at_least
from .walks import gradients_along

POOLS = ("mean", "own")


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
    names, tokens = _attended(options, "chefer")
    logits = options.score.logits
    found = append_gradients(emitter, names, output=logits, seed=scored.seed)
    values = [emitter.value(n) for n in names]
    weights = [_by_head(v, options, first=v.shape[0]) for v in values]
    # a gradient's free batch may have lost its name
    gradients = [_by_head(found[n], options, first=v.shape[0]) for n, v in zip(names, values, strict=True)]
    total: Value = rolled(list(weights), list(gradients))
    rows = emitter.emit("Gather", total, emitter.ints(tokens.read), axis=1).mean(axis=1)
    return {"map/0": _on_grid(options, tokens, rows)}


def append_legrad(options: Options, emitter: Emitter, scored: Scored) -> Outputs:
    """Append ``mean over blocks, heads and queries of max(ds/dA, 0)``, s what the head makes of a block's tokens.

    The head is all that lies behind the last block. It reads the mean of the tokens, as the authors' code has it
    (``pool=mean``), or what it reads of them in the model (``pool=own``).
    """
    names, tokens = _attended(options, "legrad")
    logits, settings = options.score.logits, options.settings
    check_known("pool", settings["pool"], POOLS)
    at_least(0, blocks=settings["blocks"])
    ends = ends_of_blocks(options.model, names, logits=logits)
    chosen = [*zip(names, ends, strict=True)][-settings["blocks"] :]
    rows = []
    for name, end in chosen:
        x, a = emitter.value(end), emitter.value(name)
        axis = 1 if x.shape[1] == tokens.count else 0
        pooled = settings["pool"] == "mean"
        read = x * 0 + x.mean(axis, keepdims=True) if pooled else emitter.emit("Identity", x)
        tape = replayed_on(emitter, read, source=ends[-1], output=logits)
        g = gradients_along(tape, scored.seed)[read.name]
        seed = x * 0 + g.mean(axis, keepdims=True) if pooled else g
        slope = append_gradients(emitter, [name], output=end, seed=seed)[name]
        by_head: Any = _by_head(slope, options, first=a.shape[0])
        positive: Any = np.maximum(by_head, 0)
        rows.append(positive.mean((1, 2)))
    return {"map/0": _on_grid(options, tokens, sum(rows[1:], start=rows[0]) * (1 / len(rows)))}


def _attended(options: Options, method: str) -> tuple[list[str], Tokens]:
    """Return the attention weights of all blocks, and the tokens they are over."""
    if len(options.layers) > 1 or options.layers[0].op != "Input":
        raise OptionError(f"{method} gives one map, on the grid of patches: leave layers (--layer) out")
    logits = options.score.logits
    names = attention_weights(options.model, logits=logits)
    grid = options.base_layer.grid
    return names, tokens_of(options.model, names[0], logits=logits, source=options.input, grid=grid)


def _on_grid(options: Options, tokens: Tokens, rows: Value) -> Value:
    """Return numbers of all tokens (N, T) as a map of those that are patches."""
    batch = options.flow.answers
    column = rows.reshape((batch if isinstance(batch, int) else None, tokens.count, 1))
    found: Value = tokens.grid.fold(column).sum(len(tokens.grid.size) + 1)
    return found


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
    "legrad": Method(
        "the positive gradient of each block's own score by its attention, averaged over the blocks",
        "Bousselham et al., 2024, arXiv:2404.03214",
        append_legrad,
        settings={"blocks": 0, "pool": "mean"},
    ),
}
