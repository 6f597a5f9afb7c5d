"""The gradient itself as a map, at the input or any layer."""

from __future__ import annotations

from collections.abc import Callable

from ..graph.emitter import Emitter
from ..graph.value import Value
from ..layers.layers import Layer
from ..program import Scored, append_features, append_gradients, append_map, require_reach
from .method import CELLS, Append, Method, Options, Outputs


def gradient_map(formula: Callable[[Emitter, Layer, Value], Value]) -> Append:
    """Return what appends ``formula`` of the gradient at each layer."""

    def append(options: Options, emitter: Emitter, scored: Scored) -> Outputs:
        require_reach(options.layers)
        names = [layer.name for layer in options.layers]
        found = append_gradients(
            emitter,
            names,
            output=options.score.logits,
            seed=scored.seed,
            saturation=options.saturation,
            cells=options.settings["cells"],
        )
        return {
            f"map/{i}": formula(emitter, layer, layer.folded(found[layer.name]))
            for i, layer in enumerate(options.layers)
        }

    return append


def saliency(emitter: Emitter, layer: Layer, g: Value) -> Value:
    """Take the largest magnitude of any channel."""
    return abs(g).max(layer.channel_axis)


def input_x_gradient(emitter: Emitter, layer: Layer, g: Value) -> Value:
    """Sum values times gradient over the channels."""
    return append_map(emitter, layer, append_features(emitter, layer) * g)


GRADIENTS = {
    "saliency": Method(
        "the gradient's magnitude, the largest of any channel",
        "Simonyan, Vedaldi & Zisserman, 2013, arXiv:1312.6034",
        gradient_map(saliency),
        settings=CELLS,
        takes=frozenset({"saturation"}),
    ),
    "inputxgradient": Method(
        "values times their gradient, summed over the channels",
        "Shrikumar et al., 2016, arXiv:1605.01713",
        gradient_map(input_x_gradient),
        settings=CELLS,
        takes=frozenset({"saturation"}),
    ),
}
