"""FG-CAM: a CAM's components, handed layer by layer towards the input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..defaults import BASE
from ..errors import OptionError
from ..fgcam import Rules, append_denoised, append_refinement, denoise, refinement
from ..graph.emitter import Emitter
from ..lrp.composites import fg_cam
from ..program import COMPONENTS, Scored
from .cams import Cam, append_finished, find_components
from .lrp import append_lrp
from .method import Append, Arrays, Feeds, Method, Options, Outputs, Run, one_graph, runner
from .sampling import at_least

GAMMA = 0.25
"""How much generalized gamma favours what agrees with the output, in a transformer (Achtibat et al., 2024)."""

TAKES = frozenset({"base", "base_layer", "denoise", "products", "residual"})
"""The options that a refinement takes besides those of its base."""

FINISH = frozenset({"guided", "lowpass"})
"""The settings of what is done to a map that was refined from a base."""


def refining_methods(bases: dict[str, Cam]) -> dict[str, Method]:
    """Return the methods that refine any of ``bases``."""
    append, build = refining(bases)
    return {
        "auto": Method(
            "fgcam with biases and stride cells, guided by its CAM at the layer that suits the net; attnlrp on tokens",
            "this package, after Qiu, Jin & Zhang, AAAI 2024, arXiv:2303.09171",
            suited(append),
            lambda options: build(options) if options.base else one_graph(options, suited(append)),
            settings={"bias": True, "cells": True, "lowpass": 0.125, "guided": True},
            base="",
            start="",
            residual="",
            products="",
            traces=True,
            takes=TAKES,
        ),
        "fgcam": Method(
            "a CAM's components refined layer by layer to the input's resolution",
            "Qiu, Jin & Zhang, AAAI 2024, arXiv:2303.09171",
            append,
            build,
            settings={"bias": False, "cells": False, "lowpass": 0.0, "guided": False},
            base=BASE,
            traces=True,
            takes=TAKES,
        ),
    }


def refining(bases: dict[str, Cam]) -> tuple[Append, Callable[[Options], Run]]:
    """Return what appends and what builds a refinement: one program where components are a formula's, else two."""

    def append(options: Options, emitter: Emitter, scored: Scored) -> Outputs:
        base, cam = options.base_layer, bases[options.base]
        (components,) = append_finished(options, emitter, scored, cam, [base])
        if options.denoise:
            emitter.scope = "denoise"
            components = append_denoised(components, base)
        return append_refinement(emitter, components, **_how(options))

    def build(options: Options) -> Run:
        cam, base = bases[options.base], options.base_layer
        if not cam.channels:
            raise OptionError(f"{options.base} gives a map, not components for each channel: nothing can be refined")
        if cam.finish is None and not options.denoise and not options.eigen_smooth:
            return one_graph(options, append)
        first = find_components(options, cam, [base])
        program = refinement(options.model, **_how(options))
        second = runner(options, program)

        def run(feeds: Feeds) -> Arrays:
            found = first(feeds)
            components = found.pop(f"{COMPONENTS}/0")
            if options.denoise:
                axis = base.channel_axis
                components = np.moveaxis(denoise(np.moveaxis(components, axis, 1)), 1, axis)
            return found | second({**feeds, COMPONENTS: np.ascontiguousarray(components)})

        return run

    return append, build


def suited(refine: Append) -> Append:
    """Return ``refine`` for nets with a base, else AttnLRP from the score: for transformers and perceptrons."""

    def append(options: Options, emitter: Emitter, scored: Scored) -> Outputs:
        if options.base:
            return refine(options, emitter, scored)
        if options.denoise or options.eigen_smooth or not options.saturation:
            raise OptionError(
                "auto refines no CAM here, so there is nothing to denoise or smooth and no gradient to let "
                "pass: name one with base="
            )
        own = {n: v for n, v in options.settings.items() if n not in FINISH}
        settings = {"composite": "attnlrp", "gamma": GAMMA, **own}
        return append_lrp(replace(options, settings=settings), emitter, scored)

    return append


def _how(options: Options) -> dict[str, Any]:
    """Return how components are refined; where biases count, those of normalizations and sums do, too."""
    settings = options.settings
    bias = settings["bias"]
    at_least(0, lowpass=settings["lowpass"])
    composite = fg_cam(options.residual or "positive", products=options.products or "value", bias=bias)
    rules = Rules(
        composite, canonize=bias, cells=settings["cells"], lowpass=settings["lowpass"], guided=settings["guided"]
    )
    return {
        "base": options.base_layer,
        "layers": options.layers,
        "rules": rules,
        "source": options.input,
        "trace": options.trace,
    }
