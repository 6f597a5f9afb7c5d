"""Specs of pooling."""

from __future__ import annotations

from typing import Any

import numpy as np
from spec import Spec, apart, normal, spec

X = apart(2, 3, 7, 6, step=0.02)


def maxpool(about: str, x: np.ndarray = X, **attrs: Any) -> Spec:
    return spec("MaxPool", x, about=about, **({"kernel_shape": [3, 3]} | attrs))


def average(about: str, x: np.ndarray = X, **attrs: Any) -> Spec:
    return spec("AveragePool", x, about=about, linear=True, **({"kernel_shape": [3, 3], "opset": 19} | attrs))


SPECS: tuple[Spec, ...] = (
    average(""),
    average("strided", strides=[2, 2]),
    average("padded", strides=[2, 1], pads=[1, 1, 1, 1]),
    average("padded, padding counted", strides=[2, 1], pads=[1, 1, 1, 1], count_include_pad=1),
    average("asymmetric pads", pads=[0, 2, 1, 0]),
    average("asymmetric pads counted", pads=[0, 2, 1, 0], count_include_pad=1),
    average("ceil mode", strides=[2, 4], ceil_mode=1),
    average("ceil mode padded and counted", strides=[3, 2], pads=[1, 1, 1, 1], ceil_mode=1, count_include_pad=1),
    average("dilated", kernel_shape=[2, 2], dilations=[2, 3]),
    average("auto_pad SAME_UPPER", kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    average("auto_pad SAME_LOWER", kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_LOWER"),
    average("auto_pad VALID", strides=[2, 2], auto_pad="VALID"),
    average("one axis", normal(2, 3, 9), kernel_shape=[4], strides=[3]),
    average("three axes", normal(1, 2, 4, 5, 4), kernel_shape=[2, 3, 2], strides=[2, 1, 2]),
    average("single elements", kernel_shape=[1, 1]),
    spec("GlobalAveragePool", normal(2, 3, 4, 5), linear=True),
    spec("GlobalAveragePool", normal(2, 3, 4), about="one axis", linear=True),
    spec("GlobalMaxPool", apart(2, 3, 4, 5)),
    spec("GlobalMaxPool", apart(2, 3, 4), about="one axis"),
    spec("GlobalMaxPool", apart(1, 2, 3, 2, 2), about="three axes"),
    spec("LpPool", apart(2, 2, 5, 6), kernel_shape=[2, 2]),
    spec(
        "LpPool",
        apart(2, 2, 5, 6),
        about="cubed, overlapping, padded",
        kernel_shape=[3, 3],
        p=3,
        strides=[2, 1],
        pads=[1, 0, 1, 1],
    ),
    spec("LpPool", apart(2, 2, 5, 6), about="absolute values", kernel_shape=[2, 3], p=1, strides=[2, 2]),
    spec("LpPool", apart(2, 2, 5, 6), about="dilated", kernel_shape=[2, 2], dilations=[2, 1]),
    maxpool(""),
    maxpool("disjoint", kernel_shape=[2, 2], strides=[2, 2]),
    maxpool("overlapping, padded", strides=[2, 2], pads=[1, 1, 1, 1]),
    maxpool("asymmetric pads", pads=[0, 2, 1, 0]),
    maxpool("ceil mode", strides=[2, 4], ceil_mode=1),
    maxpool("dilated", kernel_shape=[2, 2], dilations=[2, 3]),
    maxpool("auto_pad SAME_UPPER", strides=[2, 2], auto_pad="SAME_UPPER"),
    maxpool("auto_pad SAME_LOWER", strides=[2, 2], auto_pad="SAME_LOWER"),
    maxpool("one axis", apart(2, 3, 9), kernel_shape=[4], strides=[3]),
    maxpool("three axes", apart(1, 2, 4, 5, 4), kernel_shape=[2, 3, 2], strides=[2, 1, 2]),
)
