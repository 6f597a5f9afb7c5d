"""Families of operators, by what the graph stage needs to know of them."""

from __future__ import annotations

VIEWS = frozenset({"Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that show the same elements again."""

NON_NEGATIVE = frozenset(
    [
        "Abs",
        "Exp",
        "HardSigmoid",
        "ReduceL1",
        "ReduceL2",
        "ReduceSumSquare",
        "Relu",
        "Sigmoid",
        "Softmax",
        "Softplus",
        "Sqrt",
        "ThresholdedRelu",
    ]
)
KEEPS_SIGN = VIEWS | frozenset(
    [
        "Add",
        "AveragePool",
        "Concat",
        "DepthToSpace",
        "Div",
        "Expand",
        "Gather",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "MaxPool",
        "Mean",
        "Min",
        "Mul",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceSum",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Sum",
        "Tile",
    ]
)
"""Non-negative where all their data inputs are."""

SPATIAL = frozenset(
    [
        "AveragePool",
        "BatchNormalization",
        "Conv",
        "ConvInteger",
        "ConvTranspose",
        "DepthToSpace",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "GroupNormalization",
        "InstanceNormalization",
        "LRN",
        "LpPool",
        "MaxPool",
        "QLinearConv",
        "SpaceToDepth",
    ]
)
"""Operators whose input and output have their channels at axis 1."""

REARRANGES = frozenset(
    [
        "Einsum",
        "Flatten",
        "Gather",
        "GatherElements",
        "GatherND",
        "Gemm",
        "MatMul",
        "Reshape",
        "ScatterND",
        "Shape",
        "Squeeze",
        "Unsqueeze",
    ]
)

LINEAR_PREPROCESSING = VIEWS | frozenset(
    {"Add", "BatchNormalization", "DequantizeLinear", "Div", "Mul", "Pad", "QuantizeLinear", "Slice", "Sub"}
)
"""What may stand between the graph input and the operator that is said to read it."""
