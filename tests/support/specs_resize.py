"""Specs of Resize."""

from __future__ import annotations

from typing import Any

import numpy as np
from spec import Spec, ints, normal, spec

X = normal(1, 2, 5, 6)
COORDINATES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric")
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
MODES = ("nearest", "linear", "cubic")
UP, DOWN = (1.0, 1.0, 1.6, 2.0), (1.0, 1.0, 0.6, 0.5)


def by_scale(about: str, scales: tuple[float, ...], **attrs: Any) -> Spec:
    return spec("Resize", X, None, np.array(scales, np.float32), about=about, linear=True, **({"opset": 19} | attrs))


def to_size(about: str, sizes: tuple[int, ...], *, roi: np.ndarray | None = None, **attrs: Any) -> Spec:
    return spec("Resize", X, roi, None, ints(*sizes), about=about, linear=True, **({"opset": 19} | attrs))


SPECS: tuple[Spec, ...] = (
    *(
        by_scale(f"{mode} {way} {coordinates}", factors, mode=mode, coordinate_transformation_mode=coordinates)
        for mode in MODES
        for coordinates in COORDINATES
        for way, factors in (("up", UP), ("down", DOWN))
    ),
    *(
        to_size(
            f"{mode} to a size, {coordinates}",
            (1, 2, 8, 4),
            mode=mode,
            coordinate_transformation_mode=coordinates,
        )
        for mode in MODES
        for coordinates in ("half_pixel", "align_corners", "pytorch_half_pixel")
    ),
    *(by_scale(f"nearest {how}", UP, mode="nearest", nearest_mode=how) for how in NEAREST),
    *(
        by_scale(
            f"nearest {how} asymmetric",
            (1, 1, 2.5, 0.7),
            nearest_mode=how,
            coordinate_transformation_mode="asymmetric",
        )
        for how in NEAREST
    ),
    by_scale("cubic, other coefficient", UP, mode="cubic", cubic_coeff_a=-0.5),
    by_scale("cubic, outside excluded", UP, mode="cubic", exclude_outside=1),
    by_scale("linear antialiased", DOWN, mode="linear", antialias=1),
    by_scale("cubic antialiased", DOWN, mode="cubic", antialias=1),
    by_scale("cubic antialiased, outside excluded", DOWN, mode="cubic", antialias=1, exclude_outside=1),
    by_scale("linear antialiased up", UP, mode="linear", antialias=1),
    by_scale("two axes", (2.0, 0.5), mode="linear", axes=[3, 2]),
    to_size("two named axes", (7, 3), mode="linear", axes=[2, 3]),
    to_size("not larger", (8, 9), mode="linear", axes=[2, 3], keep_aspect_ratio_policy="not_larger"),
    to_size("not smaller", (8, 9), mode="linear", axes=[2, 3], keep_aspect_ratio_policy="not_smaller"),
    to_size("one row", (1, 2, 1, 6), mode="linear", coordinate_transformation_mode="pytorch_half_pixel"),
    to_size(
        "linear crop",
        (1, 2, 3, 4),
        roi=np.array([0, 0, 0.2, 0.3, 1, 1, 0.8, 0.9], np.float32),
        mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize",
    ),
    to_size(
        "cubic crop, axes",
        (3, 4),
        roi=np.array([0.2, 0.3, 0.8, 0.9], np.float32),
        mode="cubic",
        axes=[2, 3],
        coordinate_transformation_mode="tf_crop_and_resize",
    ),
    to_size(
        "crop beyond the picture",
        (1, 2, 3, 4),
        roi=np.array([0, 0, 0.4, 0.6, 1, 1, 1.2, 1.7], np.float32),
        mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize",
        extrapolation_value=10.0,
    ),
)
