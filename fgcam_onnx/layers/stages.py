"""Stages: the last layer of each size on the way from a layer to the base layer."""

from __future__ import annotations

from ..graph.model import Model
from .layers import Layer, candidate_layers

DEPTH = 4
"""How many stages a method of several stages takes when no layer is named."""


def stages(model: Model, *, logits: str, base: Layer, source: str | None = None) -> list[Layer]:
    """Return the last layer of each size that all of the score passes through, up to ``base``, first to last."""
    last: dict[tuple[int, ...], Layer] = {}
    for layer in candidate_layers(model, logits=logits, source=source):
        if layer.op != "Input" and (layer.every_path or layer.name == base.name):
            last.pop(layer.spatial, None)
            last[layer.spatial] = layer
        if layer.name == base.name:
            break
    return list(last.values())


def first_stage(model: Model, *, logits: str, base: Layer, source: str | None = None) -> Layer:
    """Return the stage that has three behind it, or the first where there are fewer."""
    return stages(model, logits=logits, base=base, source=source)[-DEPTH:][0]


def stages_behind(model: Model, layer: Layer, *, logits: str, base: Layer, source: str | None = None) -> list[Layer]:
    """Return ``layer`` and every stage behind it of another size, first to last."""
    order = {x.name: i for i, x in enumerate(candidate_layers(model, logits=logits, source=source))}
    behind = [x for x in stages(model, logits=logits, base=base, source=source) if order[x.name] > order[layer.name]]
    return [layer, *(x for x in behind if x.spatial != layer.spatial)]
