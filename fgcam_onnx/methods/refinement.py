"""FG-CAM: a CAM's components, handed layer by layer towards the input."""

from __future__ import annotations

import numpy as np

from ..errors import OptionError
from ..fgcam import append_denoised, append_refinement, denoise, refinement
from ..graph.emitter import Emitter
from ..lrp.composites import fg_cam
from ..program import COMPONENTS, Scored
from .cams import Cam, append_finished, find_components
from .method import Arrays, Feeds, Method, Options, Outputs, Run, one_graph, runner


def fg_cam_method(bases: dict[str, Cam]) -> Method:
    """Return FG-CAM over any of ``bases``: one program where the components are a formula's, else two."""

    def append(options: Options, emitter: Emitter, scored: Scored) -> Outputs:
        base, cam = options.base_layer, bases[options.base]
        (components,) = append_finished(options, emitter, scored, cam, [base])
        if options.denoise:
            emitter.scope = "denoise"
            components = append_denoised(components, base)
        composite = fg_cam(options.residual, products=options.products)
        return append_refinement(
            emitter, components, base=base, layers=options.layers, composite=composite, trace=options.trace
        )

    def build(options: Options) -> Run:
        cam, base = bases[options.base], options.base_layer
        if not cam.channels:
            raise OptionError(f"{options.base} gives a map, not components for each channel: fgcam cannot refine it")
        if cam.finish is None and not options.denoise and not options.eigen_smooth:
            return one_graph(options, append)
        first = find_components(options, cam, [base])
        composite = fg_cam(options.residual, products=options.products)
        program = refinement(options.model, base=base, layers=options.layers, composite=composite, trace=options.trace)
        second = runner(options, program)

        def run(feeds: Feeds) -> Arrays:
            found = first(feeds)
            components = found.pop(f"{COMPONENTS}/0")
            if options.denoise:
                axis = base.channel_axis
                components = np.moveaxis(denoise(np.moveaxis(components, axis, 1)), 1, axis)
            return found | second({**feeds, COMPONENTS: np.ascontiguousarray(components)})

        return run

    return Method(
        "a CAM's components refined layer by layer to the input's resolution",
        "Qiu, Jin & Zhang, AAAI 2024, arXiv:2303.09171",
        append,
        build,
        traces=True,
        takes=frozenset({"base", "base_layer", "denoise", "products", "residual"}),
    )
