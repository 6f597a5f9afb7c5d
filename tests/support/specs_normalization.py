"""Specs of normalizations and Softmax."""

from __future__ import annotations

from spec import Spec, apart, normal, spec, uniform

X = normal(2, 6, 3, 4)
SCALE, BIAS = uniform(0.5, 1.5, 6), normal(6, seed=1)

SPECS: tuple[Spec, ...] = (
    spec("BatchNormalization", X, SCALE, BIAS, normal(6, seed=2), uniform(0.5, 2, 6, seed=3)),
    spec(
        "BatchNormalization",
        normal(3, 4),
        uniform(0.5, 1.5, 4),
        normal(4),
        normal(4, seed=2),
        uniform(0.5, 2, 4),
        about="without space",
        epsilon=0.1,
        momentum=0.5,
    ),
    spec("GroupNormalization", X, SCALE, BIAS, num_groups=2, opset=21),
    spec("GroupNormalization", X, SCALE, BIAS, about="epsilon", num_groups=3, epsilon=0.1, opset=21),
    spec(
        "GroupNormalization",
        normal(2, 4, 5),
        uniform(0.5, 1.5, 4),
        normal(4),
        about="one axis",
        num_groups=2,
        opset=21,
    ),
    spec("InstanceNormalization", X, SCALE, BIAS),
    spec("InstanceNormalization", normal(2, 6, 5), SCALE, BIAS, about="one axis", epsilon=0.1),
    spec("LRN", normal(2, 6, 3, 2), about="odd window", size=3, alpha=0.5, beta=0.6, bias=1.2),
    spec("LRN", normal(2, 6, 3, 2), about="even window", size=4, alpha=0.9, compiled=False),
    spec("LRN", normal(2, 3, 2, 2), about="window wider than the channels", size=9, alpha=0.9),
    spec("LayerNormalization", normal(2, 3, 5), uniform(0.5, 1.5, 5), normal(5)),
    spec("LayerNormalization", normal(2, 3, 5), uniform(0.5, 1.5, 5), about="no bias", epsilon=0.1),
    spec("LayerNormalization", normal(2, 3, 5), uniform(0.5, 1.5, 3, 5), normal(3, 5), about="axis 1", axis=1),
    spec(
        "LayerNormalization",
        normal(2, 3, 5),
        uniform(0.5, 1.5, 1, 5),
        normal(3, 1),
        about="broadcast scale",
        axis=-2,
    ),
    spec("LogSoftmax", normal(3, 5)),
    spec("LogSoftmax", normal(3, 5, 2), about="axis 1", axis=1),
    spec("LpNormalization", apart(3, 5)),
    spec("LpNormalization", apart(3, 5, 2), about="p 1, axis 1", axis=1, p=1),
    spec("RMSNormalization", normal(2, 3, 5), uniform(0.5, 1.5, 5), opset=23),
    spec(
        "RMSNormalization",
        normal(2, 3, 5),
        uniform(0.5, 1.5, 3, 5),
        about="axis 1",
        axis=1,
        epsilon=0.1,
        opset=23,
    ),
    spec("Softmax", normal(3, 5)),
    spec("Softmax", normal(3, 5, 2), about="axis 1", axis=1),
)
