"""Methods that hand relevance back from the logits."""

from __future__ import annotations

from ..cam.gradient import grad_cam
from ..graph.emitter import Emitter
from ..lrp.composites import relevance_cam
from ..lrp.starts import START
from ..lrp.trace import Step, trace_outputs
from ..program import Scored, append_features, append_map, append_relevance, require_reach
from .method import Method, Options, Outputs


def append_relevance_cam(options: Options, emitter: Emitter, scored: Scored) -> Outputs:
    """Append Relevance-CAM at every layer: a channel's weight is its mean relevance over space."""
    require_reach(options.layers)
    steps: list[Step] = []
    relevance = append_relevance(
        emitter,
        [layer.name for layer in options.layers],
        output=options.score.logits,
        seed=scored.spread(START[options.start](scored)),
        pullback=relevance_cam(options.residual, products=options.products),
        steps=steps if options.trace else None,
    )
    maps = trace_outputs(steps)
    for i, layer in enumerate(options.layers):
        r = layer.folded(relevance[layer.name])
        maps[f"map/{i}"] = append_map(emitter, layer, grad_cam(append_features(emitter, layer), r, layer.spatial_axes))
    return maps


RELEVANCE = {
    "relevancecam": Method(
        "each channel weighed by its mean relevance, contrastive against the other classes",
        "Lee et al., CVPR 2021, doi:10.1109/CVPR46437.2021.01470",
        append_relevance_cam,
        at="base",
        start="contrastive",
        residual="signed",
        traces=True,
        takes=frozenset({"products", "residual", "start"}),
    ),
}
