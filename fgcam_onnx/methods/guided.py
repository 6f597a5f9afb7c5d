"""Guided Grad-CAM: the guided gradient at the input where Grad-CAM at a layer is positive."""

from __future__ import annotations

import numpy as np

from ..cam.gradient import grad_cam
from ..graph.emitter import Emitter
from ..graph.value import Array
from ..lrp.table import guided_backprop
from ..program import Scored, append_features, append_gradients, append_map, append_relevance, require_reach
from ..saving.ends import widened
from .method import Method, Options, Outputs
from .sampling import only_input

NAME = "guidedgradcam"


def append(options: Options, emitter: Emitter, scored: Scored) -> Outputs:
    """Append ``sum_c gbp_c * U max(gradcam, 0)``, U linear to the input's size."""
    layer, at, logits = only_input(options, NAME), options.base_layer, options.score.logits
    require_reach([at])
    rules = guided_backprop()
    guided = append_relevance(
        emitter, [layer.name], output=logits, seed=scored.seed, pullback=rules, canonize=True, derivative=True
    )[layer.name]
    slope = append_gradients(emitter, [at.name], output=logits, seed=scored.seed, saturation=options.saturation)
    components = grad_cam(append_features(emitter, at), at.folded(slope[at.name]), at.spatial_axes)
    found: Array = append_map(emitter, at, components)
    coarse = np.maximum(found, 0)
    return {"map/0": append_map(emitter, layer, guided) * widened(coarse, layer.spatial)}


GUIDED = {
    NAME: Method(
        "guidedbackprop at the input, times what gradcam has positive at a layer",
        "Selvaraju et al., 2017, arXiv:1610.02391",
        append,
        takes=frozenset({"base_layer", "saturation"}),
    ),
}
