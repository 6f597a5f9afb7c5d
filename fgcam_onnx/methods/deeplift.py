"""DeepLIFT by the rescale rule: what differs from a baseline, handed back in proportion to what it makes differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import vjp
from ..backward import Pullback, backward
from ..graph.emitter import Emitter
from ..graph.forms import in_forms
from ..graph.tape import Record, tape_between
from ..graph.value import Value
from ..lrp.composites import ACTIVATIONS, bilinear, bounds, op
from ..lrp.rules import Given, first
from ..program import Scored, append_total
from ..quantized import on_real_values
from ..surgery.replay import replayed_on
from .baselines import baseline_of
from .method import Method, Options, Outputs
from .sampling import only_input

NAME = "deeplift"
TINY = 1e-10
"""A difference below which the gradient takes the place of the quotient, as captum has it."""

Reference = Mapping[str, Value]
"""What the tensors of a model are on the baseline, by name."""


def rescale(record: Record, given: Given, there: Reference) -> list[Value | None]:
    """Return ``g (y - y') / (x - x')`` for the input that varies; the gradient where nothing differs."""
    (i,) = record.varying
    x: Any = record.inputs[i]
    y: Any = record.output
    g: Any = first(given)
    dx, dy = x - there[x.name], y - there[y.name]
    same = abs(dx) < TINY
    slope: Any = vjp.pullback(record, given)[i]
    found: Any = np.where(same, slope, g * dy / np.where(same, 1, dx))
    return [found if k == i else None for k in range(len(record.inputs))]


def midpoint(record: Record, given: Given, there: Reference) -> list[Value | None]:
    """Return the gradient at the mean of both inputs: of a product, exactly what differs."""
    halfway = [None if v is None else (v + there[v.name]) * 0.5 if v.name in there else v for v in record.inputs]
    return vjp.pullback(record.replay(halfway), given)


def to_maxima(record: Record, given: Given, there: Reference) -> list[Value | None]:
    """Return what each maximum gives to the place it has on the image, and on the baseline.

    ``y - y' = (y - max(y, y')) + (max(y, y') - y')``: the first is handed to the maximum's place on the baseline,
    the second to that on the image.
    """
    x: Any = record.inputs[0]
    y: Any = record.output
    g: Any = first(given)
    x0: Any = there[x.name]
    y0: Any = there[y.name]
    top: Any = np.maximum(y, y0)
    replayed = record.replay([x0, *record.inputs[1:]])
    to_image: Any = vjp.pullback(record, (g * (top - y0),))[0]
    to_baseline: Any = vjp.pullback(replayed, (g * (y - top),))[0]
    dx = x - x0
    same = abs(dx) < TINY
    slope: Any = vjp.pullback(record, given)[0]
    found: Any = np.where(same, slope, (to_image + to_baseline) / np.where(same, 1, dx))
    return [found, *[None] * (len(record.inputs) - 1)]


SINGLE = tuple(name for name in ACTIVATIONS if name not in ("LogSoftmax", "Softmax"))

CASES = (
    (op("GlobalMaxPool", "MaxPool"), to_maxima),
    (lambda record: len(record.varying) > 1 and bilinear(record) and record.op != "Div", midpoint),
    (lambda record: len(record.varying) == 1 and (op(*SINGLE)(record) or bounds(record)), rescale),
)
"""Which operators have a rule of their own; all others hand on the gradient, which of linear ones is what differs."""


def multipliers(there: Reference) -> Pullback:
    """Return the pullback of DeepLIFT's multipliers, ``there`` being the model on the baseline."""

    def pullback(record: Record, given: Given) -> list[Value | None]:
        rule = next((rule for accepts, rule in CASES if accepts(record)), None)
        known = all(record.inputs[i].name in there for i in record.varying)  # type: ignore[union-attr]
        if rule is None or not known or record.output.name not in there:
            return vjp.pullback(record, given)
        return rule(record, given, there)

    return pullback


def append(options: Options, emitter: Emitter, scored: Scored) -> Outputs:
    """Append DeepLIFT: ``(x - b)`` times the multipliers that the walk from the score to the input finds.

    Raises
    ------
    UnsupportedOperatorError
        The model cannot be written out a second time, on the baseline: it holds integers or conditionals.
    """
    layer, logits = only_input(options, NAME), options.score.logits
    x = emitter.value(options.input)
    wide = x.astype(np.float32)
    begin = wide * 0 + baseline_of(wide, layer, options.settings["baseline"])
    tape = tape_between(emitter, sources=[x.name], output=logits)
    copies = replayed_on(emitter, emitter.typed_as(x, begin.astype(x.dtype)), source=x.name, output=logits)
    there = {x.name: emitter.value(next(iter(copies.sources)))} | {
        own.name: copy
        for record, again in zip(tape, copies, strict=True)
        for own, copy in zip(record.outputs, again.outputs, strict=True)
        if own is not None and copy is not None
    }
    walk = on_real_values(multipliers(there), units=True)
    seed = scored.seed if scored.seed.dtype.itemsize > 2 else scored.seed.astype(np.float32)
    found = backward(in_forms(tape), seed, walk)[x.name]
    components = emitter.typed_as(x, found * (wide - begin).astype(found.dtype))
    start = append_total(scored.seed * there[logits])
    return {
        "map/0": components.sum(layer.channel_axis),
        "sum/0": append_total(components),
        "total": scored.score - start,
        "magnitude": abs(scored.score) + abs(start),
    }


DEEP_LIFT = {
    NAME: Method(
        "the difference from a baseline, handed back in proportion to what it makes differ",
        "Shrikumar, Greenside & Kundaje, 2017, arXiv:1704.02685",
        append,
        settings={"baseline": 0.0},
    ),
}
