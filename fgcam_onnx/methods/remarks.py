"""What a person should know of a method at a layer before believing its map."""

from __future__ import annotations

import math

from ..layers.layers import ranked_layers
from . import find_method
from .method import Options

AT_CHANCE = ("gradcam", "gradcam++", "xgradcam")
"""CAMs that weigh a channel by one number of its gradients: before the last stage it says next to nothing."""


def remarks_of(method: str, options: Options) -> tuple[str, ...]:
    """Return what is known to be wrong with ``method`` at the layers of ``options``, a sentence each."""
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
