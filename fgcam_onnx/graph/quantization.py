"""How quantized operators are laid out, and with what scale and zero point each integer tensor is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnx import NodeProto

from .memo import once
from .model import Model
from .operators import VIEWS

MS = "com.microsoft."


@dataclass(frozen=True)
class Layout:
    """A quantized operator: the float operator that it means, and where its inputs stand.

    Attributes
    ----------
    means : str
        The float operator.
    data : tuple of (int, int, int)
        Position of each data input, its scale and its zero point.
    out : (int, int) or None
        Position of the output's scale and zero point; None where the output is an accumulator or float.
    bias : int or None
        Position of an int32 bias in units of the product of the scales.
    plain : tuple of int
        Positions of inputs that are no quantized numbers; they come first.
    """

    means: str
    data: tuple[tuple[int, int, int], ...]
    out: tuple[int, int] | None = None
    bias: int | None = None
    plain: tuple[int, ...] = ()


_ONE, _TWO = ((0, 1, 2),), ((0, 1, 2), (3, 4, 5))

LAYOUTS: dict[str, Layout] = {
    "QLinearConv": Layout("Conv", _TWO, (6, 7), 8),
    "QLinearMatMul": Layout("MatMul", _TWO, (6, 7)),
    MS + "QGemm": Layout("Gemm", _TWO, (7, 8), 6),
    MS + "QLinearAdd": Layout("Add", _TWO, (6, 7)),
    MS + "QLinearAveragePool": Layout("AveragePool", _ONE, (3, 4)),
    MS + "QLinearGlobalAveragePool": Layout("GlobalAveragePool", _ONE, (3, 4)),
    MS + "QLinearLeakyRelu": Layout("LeakyRelu", _ONE, (3, 4)),
    MS + "QLinearMul": Layout("Mul", _TWO, (6, 7)),
    MS + "QLinearSigmoid": Layout("Sigmoid", _ONE, (3, 4)),
    MS + "QLinearSoftmax": Layout("Softmax", _ONE, (3, 4)),
    MS + "QLinearWhere": Layout("Where", ((1, 2, 3), (4, 5, 6)), (7, 8), plain=(0,)),
}

KEEPS_UNITS = VIEWS - {"Cast"} | frozenset(
    {
        "DepthToSpace",
        "Expand",
        "Gather",
        "MaxPool",
        "Pad",
        "Relu",
        "Resize",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Tile",
    }
)
"""Operators whose integer output is read with the scale and zero point of their input."""


def layout_of(node: NodeProto) -> Layout | None:
    """Return the layout of a quantized operator, or None for any other."""
    key = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    if key == MS + "QLinearConcat":
        return concat_layout(len(node.input))
    return LAYOUTS.get(key)


def concat_layout(inputs: int) -> Layout:
    """Return the layout of QLinearConcat, which takes any number of (data, scale, zero point)."""
    return Layout("Concat", tuple((i, i + 1, i + 2) for i in range(2, inputs, 3)), (0, 1))


Units = tuple[str, str]
"""Names of the scale and the zero point of an integer tensor; the zero point may be empty."""


@once
def units_of(model: Model) -> Mapping[str, Units]:
    """Return the scale and zero point with which each integer activation is to be read."""
    units: dict[str, Units] = {}
    for node in model.nodes:
        name = node.output[0] if node.output else ""
        layout = layout_of(node)
        if node.op_type == "QuantizeLinear" and not node.domain:
            units[name] = (node.input[1], node.input[2] if len(node.input) > 2 else "")
        elif node.op_type == "DynamicQuantizeLinear":
            units[name] = (node.output[1], node.output[2])
        elif layout is not None and layout.out is not None:
            scale, zero = layout.out
            if zero < len(node.input):
                units[name] = (node.input[scale], node.input[zero])
        elif node.op_type in (*KEEPS_UNITS, "Concat") and node.input[0] in units:
            units |= {o: units[node.input[0]] for o in node.output if o}
        elif node.op_type == "DequantizeLinear" and node.input[0] not in units and len(node.input) > 2:
            units[node.input[0]] = (node.input[1], node.input[2])
    return units
