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

NUMBERS = st.one_of(st.integers(-3, 300), st.floats(allow_nan=True, allow_infinity=True), st.integers())
WORDS = (
    "",
    "input",
    "auto",
    "gradcam",
    "none",
    "minmax",
    "exact",
    "cpu",
    "imagenet",
    "6x6",
    "nan",
    "argmax",
    "signed",
    "split",
)
TEXTS = st.one_of(st.sampled_from(WORDS), st.text(max_size=12))
PLAIN = st.one_of(st.none(), NUMBERS, st.booleans(), TEXTS, st.binary(max_size=4))
ARRAYS = st.builds(
    lambda shape, kind: np.zeros(shape, kind), st.lists(st.integers(0, 3), max_size=4), st.sampled_from("fdiqbUO")
)
ANY = st.one_of(
    PLAIN,
    st.lists(PLAIN, max_size=4),
    st.tuples(NUMBERS, NUMBERS),
    st.dictionaries(TEXTS, PLAIN, max_size=2),
    ARRAYS,
)
"""Of any kind."""

WHOLE = st.one_of(st.integers(-3, 300), st.integers())
PAIR = st.tuples(WHOLE, WHOLE)
OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "layers": st.one_of(TEXTS, st.lists(TEXTS, max_size=3)),
    **dict.fromkeys(("base", "base_layer", "residual", "products", "start", "int8", "input", "output"), TEXTS),
    **dict.fromkeys(("denoise", "eigen_smooth", "aug_smooth", "trace", "saturation", "before_softmax"), st.booleans()),
    "grid": PAIR,
    "batch": WHOLE,
    **dict.fromkeys(("samples", "epsilon", "cells", "steps"), st.one_of(NUMBERS, TEXTS)),
}
"""Options of an Explainer and some settings of methods, of the kind that each is said to be."""

EXPORTED: dict[str, st.SearchStrategy[Any]] = {
    "target": st.one_of(WHOLE, TEXTS),
    "size": PAIR,
    "resize": TEXTS,
    "normalize": TEXTS,
    "batch": WHOLE,
}

QUICK = tuple(m for m in METHODS if m not in ("auto", "shapleycam"))


def some_of(kinds: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw up to two options, each of its kind."""
    names = st.lists(st.sampled_from(sorted(kinds)), unique=True, max_size=2)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({n: kinds[n] for n in chosen}))


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


def confused(x: Any, truth: Any) -> None:
    """Ask of anything what it was taken for."""
    explainer()(x, truth=truth)


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

PIXELS = st.builds(lambda shape: np.zeros(shape, np.uint8), st.lists(st.integers(0, 6), min_size=2, max_size=4))
BESIDE = ("head", "labels", "preprocess", "progress", "threads")
"""Options that are of no single kind."""
METHOD = st.sampled_from(QUICK)

ARGUMENTS: dict[str, Draw] = {
    "arguments of Explainer": tried(built, some_of(OPTIONS), METHOD),
    "arguments of a call": tried(
        called, st.one_of(PICTURES, ARRAYS), st.one_of(st.none(), WHOLE, st.lists(WHOLE, max_size=4))
    ),
    "arguments of export": tried(written, some_of(EXPORTED)),
}
"""Of the kinds that the signatures name, with any value."""

KINDLESS: dict[str, Draw] = {
    "anything to Explainer": tried(
        built, st.dictionaries(st.sampled_from([*OPTIONS, *BESIDE]), ANY, max_size=2), METHOD
    ),
    "anything to a call": tried(called, st.one_of(PICTURES, PIXELS, ANY), ANY),
    "anything for the truth": tried(confused, st.one_of(PICTURES, PIXELS), ANY),
    "anything to export": tried(
        written, st.dictionaries(st.sampled_from([*EXPORTED, "preprocess", "fp16"]), ANY, max_size=2)
    ),
}
"""Of any kind."""
