"""Products of eight-bit integers: which of them a processor may cut off, and the same model without those.

x86 processors without VNNI multiply unsigned by signed bytes and add two products in sixteen bits, cut off at
-32768 and 32767. It happens where the right operand of the matrix product that a runtime makes is signed and the
left is not. Unsigned beside unsigned, and signed beside signed, are widened first and exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ..errors import OptionError
from ..graph.memo import once
from ..graph.model import Model
from ..graph.operators import VIEWS
from ..graph.quantization import MS, layout_of
from ..graph.subgraphs import nodes_inside
from ..loading.loading import bind

Place = tuple[int, int]
"""Positions of integers and of their zero point among an operator's inputs."""

BARE: dict[str, tuple[Place, Place]] = {
    "ConvInteger": ((1, 3), (0, 2)),
    "MatMulInteger": ((0, 2), (1, 3)),
}
"""Left and right operand; of a convolution without scales the runtime has the weight on the left."""

FLOAT = ("Conv", "Gemm", "MatMul")
"""Float operators that a runtime fuses with the quantizers around them to a product of integers."""

SAFE = 64
"""Twice 255 times this fits sixteen bits."""

SHIFT = 128
"""A signed byte with this added is an unsigned one."""


@dataclass(frozen=True)
class Product:
    """A product of integers.

    Attributes
    ----------
    node : str
        The operator, for people.
    reader : str
        First output of the operator that reads the right operand: the product, or the DequantizeLinear before it.
    right : (int, int)
        Where the right operand and its zero point stand among the reader's inputs.
    overflows : bool
        Whether two of its terms may pass sixteen bits on a processor that adds them there.
    movable : bool
        Whether the right operand is a constant that can be stored unsigned.
    """

    node: str
    reader: str
    right: Place
    overflows: bool
    movable: bool


@once
def products_of(model: Model) -> tuple[Product, ...]:
    """Return the integer products of ``model``, those inside of Loop and If included."""
    return tuple(_found(model))


def overflowing(model: Model) -> tuple[Product, ...]:
    """Return the integer products whose sums a processor may cut off."""
    return tuple(p for p in products_of(model) if p.overflows)


def with_exact_products(model: Model) -> Model:
    """Return ``model`` with the right operands of its overflowing products unsigned.

    ``(q + 128) - (zero + 128)`` is ``q - zero``: the integers stand for the same numbers, and both operands being
    unsigned, every kernel is exact.

    Raises
    ------
    OptionError
        An operand that would have to be stored differently is not a constant; names the operator.
    """
    found = overflowing(model)
    for product in found:
        if not product.movable:
            raise OptionError(
                f"{product.node} multiplies integers by some that are no constants of the graph, or in a way that is "
                "not known: it cannot be made exact. Leave int8 at 'deployed'."
            )
    if not found:
        return model
    proto, constants = ModelProto(), dict(model.constants)
    proto.CopyFrom(model.proto)
    readers = {p.reader: p.right for p in found}
    for node in proto.graph.node:
        if node.output[0] in readers:
            _shift(node, readers[node.output[0]], constants)
    return bind(replace(model, proto=proto, constants=constants, types={}), {})


def overflowing_program() -> tuple[bytes, dict[str, NDArray[Any]], int]:
    """Return a program of one product that passes sixteen bits, its input, and every element of its exact result."""
    depth, rows, columns = 64, 8, 32
    x, w = np.full((rows, depth), 255, np.uint8), np.full((depth, columns), 127, np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "overflowing",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.INT32, (rows, columns))],
        [numpy_helper.from_array(w, "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return proto.SerializeToString(), {"x": x}, 255 * 127 * depth


def _found(model: Model) -> Iterator[Product]:
    outer = {n.output[0] for n in model.nodes if n.output}
    makers = {o: n for n in nodes_inside(model.nodes) for o in n.output}
    for node in nodes_inside(model.nodes):
        operands = _operands(node, makers)
        if operands is not None:
            left, (reader, right) = operands
            names = [reader.input[i] if i < len(reader.input) else "" for i in right]
            movable = reader.output[0] in outer and all(n in model.constants for n in names if n)
            signed = (None,) if left is None else (TensorProto.INT8, None)
            mixed = left is None or _kind(model, left) in (TensorProto.UINT8, None)
            overflows = mixed and not _is_depthwise(model, node, names[0]) and _passes(model, names[0], signed)
            yield Product(_named(node), reader.output[0], right, overflows, movable)
        elif _is_unknown(model, node):
            yield Product(_named(node), node.output[0], (0, 0), overflows=True, movable=False)


def _operands(node: NodeProto, makers: Mapping[str, NodeProto]) -> tuple[str | None, tuple[NodeProto, Place]] | None:
    """Return the left operand of an integer product, and what reads the right one, and where; None for no product.

    Between quantizers ONNX Runtime makes signed activations unsigned: the left has no name then, and the right is
    signed only where it is a constant.
    """
    if node.op_type in BARE and not node.domain:
        (left, _), place = BARE[node.op_type]
        return node.input[left], (node, place)
    layout = layout_of(node)
    if layout is not None and layout.means in FLOAT:
        (left, *_), (right, _, zero) = layout.data
        return node.input[left], (node, (right, zero))
    if node.op_type not in FLOAT or node.domain:
        return None
    before = [_dequantizer(name, makers) for name in node.input[:2]]
    if before[0] is None or before[1] is None:
        return None
    return None, (before[1], (0, 2))


def _dequantizer(name: str, makers: Mapping[str, NodeProto]) -> NodeProto | None:
    """Return the DequantizeLinear that ``name`` comes from, as it is or moved about."""
    maker = makers.get(name)
    while maker is not None and maker.op_type in VIEWS - {"Cast"}:
        maker = makers.get(maker.input[0])
    return maker if maker is not None and maker.op_type == "DequantizeLinear" else None


def _kind(model: Model, name: str) -> int | None:
    """Return the element type of ``name``, or None where it is not known."""
    return model.types[name].tensor_type.elem_type if name in model.types else None


def _passes(model: Model, name: str, signed: tuple[int | None, ...]) -> bool:
    """Return whether two terms of right operand ``name`` may pass sixteen bits; of no constant, if its type tells."""
    array = model.constants.get(name)
    return _kind(model, name) in signed if array is None else _is_large(array)


def _is_large(array: NDArray[Any]) -> bool:
    return array.dtype == np.int8 and array.size > 0 and int(np.abs(array.astype(np.int16)).max()) > SAFE


def _is_unknown(model: Model, node: NodeProto) -> bool:
    """Tell an operator of ONNX Runtime's own that reads signed weights, and may multiply them."""
    weights = (model.constants[n] for n in node.input if n in model.constants)
    ours = node.domain != MS.rstrip(".") or layout_of(node) is not None
    return not ours and any(w.size > 1 and _is_large(w) for w in weights)


def _is_depthwise(model: Model, node: NodeProto, weight: str) -> bool:
    """Tell a convolution of single channels, which is no matrix product: its kernels widen first."""
    array = model.constants.get(weight)
    group = next((a.i for a in node.attribute if a.name == "group"), 1)
    return array is not None and array.ndim > 2 and group == array.shape[0] and array.shape[1] == 1


def _named(node: NodeProto) -> str:
    return f"{node.op_type} (node {node.name or node.output[0]!r})"


def _shift(node: NodeProto, right: Place, constants: dict[str, NDArray[Any]]) -> None:
    """Let ``node`` read its right operand and its zero point unsigned."""
    data, zero = right
    scale = constants.get(node.input[1]) if node.op_type == "DequantizeLinear" else None
    while len(node.input) <= zero:
        node.input.append("")
    for position in (data, zero):
        name = node.input[position]
        array = constants[name] if name else np.zeros(() if scale is None else scale.shape, np.int8)
        shifted = f"{name or node.output[0]}/unsigned"
        constants[shifted] = (array.astype(np.int16) + SHIFT).astype(np.uint8)
        node.input[position] = shifted
