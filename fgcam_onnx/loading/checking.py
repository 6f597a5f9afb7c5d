"""Refuse what is not valid ONNX, before any of onnx's own tools meets it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, TensorProto, TypeProto

from ..errors import ModelError
from ..graph.model import dims_of
from ..graph.subgraphs import nodes_inside
from .canonical import WINDOWED
from .computing import closed

LARGEST = 2**31
"""Most elements of a tensor, the batch aside."""

GENERATED = 10**7
"""Most elements that a Range of constants may have: shape inference writes them out."""


def check_text(message: Any) -> None:
    """Refuse names and words of attributes that are not text: protobuf hands those over as bytes.

    Raises
    ------
    ModelError
        Naming the field.
    """
    if isinstance(message, TensorProto):
        fields = [(f, v) for f, v in (("name", message.name), ("doc_string", message.doc_string))]
    else:
        try:
            fields = [(f.name, v) for f, v in message.ListFields() if f.type in (f.TYPE_STRING, f.TYPE_MESSAGE)]
        except UnicodeDecodeError as error:
            raise ModelError(f"the model is damaged: a name in it is not text ({error})") from None
    if isinstance(message, AttributeProto):
        fields += [(f"word of attribute {message.name!r}", w) for w in (message.s, *message.strings) if not _is_text(w)]
    for name, value in fields:
        for item in [value] if isinstance(value, str | bytes) or hasattr(value, "ListFields") else value:
            if isinstance(item, bytes):
                raise ModelError(f"the model is damaged: a {name} in it is not text: {item[:40]!r}")
            if hasattr(item, "ListFields"):
                check_text(item)


def _is_text(word: bytes) -> bool:
    try:
        word.decode()
    except UnicodeDecodeError:
        return False
    return True


def check_extents(proto: ModelProto, types: Mapping[str, TypeProto]) -> None:
    """Refuse an input that is too small for a window, and tensors that no memory holds.

    Raises
    ------
    ModelError
        Naming the node.
    """
    for info in proto.graph.input:
        shape = dims_of(info.type) if info.type.tensor_type.HasField("shape") else ()
        if math.prod(d for d in shape if isinstance(d, int)) > LARGEST:
            sizes = " x ".join(map(str, shape))
            raise ModelError(f"input {info.name!r} has {sizes} elements; at most {LARGEST} are supported")
    for node in proto.graph.node:
        kind = types.get(node.output[0])
        if kind is None or not kind.tensor_type.HasField("shape"):
            continue
        shape = dims_of(kind)
        sizes = " x ".join(map(str, shape))
        if math.prod(d for d in shape if isinstance(d, int)) > LARGEST:
            raise ModelError(
                f"{node.op_type} (node {node.name!r}) makes {sizes} elements; at most {LARGEST} are supported"
            )
        if any(isinstance(d, int) and d < 0 for d in shape):
            raise ModelError(f"{node.op_type} (node {node.name!r}) would cut off more than there is: {sizes} elements")
        if node.op_type in WINDOWED and any(isinstance(d, int) and d < 1 for d in shape[1:]):
            what = "the input is too small" if 0 not in shape[1:2] else "the weights have no output channels"
            raise ModelError(f"{what}: {node.op_type} (node {node.name!r}) would make {sizes} of it")


def check_graph(proto: ModelProto, constants: Mapping[str, NDArray[Any]]) -> None:
    """Refuse a graph that breaks the standard: operators, attributes, order and names.

    Raises
    ------
    ModelError
        Naming the node or the tensor.
    """
    for ends, what in ((proto.graph.input, "input"), (proto.graph.output, "output")):
        if not ends:
            raise ModelError(f"the model has no {what}: there is nothing to explain")
    _check_names(proto, constants)
    _check_lists(proto)
    for node in proto.graph.node:
        if node.op_type == "Range" and all(i in constants for i in node.input):
            _check_range([constants[i] for i in node.input], node.name)
    whole = closed(proto, constants)
    for info in (*whole.graph.input, *whole.graph.output):
        if info.type.HasField("tensor_type"):
            info.type.tensor_type.shape.SetInParent()
    whole.graph.name = whole.graph.name or "graph"
    try:
        onnx.checker.check_model(whole)
    except (onnx.checker.ValidationError, UnicodeDecodeError, ValueError) as error:
        reason = str(error).split("==> Context:")[0].strip()
        raise ModelError(f"the graph is not valid ONNX: {reason}") from None


def _check_names(proto: ModelProto, constants: Mapping[str, Any]) -> None:
    """Refuse graphs in which a tensor name is written twice."""
    seen = {i.name for i in proto.graph.input} | set(constants)
    if len(proto.graph.input) > len({i.name for i in proto.graph.input}):
        raise ModelError("two inputs have the same name: the graph is not valid ONNX")
    for node in proto.graph.node:
        for name in filter(None, node.output):
            if name in seen:
                raise ModelError(f"tensor {name!r} is written twice: the graph is not valid ONNX")
            seen.add(name)


def _check_lists(proto: ModelProto) -> None:
    """Refuse a gap in a list of inputs of any length, on which ONNX Runtime ends the process."""
    opset = next((o.version for o in proto.opset_import if not o.domain), 0)
    for node in nodes_inside(proto.graph.node):
        if node.domain or "" not in node.input or not onnx.defs.has(node.op_type):
            continue
        try:
            formal = onnx.defs.get_schema(node.op_type, opset, "").inputs
        except onnx.defs.SchemaError:  # of another opset, which onnx's checker says
            continue
        listed = formal and formal[-1].option == onnx.defs.OpSchema.FormalParameterOption.Variadic
        if listed and "" in node.input[len(formal) - 1 :]:
            raise ModelError(
                f"the graph is not valid ONNX: {node.op_type} (node {node.name!r}) leaves out one of its inputs"
            )


def _check_range(ends: list[NDArray[Any]], name: str) -> None:
    try:
        start, limit, delta = (float(e.reshape(())) for e in ends)
        count = (limit - start) / delta
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelError(f"Range (node {name!r}) has no valid start, limit and step: {error}") from None
    if not count <= GENERATED:
        raise ModelError(f"Range (node {name!r}) makes {count:.0f} elements; at most {GENERATED} are supported")
