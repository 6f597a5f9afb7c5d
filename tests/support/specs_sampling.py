"""Specs of GridSample."""

from __future__ import annotations

from typing import Any

import numpy as np
from spec import Spec, normal, spec

X = normal(2, 3, 5, 4)


def between(*shape: int, align: int = 0) -> np.ndarray:
    """Return places of a 5 x 4 picture, and around it, that are no closer than 0.1 to where a value has a kink."""
    rng = np.random.default_rng(shape)
    cell = rng.integers(-1, 5, shape) + rng.uniform(0.1, 0.9, shape)
    size = np.array([4, 5])
    return 2 * cell / (size - 1) - 1 if align else (2 * cell + 1) / size - 1


def sampled(about: str, *, align: int = 0, **attrs: Any) -> Spec:
    attrs = {"mode": "linear", "opset": 20, "align_corners": align} | attrs
    return spec("GridSample", X, between(2, 3, 4, 2, align=align), about=about, **attrs)


SPECS: tuple[Spec, ...] = (
    sampled(""),
    sampled("corners aligned", align=1),
    sampled("border", padding_mode="border"),
    sampled("border, corners aligned", align=1, padding_mode="border"),
    sampled("of opset 16", mode="bilinear", opset=18),
)
