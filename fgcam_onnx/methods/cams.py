"""Class activation maps: components at a layer, by a formula or by masked runs; their sum is the map."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cam.gradient import (
    Weighting,
    activations,
    class_weights,
    fem,
    grad_cam,
    grad_cam_element_wise,
    grad_cam_plus_plus,
    hires_cam,
    layer_cam,
    x_grad_cam,
)
from ..cam.projection import principal
from ..errors import OptionError
from ..graph.emitter import Emitter
from ..graph.value import Value
from ..layers.layers import Layer
from ..program import COMPONENTS, Scored, append_features, append_gradients, append_map, require_reach
from ..runtime import check_finite
from .curvature import shapley_slope
from .eigen import append_principal, kernel_component, principal_component, principal_inside
from .finer import finer_seed
from .heads import check_average_head
from .method import Arrays, Feeds, Method, Options, Outputs, Run, one_graph, runner, start
from .rerun import append_cut

Components = NDArray[np.float32]
Finish = Callable[[Options, Layer], Callable[[Feeds, Arrays, Components], Components]]
"""Built for a layer; takes inputs, what the first program found (``seed`` too) and components (N, C, h, w)."""
Inside = Callable[[Options, Scored, Layer, Value], Value]
"""Takes components, axes as the layer has them, and returns them finished in the graph."""


@dataclass(frozen=True)
class Cam:
    """Where a CAM's components come from.

    Attributes
    ----------
    formula : Weighting
        Components from activations and gradients.
    gradient : bool
        Whether the formula uses the gradients.
    seed : callable, optional
        The cotangent of the logits, where it is not the target's.
    finish : Finish, optional
        What is done to the components outside the graph: masked runs, singular vectors.
    inside : callable, optional
        The same in the graph, for a file.
    channels : bool
        Whether there are components for each channel; without, there is only a map and nothing to refine.
    cut : callable, optional
        The tensors at which the model is cut, where ``finish`` runs only what lies behind.
    settings : mapping
        Its own options and their defaults.
    slope : callable, optional
        What the formula gets in place of the gradient, of the layer's shape.
    fits : callable, optional
        Raises where the model or the layer is not one that this CAM is for.
    smooths : bool
        Whether ``eigen_smooth`` makes sense: not where the components are a principal component's.
    walks : bool
        Whether gradients are walked back elsewhere than for the formula.
    relative : bool
        Whether 0 means nothing in the map.
    """

    summary: str
    source: str
    formula: Weighting = activations
    gradient: bool = True
    seed: Callable[[Emitter, Scored], Value] | None = None
    finish: Finish | None = None
    inside: Inside | None = None
    channels: bool = True
    cut: Callable[[Options, Layer], Sequence[str]] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    slope: Callable[[Options, Emitter, Scored, Layer, Value], Value] | None = None
    fits: Callable[[Options, Layer], None] | None = None
    smooths: bool = True
    walks: bool = False
    relative: bool = False

    @property
    def takes(self) -> frozenset[str]:
        """The options that change something of it, as `Method.takes`."""
        walked = {"saturation"} if self.gradient or self.walks else set()
        return frozenset(walked | ({"eigen_smooth"} if self.smooths else set()))


def append_components(
    options: Options, emitter: Emitter, scored: Scored, cam: Cam, layers: Sequence[Layer]
) -> list[Value]:
    """Append the components of ``cam`` at each layer, before anything outside the graph is done to them."""
    if cam.fits is not None:
        for layer in layers:
            cam.fits(options, layer)
    if not cam.gradient:
        features = [append_features(emitter, layer) for layer in layers]
        return [cam.formula(a, None, layer.spatial_axes) for a, layer in zip(features, layers, strict=True)]
    require_reach(layers)
    seed = cam.seed(emitter, scored) if cam.seed is not None else scored.seed
    names = [layer.name for layer in layers]
    gradients = append_gradients(emitter, names, output=options.score.logits, seed=seed, saturation=options.saturation)
    if cam.slope is not None:
        gradients = {x.name: cam.slope(options, emitter, scored, x, gradients[x.name]) for x in layers}
    return [
        cam.formula(append_features(emitter, layer), layer.folded(gradients[layer.name]), layer.spatial_axes)
        for layer in layers
    ]


def append_finished(
    options: Options, emitter: Emitter, scored: Scored, cam: Cam, layers: Sequence[Layer]
) -> list[Value]:
    """Append the components of ``cam``, finished in the graph.

    Raises
    ------
    OptionError
        What is done to them is done outside of it.
    """
    if cam.finish is not None and cam.inside is None:
        raise OptionError(f"{options.base} is finished outside of the graph, so this is not one graph")
    found = append_components(options, emitter, scored, cam, layers)
    if (inside := cam.inside) is not None:
        found = [inside(options, scored, layer, c) for c, layer in zip(found, layers, strict=True)]
    if options.eigen_smooth:
        found = [append_principal(c, layer) for c, layer in zip(found, layers, strict=True)]
    return found


def find_components(options: Options, cam: Cam, layers: Sequence[Layer]) -> Run:
    """Return what runs ``cam`` up to its components: arrays ``fgcam/components/i``, axes as in layer i."""
    emitter, scored = start(options)
    emitter.output("seed", scored.weights)
    for i, value in enumerate(append_components(options, emitter, scored, cam, layers)):
        emitter.output(f"{COMPONENTS}/{i}", value)
    if (cut := cam.cut) is not None:
        for layer in layers:
            append_cut(emitter, options, cut(options, layer))
    run = runner(options, emitter.build())
    finishes = [f(options, layer) for layer in layers] if (f := cam.finish) is not None else []

    def components(feeds: Feeds) -> Arrays:
        found = run(feeds)
        for i, layer in enumerate(layers if finishes or options.eigen_smooth else ()):
            name, axis = f"{COMPONENTS}/{i}", layer.channel_axis
            finished = np.moveaxis(found[name], axis, 1)
            if finishes:
                finished = finishes[i](feeds, found, finished)
            if options.eigen_smooth:
                finished = principal(finished)
            found[name] = np.ascontiguousarray(np.moveaxis(finished, 1, axis))
        check_finite({n: a for n, a in found.items() if n.startswith(COMPONENTS)}, "the explanation")
        return found

    return components


def cam_method(cam: Cam) -> Method:
    """Return the method whose map is the sum of the components of ``cam`` over the channels."""

    def append(options: Options, emitter: Emitter, scored: Scored) -> Outputs:
        components = append_finished(options, emitter, scored, cam, options.layers)
        return {
            f"map/{i}": append_map(emitter, layer, c)
            for i, (layer, c) in enumerate(zip(options.layers, components, strict=True))
        }

    def build(options: Options) -> Run:
        if cam.finish is None and not options.eigen_smooth:
            return one_graph(options, append)
        components = find_components(options, cam, options.layers)

        def run(feeds: Feeds) -> Arrays:
            found = components(feeds)
            for i, layer in enumerate(options.layers):
                found[f"map/{i}"] = found.pop(f"{COMPONENTS}/{i}").sum(axis=layer.channel_axis)
            return found

        return run

    inside = cam.finish is None or cam.inside is not None
    return Method(
        cam.summary,
        cam.source,
        append if inside else None,
        build,
        at="base",
        settings=cam.settings,
        takes=cam.takes,
        relative=cam.relative,
    )


GRADIENT_CAMS = {
    "gradcam": Cam(
        "each channel weighed by its mean gradient",
        "Selvaraju et al., 2017, arXiv:1610.02391",
        grad_cam,
    ),
    "gradcam++": Cam(
        "each channel weighed by its positive gradients, those of few positions more",
        "Chattopadhay et al., 2018, arXiv:1710.11063",
        grad_cam_plus_plus,
    ),
    "hirescam": Cam(
        "each activation times its own gradient",
        "Draelos & Carin, 2020, arXiv:2011.08891",
        hires_cam,
    ),
    "gradcamelementwise": Cam(
        "each activation times its own gradient, the positive part of it",
        "Gildenblat, pytorch-grad-cam, 2021",
        grad_cam_element_wise,
    ),
    "xgradcam": Cam(
        "each channel weighed by its gradients, averaged in proportion to its activations",
        "Fu et al., 2020, arXiv:2008.02312",
        x_grad_cam,
    ),
    "layercam": Cam(
        "each activation times its own gradient where that is positive",
        "Jiang et al., 2021, doi:10.1109/TIP.2021.3089943",
        layer_cam,
    ),
    "shapleycam": Cam(
        "each channel weighed by its mean Shapley value: gradient less half the curvature along the activations",
        "Cai, 2025, arXiv:2501.06261",
        grad_cam,
        slope=shapley_slope,
    ),
    "finercam": Cam(
        "gradcam of the class against the three most like it",
        "Zhang et al., 2025, arXiv:2501.11309",
        grad_cam,
        seed=finer_seed,
    ),
    "cam": Cam(
        "each channel weighed by the class's weight in the linear layer behind the average over space",
        "Zhou et al., 2016, arXiv:1512.04150",
        class_weights,
        fits=check_average_head,
    ),
    "eigencam": Cam(
        "the activations projected on their first principal component, whatever the class",
        "Muhammad & Yeasin, 2020, arXiv:2008.00299",
        gradient=False,
        finish=principal_component,
        inside=principal_inside,
        smooths=False,
    ),
    "eigengradcam": Cam(
        "hirescam's components projected on their first principal component",
        "Gildenblat, pytorch-grad-cam, 2021",
        hires_cam,
        finish=principal_component,
        inside=principal_inside,
        smooths=False,
    ),
    "kpcacam": Cam(
        "the activations projected on the first component of a sigmoid kernel, whatever the class",
        "Karmani et al., 2024, arXiv:2410.00267",
        gradient=False,
        finish=kernel_component,
        channels=False,
        smooths=False,
    ),
    "fem": Cam(
        "each channel weighed by its share of positions two deviations above its mean, whatever the class",
        "Fuad et al., 2020, hal-02963298",
        fem,
        gradient=False,
    ),
}
