"""FG-CAM: a CAM's components, handed layer by layer towards the input."""

from __future__ import annotations

import numpy as np

from ..errors import OptionError
from ..fgcam import Rules, append_denoised, append_refinement, denoise, refinement
from ..graph.emitter import Emitter
from ..lrp.composites import fg_cam
from ..program import COMPONENTS, Scored
from .cams import Cam, append_finished, find_components
from .method import Arrays, Feeds, Method, Options, Outputs, Run, one_graph, runner


def refining_methods(bases: dict[str, Cam]) -> dict[str, Method]:
    """Return the methods that refine any of ``bases``: one program where the components are a formula's, else two."""

    def append(options: Options, emitter: Emitter, scored: Scored) -> Outputs:
        base, cam = options.base_layer, bases[options.base]
        (components,) = append_finished(options, emitter, scored, cam, [base])
        if options.denoise:
            emitter.scope = "denoise"
            components = append_denoised(components, base)
        return append_refinement(
            emitter, components, base=base, layers=options.layers, rules=_rules(options), trace=options.trace
        )

    def build(options: Options) -> Run:
        cam, base = bases[options.base], options.base_layer
        if not cam.channels:
            raise OptionError(f"{options.base} gives a map, not components for each channel: nothing can be refined")
        if cam.finish is None and not options.denoise and not options.eigen_smooth:
            return one_graph(options, append)
        first = find_components(options, cam, [base])
        program = refinement(
            options.model, base=base, layers=options.layers, rules=_rules(options), trace=options.trace
        )
        second = runner(options, program)

        def run(feeds: Feeds) -> Arrays:
            found = first(feeds)
            components = found.pop(f"{COMPONENTS}/0")
            if options.denoise:
                axis = base.channel_axis
                components = np.moveaxis(denoise(np.moveaxis(components, axis, 1)), 1, axis)
            return found | second({**feeds, COMPONENTS: np.ascontiguousarray(components)})

        return run

    return {
        "auto": Method(
            "fgcam with biases in the denominators, shared in stride cells, from the CAM and layer that suit the net",
            "this package, after Qiu, Jin & Zhang, AAAI 2024, arXiv:2303.09171; docs/auto.md",
            append,
            build,
            settings={"bias": True, "cells": True},
            base="",
            traces=True,
        ),
        "fgcam": Method(
            "a CAM's components refined layer by layer to the input's resolution",
            "Qiu, Jin & Zhang, AAAI 2024, arXiv:2303.09171",
            append,
            build,
            settings={"bias": False, "cells": False},
            base="gradcam",
            traces=True,
        ),
    }


def _rules(options: Options) -> Rules:
    """Return the rules of a refinement; where biases count, those of normalizations and sums do, too."""
    bias = options.settings["bias"]
    composite = fg_cam(options.residual, products=options.products, bias=bias)
    return Rules(composite, canonize=bias, cells=options.settings["cells"])
