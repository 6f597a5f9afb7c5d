"""RefineCAM: the maps of a layer and of the stages behind it, multiplied."""

from __future__ import annotations

from typing import Any

from ..cam.fusion import fuse
from ..cam.gradient import grad_cam_plus_plus
from ..graph.emitter import Emitter
from ..layers.stages import stages_behind
from ..program import Scored, append_features, append_gradients, append_map, require_reach
from .method import Method, Options, Outputs


def append_refine_cam(options: Options, emitter: Emitter, scored: Scored) -> Outputs:
    """Append RefineCAM at every layer: its Grad-CAM++ map times those of the stages behind, at its size."""
    require_reach(options.layers)
    logits = options.score.logits
    where: dict[str, Any] = {"logits": logits, "base": options.base_layer, "source": options.input}
    groups = [stages_behind(options.model, x, **where) for x in options.layers]
    every = {x.name: x for group in groups for x in group}
    gradients = append_gradients(emitter, every, output=logits, seed=scored.seed, saturation=options.saturation)
    maps = {}
    for name, layer in every.items():
        a, g = append_features(emitter, layer), layer.folded(gradients[name])
        maps[name] = append_map(emitter, layer, grad_cam_plus_plus(a, g, layer.spatial_axes))
    found = {}
    for i, group in enumerate(groups):
        found[f"map/{i}"] = fuse([maps[x.name] for x in group], "product", size=group[0].spatial)
    return found


REFINED = {
    "refinecam": Method(
        "gradcam++ at a layer times gradcam++ at every stage behind it, each scaled to [0, 1]",
        "Domeniconi et al., 2026, arXiv:2605.14641",
        append_refine_cam,
        at="stage",
        takes=frozenset({"base_layer", "saturation"}),
    ),
}
