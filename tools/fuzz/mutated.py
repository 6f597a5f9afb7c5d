"""Mutated models: bytes, fields of the protobuf, and graphs that stay well formed as messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from outcomes import Rng

WHOLE = (0, 1, -1, 2, 3, 7, 255, 1 << 20, 2**31 - 1, 2**31, -(2**31), 2**63 - 1, -(2**63))
FLOATS = (0.0, -1.0, 0.5, 1e-30, 1e30, float("nan"), float("inf"), -float("inf"))
WORDS = (
    "", "input", "logits", "x", "../../etc/passwd", "fgcam/output/explanation", "explanation", "a" * 5000,
    "\x1b]0;t\x07", "Ä語\u202e", "ai.onnx.ml", "com.microsoft", "N", "batch", "Loop", "NOTSET", "SAME_UPPER", "\n",
)  # fmt: skip

CHOICES = (
    "constant", "reflect", "edge", "wrap", "linear", "nearest", "cubic", "floor", "ceil", "asymmetric",
    "align_corners", "SAME_UPPER",
    "SAME_LOWER", "VALID", "NOTSET", "tanh", "none", "DCR", "CRD",
)  # fmt: skip
ALIKE = (
    "Relu", "Sigmoid", "Tanh", "Abs", "Neg", "Identity", "Softmax", "HardSwish", "Erf", "Add", "Sub", "Mul", "Div",
    "Max", "Min",
    "MatMul", "Flatten", "GlobalMaxPool", "GlobalAveragePool", "ReduceMean", "Sum", "Softplus",
)  # fmt: skip
"""Words of attributes, and operators that may stand for each other."""

Bytes = Callable[[bytes, Rng], bytes]
Message = Callable[[ModelProto, Rng], None]


def some(rng: Rng, choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


# ---- bytes


def flipped(content: bytes, rng: Rng) -> bytes:
    """Turn some bits over."""
    array = bytearray(content)
    for _ in range(int(rng.integers(1, 9))):
        array[int(rng.integers(len(array)))] ^= 1 << int(rng.integers(8))
    return bytes(array)


def overwritten(content: bytes, rng: Rng) -> bytes:
    """Write other bytes over a stretch."""
    start, length = int(rng.integers(len(content))), int(rng.integers(1, 17))
    filler = some(rng, (bytes(length), b"\xff" * length, rng.bytes(length)))
    return content[:start] + filler + content[start + length :]


def cut_short(content: bytes, rng: Rng) -> bytes:
    """Leave out the end, or the beginning."""
    at = int(rng.integers(len(content)))
    return content[:at] if rng.random() < 0.7 else content[at:]


def spliced(content: bytes, rng: Rng) -> bytes:
    """Move, repeat or take out a stretch."""
    a, b, c = sorted(int(v) for v in rng.integers(0, len(content), 3))
    ways = (
        content[:a] + content[b:],
        content[:b] + content[a:],
        content[:a] + content[b:c] + content[a:b] + content[c:],
    )
    return bytes(some(rng, ways))


# ---- protobuf


def _fields(message: Any) -> list[tuple[Any, FieldDescriptor]]:
    found = []
    for descriptor, value in message.ListFields():
        found.append((message, descriptor))
        if descriptor.type == FieldDescriptor.TYPE_MESSAGE:
            repeated = hasattr(value, "__len__") and not hasattr(value, "ListFields")
            for inner in value if repeated else (value,):
                found += _fields(inner)
    return found


def _repeated(message: Any, field: FieldDescriptor) -> bool:
    return not hasattr(getattr(message, field.name), "ListFields") and hasattr(getattr(message, field.name), "append")


def _other(field: FieldDescriptor, rng: Rng) -> Any:
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return some(rng, FLOATS)
    if field.type == FieldDescriptor.TYPE_STRING:
        return some(rng, WORDS)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return some(rng, (b"", b"\xff\xfe", rng.bytes(8), b"constant", b"linear"))
    if field.type == FieldDescriptor.TYPE_ENUM:
        return some(rng, list(field.enum_type.values_by_number))
    return some(rng, WHOLE)


def field_changed(proto: ModelProto, rng: Rng) -> None:
    """Give a field of no message another value."""
    _on_field(proto, rng, [f for f in _fields(proto) if f[1].type != FieldDescriptor.TYPE_MESSAGE], "change")


def field_cleared(proto: ModelProto, rng: Rng) -> None:
    """Take a field away."""
    _on_field(proto, rng, _fields(proto), "clear")


def element_moved(proto: ModelProto, rng: Rng) -> None:
    """Repeat an element of a list, take one out, or let two change places."""
    _on_field(proto, rng, [f for f in _fields(proto) if _repeated(*f)], "list")


def _on_field(proto: ModelProto, rng: Rng, fields: list[tuple[Any, FieldDescriptor]], how: str) -> None:
    message, field = some(rng, fields)
    value = getattr(message, field.name)
    try:
        if how == "clear":
            message.ClearField(field.name)
        elif how == "change" and not _repeated(message, field):
            setattr(message, field.name, _other(field, rng))
        elif how == "change":
            value[int(rng.integers(len(value)))] = _other(field, rng)
        else:
            _list_changed(value, rng)
    except (TypeError, ValueError):  # the value is out of the field's range
        message.ClearField(field.name)


def _list_changed(value: Any, rng: Rng) -> None:
    at, other = (int(v) for v in rng.integers(0, len(value), 2))
    kept = list(value)
    way = rng.random()
    if way < 0.4:
        kept.insert(other, kept[at])
    elif way < 0.7:
        del kept[at]
    else:
        kept[at], kept[other] = kept[other], kept[at]
    plain = [type(k).FromString(k.SerializeToString()) if hasattr(k, "ListFields") else k for k in kept]
    del value[:]
    value.extend(plain)


# ---- graphs


def names_of(proto: ModelProto) -> list[str]:
    graph = proto.graph
    made = [o for n in graph.node for o in n.output if o]
    return [*made, *(i.name for i in graph.input), *(t.name for t in graph.initializer)] or [""]


def node_of(proto: ModelProto, rng: Rng) -> NodeProto:
    return some(rng, proto.graph.node) if proto.graph.node else proto.graph.node.add()


def rewired(proto: ModelProto, rng: Rng) -> None:
    """Let a node read another tensor, or leave an input out."""
    node = node_of(proto, rng)
    if node.input:
        node.input[int(rng.integers(len(node.input)))] = some(rng, [*names_of(proto), ""])


def renamed(proto: ModelProto, rng: Rng) -> None:
    """Give a tensor another name everywhere."""
    old, new = some(rng, names_of(proto)), some(rng, WORDS)
    for node in proto.graph.node:
        for ends in (node.input, node.output):
            for i, name in enumerate(ends):
                ends[i] = new if name == old else name
    for info in (*proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        info.name = new if info.name == old else info.name


def operator_changed(proto: ModelProto, rng: Rng) -> None:
    """Let a node be another operator, of any domain and name."""
    from onnx.defs import get_all_schemas

    node = node_of(proto, rng)
    if rng.random() < 0.5:
        node.op_type, node.domain = some(rng, ALIKE), ""
        del node.attribute[:]
        return
    schema = some(rng, sorted(get_all_schemas(), key=lambda s: (s.domain, s.name)))
    node.op_type, node.domain = schema.name, some(rng, (schema.domain, "", "com.microsoft"))
    if rng.random() < 0.7:
        del node.attribute[:]


def attribute_changed(proto: ModelProto, rng: Rng) -> None:
    """Set an attribute that the operator knows to another value, or to another kind of value."""
    from onnx.defs import get_schema

    given = [a for n in proto.graph.node for a in n.attribute]
    if given and rng.random() < 0.6:
        _nudged(some(rng, given), rng)
        return
    node = node_of(proto, rng)
    try:
        known = sorted(get_schema(node.op_type, node.domain).attributes)
    except Exception:  # no such operator; onnx raises its own SchemaError
        known = ["axis"]
    name = some(rng, known or ["axis"])
    whole = [int(v) for v in rng.integers(-3, 5, int(rng.integers(0, 5)))]
    value = some(
        rng, (some(rng, WHOLE), some(rng, FLOATS), some(rng, WORDS), whole, [2.0], numpy_helper.from_array(np.ones(2)))
    )
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    typed = {"attr_type": 7} if value == [] else {}
    node.attribute.extend([*kept, helper.make_attribute(name, value, **typed)])


def _nudged(attribute: AttributeProto, rng: Rng) -> None:
    """Give an attribute another value of its kind, such as an operator may have."""
    near = [int(v) for v in rng.integers(-2, 5, max(1, len(attribute.ints)))]
    values: dict[int, Any] = {
        AttributeProto.INT: near[0],
        AttributeProto.INTS: near,
        AttributeProto.FLOAT: float(rng.uniform(-1, 2)),
        AttributeProto.STRING: some(rng, CHOICES),
    }
    if attribute.type in values:
        attribute.CopyFrom(helper.make_attribute(attribute.name, values[attribute.type]))


def weights_changed(proto: ModelProto, rng: Rng) -> None:
    """Change shape, type or values of a constant."""
    if not proto.graph.initializer:
        return
    tensor = some(rng, proto.graph.initializer)
    way = int(rng.integers(6))
    if way == 0 and tensor.dims:
        tensor.dims[int(rng.integers(len(tensor.dims)))] = some(rng, WHOLE)
        return
    if way == 1:
        tensor.data_type = int(rng.integers(0, 24))
        return
    try:
        array = numpy_helper.to_array(tensor)
    except (TypeError, ValueError):  # changed before
        return
    if way == 2:
        array = array.astype(some(rng, (np.float16, np.float64, np.int64, np.uint8, np.bool_)))
    elif way == 3:
        value = some(rng, FLOATS) if array.dtype.kind == "f" else some(rng, WHOLE[:9])
        array = np.full(array.shape, value).astype(array.dtype)
    elif way == 4:
        array = array.reshape(some(rng, ((-1,), (1, *array.shape), array.shape[::-1])))
    else:
        array = array[..., :0] if array.ndim else array
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))


def input_changed(proto: ModelProto, rng: Rng) -> None:
    """Change shape or type of an input or output."""
    info = some(rng, [*proto.graph.input, *proto.graph.output])
    kind = info.type.tensor_type
    if rng.random() < 0.3:
        kind.elem_type = int(rng.integers(0, 24))
    elif rng.random() < 0.2 or not kind.shape.dim:
        kind.shape.dim.add().dim_value = some(rng, (1, 2, 0, -1, 2**40))
    else:
        dim = some(rng, kind.shape.dim)
        if rng.random() < 0.4:
            dim.dim_param = some(rng, WORDS)
        else:
            dim.dim_value = some(rng, WHOLE)


def nodes_moved(proto: ModelProto, rng: Rng) -> None:
    """Take a node out, repeat one, or change the order."""
    nodes = list(proto.graph.node)
    if not nodes:
        return
    way = rng.random()
    if way < 0.4:
        del nodes[int(rng.integers(len(nodes)))]
    elif way < 0.6:
        nodes.append(some(rng, nodes))
    else:
        nodes = [nodes[int(i)] for i in rng.permutation(len(nodes))]
    copies = [NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del proto.graph.node[:]
    proto.graph.node.extend(copies)


def head_changed(proto: ModelProto, rng: Rng) -> None:
    """Change what stands around the graph: opset, outputs, metadata, constants that lie outside."""
    way = int(rng.integers(6))
    if way == 0:
        proto.opset_import.add(domain=some(rng, WORDS), version=int(rng.integers(-1, 30)))
    elif way == 1 and proto.opset_import:
        proto.opset_import[0].version = int(rng.integers(0, 28))
    elif way == 2:
        proto.graph.output.add(name=some(rng, names_of(proto))).type.tensor_type.elem_type = int(rng.integers(0, 12))
    elif way == 3:
        keys = ("method", "outputs", "inputs", "head", "version", "labels")
        values = ("", "{", "[]", "null", '{"a": 1}', "NaN", "5", *WORDS[:4])
        proto.metadata_props.add(key=f"fgcam.{some(rng, keys)}", value=some(rng, values))
    elif way == 4 and proto.graph.initializer:
        tensor: TensorProto = some(rng, proto.graph.initializer)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (
            ("location", some(rng, WORDS)),
            ("offset", str(some(rng, WHOLE))),
            ("length", str(some(rng, WHOLE))),
        ):
            tensor.external_data.add(key=key, value=value)
    else:
        proto.ir_version = some(rng, WHOLE)


BYTES: dict[str, Bytes] = {f.__name__: f for f in (flipped, overwritten, cut_short, spliced)}
PROTOBUF: dict[str, Message] = {f.__name__: f for f in (field_changed, field_cleared, element_moved)}
GRAPHS: dict[str, Message] = {
    f.__name__: f
    for f in (
        attribute_changed, head_changed, input_changed, nodes_moved, operator_changed, renamed, rewired,
        weights_changed,
    )
}  # fmt: skip
