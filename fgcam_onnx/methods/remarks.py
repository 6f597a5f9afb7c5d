"""What a person should know of a method at a layer: before waiting for its map, and before believing it."""

from __future__ import annotations

import math

from ..layers.layers import Layer, ranked_layers
from . import find_method
from .method import Options

AT_CHANCE = ("gradcam", "gradcam++", "xgradcam")
"""CAMs that weigh a channel by one number of its gradients: before the last stage it says next to nothing."""


MANY = 1000
"""Places of a layer from which on it is said what running the model for each of them costs."""


def _costs(options: Options) -> tuple[str, ...]:
    """Return what Recipro-CAM takes at layers of many places, a sentence each."""
    ranked = ranked_layers(options.model, logits=options.score.logits, source=options.input)
    found = []
    for layer in options.layers:
        places = math.prod(layer.spatial)
        fewer = min((x for x in ranked if x.reach == "all" and not x.answer), key=_places, default=layer)
        if places >= MANY:
            other = f"; {fewer.name!r} has {_places(fewer)} places" if _places(fewer) < places else ""
            size = " x ".join(map(str, layer.spatial))
            found.append(
                f"reciprocam at {layer.name!r} runs what lies behind it {places} times for each picture, once for each "
                f"of its {size} places, {options.batch} at a time{other}"
            )
    return tuple(found)


def _places(layer: Layer) -> int:
    return math.prod(layer.spatial)


def remarks_of(method: str, options: Options) -> tuple[str, ...]:
    """Return what is known to be wrong with ``method`` at the layers of ``options``, or costly, a sentence each."""
    if method == "reciprocam":
        return _costs(options)
    refines = find_method(method).base is not None
    cam = options.base if refines else method
    if cam not in AT_CHANCE:
        return ()
    ranked = ranked_layers(options.model, logits=options.score.logits, source=options.input)
    deepest = ranked[0] if ranked else options.base_layer
    early = [
        layer
        for layer in ((options.base_layer,) if refines else options.layers)
        if deepest.grid is None and layer.grid is None and math.prod(layer.spatial) > math.prod(deepest.spatial)
    ]
    return tuple(
        f"{cam} at {layer.name!r} ({' x '.join(map(str, layer.spatial))}) comes before the last stage, where its "
        "maps lie on the object hardly more than chance has it; fgcam and layercam do better at such a layer "
        "(docs/methods.md, At an early layer)"
        for layer in early
    )
