"""FG-CAM: components at a base layer, denoised if wanted, refined layer by layer towards the input.

Qiu, Jin & Zhang, AAAI 2024, arXiv:2303.09171.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .graph.emitter import Emitter
from .graph.model import Model
from .graph.value import Value
from .guiding import guided, lie_alike, smoothed
from .layers.layers import Layer
from .lrp.composites import Composite
from .lrp.trace import Step, trace_outputs
from .program import COMPONENTS, append_map, append_relevance, append_total
from .subspace import leading_part

DENOISE_SHARE = 0.1


@dataclass(frozen=True)
class Rules:
    """How components are handed towards the input.

    Attributes
    ----------
    composite : Composite
        Which rule goes with which operator.
    canonize : bool
        Let the rules see normalizations and biases as part of the linear operators that they follow.
    cells : bool
        Let what strided windows hand back be shared in the cells of their strides.
    lowpass : float
        Standard deviation of the Gaussian that smooths each map, in steps of the base layer; 0 for none.
    guided : bool
        Multiply each map by its base's.
    """

    composite: Composite
    canonize: bool = False
    cells: bool = False
    lowpass: float = 0.0
    guided: bool = False


def denoise(components: NDArray[np.float32], share: float = DENOISE_SHARE) -> NDArray[np.float32]:
    """Keep the leading singular directions of each image's components, centred per channel.

    The mean is not added back, so the result sums to about 0. The published code keeps no direction, and
    so returns zeros, where ``int(share * min(C, positions))`` is 0; here at least one is kept.

    Parameters
    ----------
    components : ndarray of shape (N, C, ...)
    share : float in (0, 1]
        Share of the ``min(C, positions)`` directions to keep.

    Returns
    -------
    ndarray of that shape
    """
    flat = components.reshape(*components.shape[:2], -1).astype(np.float64)
    u, s, vt = np.linalg.svd(flat - flat.mean(axis=2, keepdims=True), full_matrices=False)
    rank = max(1, int(share * s.shape[1]))
    kept = (u[..., :rank] * s[:, None, :rank]) @ vt[:, :rank]
    return np.asarray(kept.reshape(components.shape), np.float32)


def append_denoised(components: Value, base: Layer, share: float = DENOISE_SHARE) -> Value:
    """Append `denoise` of ``components``, axes as ``base`` has them, by subspace iteration (`leading_part`)."""
    rank = max(1, int(share * min(base.channels, math.prod(base.spatial))))
    return by_channels(lambda x: leading_part(x - x.mean(axis=2, keepdims=True), rank), components, base)


def by_channels(formula: Callable[[Value], Value], components: Value, layer: Layer) -> Value:
    """Append ``formula`` of components as (N, C, positions), and lay out what it returns as they were."""
    order = (0, layer.channel_axis, *layer.spatial_axes)
    flat = components.transpose(order).reshape((-1, layer.channels, math.prod(layer.spatial)))
    found = formula(flat).reshape((-1, layer.channels, *layer.spatial))
    return found.transpose(tuple(order.index(i) for i in range(len(order))))


def append_refinement(
    emitter: Emitter,
    components: Value,
    *,
    base: Layer,
    layers: tuple[Layer, ...],
    rules: Rules,
    source: str,
    trace: bool = False,
) -> dict[str, Value]:
    """Append the maps of ``layers`` and what sums they have; return ``map/i``, ``sum/i``, ``total``, ``magnitude``.

    ``components`` live at ``base``; each step hands a unit's component to its inputs in proportion to
    their contribution, by ``rules``. A map behind which the images of ``source`` lie otherwise, or on other axes, than
    at the base is neither smoothed nor guided.
    """
    emitter.scope = "refine"
    names = [x.name for x in layers]
    seed = base.unfolded(components, emitter.value(base.name))
    steps: list[Step] = []
    relevance = append_relevance(
        emitter,
        names,
        output=base.name,
        seed=seed,
        pullback=rules.composite,
        canonize=rules.canonize,
        cells=rules.cells,
        steps=steps if trace else None,
    )
    found = trace_outputs(steps) | {"total": append_total(components), "magnitude": append_total(abs(components))}
    for i, layer in enumerate(layers):
        folded = layer.folded(relevance[layer.name])
        shown = append_map(emitter, layer, folded)
        if layer.name != base.name and lie_alike(emitter.model, layer, base, source=source):
            if rules.lowpass:
                shown = smoothed(shown, layer, base=base, lowpass=rules.lowpass)
            if rules.guided:
                shown = guided(shown, layer, cam=append_map(emitter, base, components).astype(shown.dtype))
        found[f"map/{i}"] = shown
        found[f"sum/{i}"] = append_total(folded)
    return found


def refinement(
    model: Model, *, base: Layer, layers: tuple[Layer, ...], rules: Rules, source: str, trace: bool = False
) -> Model:
    """Return the program that refines components given as input ``fgcam/components``, folded as at ``base``."""
    emitter = Emitter(model)
    components = emitter.input(COMPONENTS, np.float32, base.folded_shape)
    found = append_refinement(emitter, components, base=base, layers=layers, rules=rules, source=source, trace=trace)
    for name, value in found.items():
        emitter.output(name, value)
    return emitter.build()
