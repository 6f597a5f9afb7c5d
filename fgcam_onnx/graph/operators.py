"""Families of operators, by what the graph stage needs to know of them."""

from __future__ import annotations

VIEWS = frozenset({"Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that show the same elements again."""

SHAPES = frozenset({"Shape", "Size"})
"""Operators that read only the shape of a tensor: nothing of its values goes through them."""

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
        "Where",
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
        "QLinearAveragePool",
        "QLinearConv",
        "QLinearGlobalAveragePool",
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
    "Add BatchNormalization DequantizeLinear Div DynamicQuantizeLinear Mul Pad QuantizeLinear Slice Sub".split()
)
"""What may stand between the graph input and the operator that is said to read it."""

ELEMENTWISE = frozenset(
    "Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift Cast CastLike Ceil Celu Clip Cos Cosh DequantizeLinear Div"
    " Dropout DynamicQuantizeLinear Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity"
    " IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow QLinearAdd"
    " QLinearLeakyRelu QLinearMul QLinearSigmoid QLinearWhere QuantizeLinear"
    " Reciprocal Relu Round Selu Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu"
    " Where Xor".split()
)
"""Operators whose output element is made of the elements at its own place, after broadcasting."""

NORMALIZES = frozenset(
    "BatchNormalization CumSum GroupNormalization Hardmax InstanceNormalization LRN LayerNormalization LogSoftmax"
    " LpNormalization QLinearSoftmax RMSNormalization Softmax".split()
)
"""Operators whose output has the places of their first input, though elements may look at their neighbours."""

WINDOWED = frozenset(
    "AveragePool Conv ConvInteger ConvTranspose LpPool MaxPool QLinearAveragePool QLinearConv Resize Upsample".split()
)
"""Operators that keep a picture a picture, perhaps of another size."""

PRODUCTS = {"MatMul": (0, 1), "MatMulInteger": (0, 1), "QLinearMatMul": (0, 3)}
"""Matrix products, and where their operands stand."""
