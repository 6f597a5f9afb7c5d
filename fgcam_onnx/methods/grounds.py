"""Where a refinement starts from: a CAM and the layer it is taken at, by the kind of net."""

from __future__ import annotations

from dataclasses import dataclass

from ..defaults import BASE
from ..errors import LayerError
from ..graph.facts import facts_of
from ..graph.model import Model
from ..layers.layers import INPUT, Layer, default_base, find_layer, ranked_layers
from ..layers.layout import Size
from . import find_method


@dataclass(frozen=True)
class Ground:
    """What a refinement starts from.

    Attributes
    ----------
    base : str
        The CAM whose components are refined; empty where relevance is handed from the score instead.
    layer : Layer
        Where they are taken.
    why : str
        The reason, for people.
    """

    base: str
    layer: Layer
    why: str


def deepest(model: Model, *, base: str, logits: str, source: str | None = None, grid: Size | None = None) -> Ground:
    """Return ``base`` at the deepest layer with spatial extent."""
    return Ground(base, default_base(model, logits=logits, source=source, grid=grid), "the deepest layer")


def by_kind(model: Model, *, base: str, logits: str, source: str | None = None, grid: Size | None = None) -> Ground:
    """Return the CAM and the layer that suit the kind of net; ``base``, where one is named, in place of the CAM.

    Of a transformer none: attention mixes the tokens, and its own rules from the score say more than any CAM of its
    last tokens does. Of any other net `gradcam` at the deepest layer of that size that is never negative: behind a
    ReLU, what is there speaks for something, where a linear bottleneck has both signs.
    """
    layer = default_base(model, logits=logits, source=source, grid=grid)
    if layer.grid is not None:
        return Ground(base, layer, "as asked" if base else "AttnLRP from the score, as suits a transformer")
    rectified = facts_of(model).non_negative
    alike = [
        x
        for x in ranked_layers(model, logits=logits, source=source, grid=grid)
        if x.name in rectified
        and x.spatial == layer.spatial
        and x.every_path == layer.every_path
        and x.shared == layer.shared
        and not x.answer
        and x.grid is None
    ]
    if alike:
        return Ground(base or BASE, alike[0], "the deepest layer that is never negative")
    return Ground(base or BASE, layer, "the deepest layer; none of its size is known never to be negative")


def ground_of(
    model: Model,
    *,
    method: str,
    base: str,
    layer: str | None,
    logits: str,
    source: str | None = None,
    grid: Size | None = None,
) -> Ground:
    """Return the ground: ``base`` at the layer named, else as the kind of net has it, else at the deepest.

    Where no layer has spatial extent, methods that have their map at the input, and refine no base that is named, get
    the input.

    Raises
    ------
    LayerError
        No such layer, or none with spatial extent.
    """
    row = find_method(method)
    if layer is not None:
        found = find_layer(model, layer, logits=logits, source=source, grid=grid)
        return Ground(base or (BASE if found.grid is None else "layercam"), found, "as asked")
    try:
        return (by_kind if row.base == "" else deepest)(model, base=base, logits=logits, source=source, grid=grid)
    except LayerError:
        if row.at != "input" or ("base_layer" in row.takes and (base or row.base)):
            raise
        found = find_layer(model, INPUT, logits=logits, source=source, grid=grid)
        return Ground(base, found, "no layer has spatial extent")
