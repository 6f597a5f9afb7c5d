"""Canonical forms: one way to say a thing, so that a rule needs to know only one.

``auto_pad`` of convolutions becomes explicit pads, and operators that left the standard before it had a schema are
written with those that stayed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TypeProto, helper

from ..errors import ModelError
from ..graph.model import dims_of
from ..graph.rounding import AUTO_PAD
from ..graph.subgraphs import graphs_of, nodes_inside

CONVOLUTIONS = ("Conv", "ConvInteger", "QLinearConv")
NORMALIZING = ("Hardmax", "LogSoftmax", "Softmax")
WINDOWED = (*CONVOLUTIONS, "ConvTranspose", "MaxPool", "AveragePool", "LpPool")


def canonical_nodes(
    nodes: Iterable[NodeProto], types: Mapping[str, TypeProto], *, outputs: Collection[str]
) -> list[NodeProto]:
    """Return ``nodes`` with ``auto_pad`` of convolutions written as pads, and each Softmax as one operator.

    Pools keep theirs, which runtimes read in a way of their own where there are dilations or ``ceil_mode``.
    """
    plain = last_axis_normalized([_plain_cast(_idle_pool(n), types) for n in nodes], types, outputs=outputs)
    return [_explicit_pads(n, types) if n.op_type in CONVOLUTIONS else n for n in plain]


def last_axis_normalized(
    nodes: Sequence[NodeProto], types: Mapping[str, TypeProto], *, outputs: Collection[str]
) -> list[NodeProto]:
    """Return ``nodes`` with every Softmax along the last axis of what was flattened before it, and shaped back after.

    That is how converters write the Softmax of an opset before 13 that knows its axis; it is the Softmax of today.
    """
    made = {o: n for n in nodes for o in n.output}
    readers: dict[str, int] = {}
    for name in (i for n in nodes for i in n.input):
        readers[name] = readers.get(name, 0) + 1
    result: dict[int, NodeProto | None] = {}
    for node in nodes:
        squash = made.get(node.input[0]) if node.op_type == "Reshape" else None
        flat = made.get(squash.input[0]) if squash is not None and squash.op_type in NORMALIZING else None
        if squash is None or flat is None or flat.op_type != "Flatten":
            continue
        x, shape = flat.input[0], made.get(node.input[1])
        dims, after = (dims_of(types[n]) if _ranked(types, n) else () for n in (x, node.output[0]))
        rank, axis = len(dims), next((a.i for a in flat.attribute if a.name == "axis"), 1)
        asked = shape is not None and shape.op_type == "Shape" and shape.input[0] == x
        back = asked or (dims == after and all(isinstance(d, int) for d in dims))
        alone = readers[squash.output[0]] == readers[flat.output[0]] == 1 and squash.output[0] not in outputs
        if rank > 2 and axis % rank == rank - 1 and back and alone:
            result[id(node)] = helper.make_node(squash.op_type, [x], node.output, name=node.name, axis=rank - 1)
            result[id(squash)] = result[id(flat)] = None
    return [kept for n in nodes if (kept := result.get(id(n), n)) is not None]


def _ranked(types: Mapping[str, TypeProto], name: str) -> bool:
    return name in types and types[name].tensor_type.HasField("shape")


def _idle_pool(node: NodeProto) -> NodeProto:
    """Write a pool over single elements as Identity, which is all that it does."""
    attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    ones = all(k == 1 for name in ("kernel_shape", "strides") for k in attrs.get(name, [1]))
    idle = ones and not any(attrs.get("pads", [])) and len(node.output) == 1
    if node.op_type not in ("AveragePool", "MaxPool") or not idle:
        return node
    identity = helper.make_node("Identity", node.input, node.output, name=node.name)
    identity.metadata_props.extend(node.metadata_props)
    return identity


def _plain_cast(node: NodeProto, types: Mapping[str, TypeProto]) -> NodeProto:
    """Write a Cast to the type that its input has as Identity, and CastLike, where its type is known, as Cast."""
    if node.op_type not in ("Cast", "CastLike") or node.domain:
        return node
    x, y = (types[n].tensor_type.elem_type if n in types else 0 for n in (node.input[0], node.output[0]))
    if not y or (node.op_type == "Cast" and x != y):
        return node
    plain = helper.make_node("Identity" if x == y else "Cast", node.input[:1], node.output, name=node.name)
    plain.attribute.extend([] if x == y else [helper.make_attribute("to", y)])
    plain.metadata_props.extend(node.metadata_props)
    return plain


def _explicit_pads(node: NodeProto, types: Mapping[str, TypeProto]) -> NodeProto:
    attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    auto = attrs.get("auto_pad", b"NOTSET")
    if auto not in AUTO_PAD[1:]:
        return node
    x, y = types.get(node.input[0]), types.get(node.output[0])
    if x is None or y is None:
        return node
    source, out = ([d for d in dims_of(t)[2:] if isinstance(d, int)] for t in (x, y))
    if len(source) < len(dims_of(x)) - 2 or len(out) < len(source):
        return node
    weight = 3 if node.op_type == "QLinearConv" else 1
    kernel = attrs.get("kernel_shape") or dims_of(types[node.input[weight]])[2:]
    stride = attrs.get("strides", [1] * len(source))
    dilation = attrs.get("dilations", [1] * len(source))
    total = [
        max(0, (o - 1) * s + (k - 1) * d + 1 - i)
        for i, o, k, s, d in zip(source, out, kernel, stride, dilation, strict=True)
    ]
    if auto == b"VALID":
        total = [0] * len(total)
    upper = auto == b"SAME_UPPER"
    begin = [t // 2 if upper else t - t // 2 for t in total]
    end = [t - b for t, b in zip(total, begin, strict=True)]
    explicit = NodeProto()
    explicit.CopyFrom(node)
    kept = [a for a in node.attribute if a.name not in ("auto_pad", "pads")]
    del explicit.attribute[:]
    explicit.attribute.extend([*kept, helper.make_attribute("pads", begin + end)])
    return explicit


def without_chains(nodes: Sequence[NodeProto], *, outputs: Collection[str]) -> list[NodeProto]:
    """Return ``nodes`` with the first of every chain of Identity operators alone; it stands for all of them.

    What is an output, or is read from inside another node, keeps its name.
    """
    if sum(n.op_type == "Identity" for n in nodes) < 2:
        return list(nodes)
    kept = {
        *outputs,
        *(i for n in nodes for graph in graphs_of(n) for inner in nodes_inside(graph.node) for i in inner.input),
    }
    kept |= {o.name for n in nodes for graph in graphs_of(n) for o in graph.output}
    first: dict[str, str] = {}
    result: list[NodeProto] = []
    for node in nodes:
        for place, name in enumerate(node.input):
            if first.get(name, name) != name:
                node.input[place] = first[name]
        if node.op_type != "Identity" or node.domain or len(node.input) != 1 or len(node.output) != 1:
            result.append(node)
            continue
        x, y = node.input[0], node.output[0]
        if x in first and y not in kept and y not in first:
            first[y] = first[x]
            continue
        first.setdefault(y, y)
        result.append(node)
    return result


def legacy_nodes(nodes: Iterable[NodeProto], constants: dict[str, NDArray[Any]]) -> list[NodeProto]:
    """Return ``nodes`` with operators of the experimental era, and parts of shapes, written in plain ones."""
    written = {"ImageScaler": _image_scaler, "Pad": _plain_pad, "Shape": _part_of_shape}
    result: list[NodeProto] = []
    for node in nodes:
        result += written[node.op_type](node, constants) if node.op_type in written else [node]
    return result


def _part_of_shape(node: NodeProto, constants: dict[str, NDArray[Any]]) -> list[NodeProto]:
    """Write ``Shape`` with a start or an end, which graphsurgeon would fold to the whole shape, with Slice."""
    attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if not attrs:
        return [node]
    name = node.output[0]
    whole, start, end = f"{name}/whole", f"{name}/start", f"{name}/end"
    constants[start] = np.array([attrs.get("start", 0)], np.int64)
    constants[end] = np.array([attrs.get("end", np.iinfo(np.int64).max)], np.int64)
    return [
        helper.make_node("Shape", node.input, [whole], name=whole),
        helper.make_node("Slice", [whole, start, end], [name], name=node.name or name),
    ]


def _plain_pad(node: NodeProto, constants: dict[str, NDArray[Any]]) -> list[NodeProto]:
    """Drop the value of a Pad that pads by elements of its own, which converters leave where it is not allowed."""
    attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if "value" not in attrs or attrs.get("mode", b"constant") == b"constant":
        return [node]
    plain = NodeProto()
    plain.CopyFrom(node)
    del plain.attribute[:]
    plain.attribute.extend(a for a in node.attribute if a.name != "value")
    return [plain]


def _image_scaler(node: NodeProto, constants: dict[str, NDArray[Any]]) -> list[NodeProto]:
    """Write ``ImageScaler`` (x * scale + bias per channel) as Mul and Add."""
    attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    name = node.output[0]
    scale, bias, scaled = f"{name}_scale", f"{name}_bias", f"{name}_scaled"
    constants[scale] = np.array(attrs.get("scale", 1.0), np.float32)
    constants[bias] = np.array(attrs.get("bias", [0.0]), np.float32).reshape(-1, 1, 1)
    return [
        helper.make_node("Mul", [node.input[0], scale], [scaled], name=scaled),
        helper.make_node("Add", [scaled, bias], [name], name=node.name or name),
    ]


def resizes_of_before_11(nodes: Iterable[NodeProto], constants: dict[str, NDArray[Any]]) -> list[NodeProto]:
    """Return ``nodes`` with every Resize, raised from opset 10 or older, placing samples as it did there.

    Converters leave it to the defaults of opset 11, which are others: a sample lay at its number divided by the scale,
    and the nearest was the one below, or above where the axis shrinks.
    """
    result: list[NodeProto] = []
    for node in nodes:
        if node.op_type != "Resize" or node.domain:
            result.append(node)
            continue
        mode = next((a.s.decode() for a in node.attribute if a.name == "mode"), "nearest")
        scales = constants.get(node.input[2])
        if mode != "nearest" or (scales is not None and np.all(scales >= 1)):
            result.append(_asymmetric(node, node.input[0], node.input[2], node.output[0], "floor"))
        elif scales is not None and np.all(scales <= 1):
            result.append(_asymmetric(node, node.input[0], node.input[2], node.output[0], "ceil"))
        elif scales is not None and np.any((scales > 1) & (scales < 2)):
            raise ModelError(
                f"Resize (node {node.name!r}) of an opset before 11 shrinks one axis and stretches another by less "
                "than 2, which no later Resize does in the same way; export the model at opset 11 or newer"
            )
        else:
            name = node.output[0]
            one, down, up, smaller = (f"{name}/{part}" for part in ("one", "down", "up", "smaller"))
            constants[one] = np.ones(1, np.float32)
            result += [
                helper.make_node("Min", [node.input[2], one], [down], name=down),
                helper.make_node("Max", [node.input[2], one], [up], name=up),
                _asymmetric(node, node.input[0], down, smaller, "ceil"),
                _asymmetric(node, smaller, up, name, "floor"),
            ]
    return result


def _asymmetric(node: NodeProto, x: str, scales: str, y: str, nearest: str) -> NodeProto:
    attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    attrs |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": nearest}
    return helper.make_node("Resize", [x, "", scales], [y], name=node.name if y == node.output[0] else y, **attrs)
