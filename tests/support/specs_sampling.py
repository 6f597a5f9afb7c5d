"""Specs of GridSample and RoiAlign."""

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


BOXES = np.array([[0.4, 0.7, 2.9, 3.4], [-1.3, 1.2, 2.2, 5.5], [1.7, -0.6, 4.7, 1.3]])
"""x0, y0, x1, y1 in a picture of 5 x 4 places, partly outside; the samples are away from whole places."""


def pooled(about: str, **attrs: Any) -> Spec:
    attrs = {"output_height": 2, "output_width": 3, "sampling_ratio": 2} | attrs
    return spec("RoiAlign", X, BOXES, np.array([1, 0, 1]), about=about, **attrs)


SPECS: tuple[Spec, ...] = (
    sampled(""),
    sampled("corners aligned", align=1),
    sampled("border", padding_mode="border"),
    sampled("border, corners aligned", align=1, padding_mode="border"),
    sampled("of opset 16", mode="bilinear", opset=18),
    pooled(""),
    pooled("scaled, three samples", spatial_scale=0.75, sampling_ratio=3),
    pooled("from the corner", coordinate_transformation_mode="output_half_pixel"),
    pooled(
        "from the corner, smaller than a place", coordinate_transformation_mode="output_half_pixel", spatial_scale=0.3
    ),
)
