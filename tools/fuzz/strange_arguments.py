"""Arguments of any kind for the functions that people call: drawn by hypothesis, which also shrinks what it finds."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nets
import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from outcomes import Draw, Outcome, Rng

from fgcam_onnx import Explainer, export, load
from fgcam_onnx.errors import FgcamError
from fgcam_onnx.methods import METHODS

EXAMPLES = 8
"""Of one case."""

NUMBERS = st.one_of(st.integers(-3, 300), st.floats(allow_nan=True, allow_infinity=True), st.booleans(), st.integers())
TEXTS = st.one_of(
    st.sampled_from(
        ["", "input", "auto", "gradcam", "none", "minmax", "exact", "cpu", "cuda", "imagenet", "6x6", "nan", "argmax"]
    ),
    st.text(max_size=12),
)
PLAIN = st.one_of(st.none(), NUMBERS, TEXTS, st.binary(max_size=4))
ANY = st.one_of(
    PLAIN,
    st.lists(PLAIN, max_size=4),
    st.tuples(NUMBERS, NUMBERS),
    st.dictionaries(TEXTS, PLAIN, max_size=2),
    st.builds(
        lambda shape, kind: np.zeros(shape, kind), st.lists(st.integers(0, 3), max_size=4), st.sampled_from("fdiqbUO")
    ),
)
"""What is no array of pictures."""

NAMES = (
    "layers", "base", "base_layer", "grid", "denoise", "eigen_smooth", "residual", "products", "start", "aug_smooth", "trace",
    "saturation", "int8", "threads", "batch", "input", "output", "before_softmax", "head", "samples", "epsilon", "cells", "steps",
)  # fmt: skip
"""Options of an Explainer, and some settings of methods."""

QUICK = tuple(m for m in METHODS if m not in ("auto", "shapleycam"))
WRITING = ("target", "preprocess", "size", "resize", "normalize", "batch", "fp16")


@functools.cache
def model() -> Any:
    return load(nets.small_cnn(size=(6, 6), width=2, classes=3))


@functools.cache
def explainer() -> Explainer:
    return Explainer(model(), method="gradcam")


def built(options: dict[str, Any], method: str) -> None:
    """Build an Explainer and run it."""
    e = Explainer(model(), method=method, **options)
    e(np.ones((1, 3, 6, 6), np.float32))


def called(x: Any, target: Any) -> None:
    """Explain anything."""
    explainer()(x, target=target)


def written(options: dict[str, Any], folder: Path) -> None:
    """Export with anything."""
    export(explainer(), folder / "explained.onnx", **options)


def tried(run: Callable[..., None], *drawn: st.SearchStrategy[Any]) -> Draw:
    """Return the class of calls of ``run`` with what is ``drawn``, several to a case."""

    def draw(rng: Rng, folder: Path) -> Outcome:
        given_folder = (folder,) if run is written else ()

        @seed(int(rng.integers(2**31)))
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(st.tuples(*drawn))
        def each(values: tuple[Any, ...]) -> None:
            try:
                run(*values, *given_folder)
            except FgcamError:
                refused.append(values)

        refused: list[Any] = []
        each()
        return Outcome("right" if len(refused) < EXAMPLES else "refused")

    return draw


PICTURES = st.builds(lambda n, kind: np.ones((n, 3, 6, 6), kind), st.integers(0, 3), st.sampled_from("fdib"))

ARGUMENTS: dict[str, Draw] = {
    "arguments of Explainer": tried(
        built, st.dictionaries(st.sampled_from(NAMES), ANY, max_size=2), st.sampled_from(QUICK)
    ),
    "arguments of a call": tried(called, st.one_of(PICTURES, ANY), ANY),
    "arguments of export": tried(written, st.dictionaries(st.sampled_from(WRITING), ANY, max_size=2)),
}
