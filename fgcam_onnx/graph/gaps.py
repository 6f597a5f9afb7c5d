"""What onnx's type inference leaves out: some functions of the standard, and ONNX Runtime's own operators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TypeProto, helper

from .quantization import layout_of
from .rounding import SIZED, with_sizes

KEEPS_TYPE = frozenset({"GroupNormalization", "MeanVarianceNormalization"})
"""Functions of the standard that onnx finds no type for: their output has the type of their input."""

Types = Mapping[str, TypeProto]
Dims = list[Any]


def infer_shapes(proto: ModelProto, **options: Any) -> ModelProto:
    """Infer shapes as onnx does, go on where it stops at an operator that it does not know, and size as runtimes do."""
    written = proto
    while True:
        try:
            typed = _continued(written, **options)
        except onnx.shape_inference.InferenceError:
            typed = _continued(written, data_prop=True)
            sized = _sized(written, typed)
            if sized is None:
                raise
        else:
            sized = _sized(written, typed)
        if sized is None:
            break
        written = sized
    if written is not proto:
        for field in ("node", "initializer"):
            typed.graph.ClearField(field)
            getattr(typed.graph, field).extend(getattr(proto.graph, field))
    return typed


def _sized(written: ModelProto, typed: ModelProto) -> ModelProto | None:
    return with_sizes(written, _types(typed)) if any(n.op_type in SIZED for n in written.graph.node) else None


def _continued(proto: ModelProto, **options: Any) -> ModelProto:
    """Infer in rounds: each types the operators whose inputs have become known, and onnx goes on from there."""
    typed = _onnx_infers(proto, **options)
    gaps = [n for n in proto.graph.node if key_of(n) in OUTPUT_SHAPES]
    while gaps:
        types = _types(typed)
        ready = [n for n in gaps if all(_ranked(types.get(name)) for name in _shape_sources(n))]
        if not ready:
            return typed
        for node in ready:
            _note(typed, node, OUTPUT_SHAPES[key_of(node)](node, types))
        gaps = [n for n in gaps if n not in ready]
        typed = _onnx_infers(typed, **options)
    return typed


def _onnx_infers(proto: ModelProto, **options: Any) -> ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(proto, **options)
    except ValueError as error:  # of an element type that there is not
        raise onnx.shape_inference.InferenceError(str(error)) from None


def untyped(name: str, types: Types, nodes: Iterable[NodeProto]) -> str:
    """Say which node keeps inference from the shape of tensor ``name``."""
    known = {n for n, t in types.items() if t.tensor_type.HasField("shape")}
    stop = next((n for n in nodes if any(n.output) and not known.issuperset(filter(None, n.output))), None)
    if stop is None:
        return f"the shape of tensor {name!r} is not known"
    return (
        f"the shape of tensor {name!r} is not known: inference stops at '{key_of(stop)}' (node {stop.name!r}). "
        "Export the model with standard operators, or fix the sizes of its inputs."
    )


def key_of(node: NodeProto) -> str:
    """Return operator and domain as one key."""
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def _types(proto: ModelProto) -> dict[str, TypeProto]:
    graph = proto.graph
    types = {t.name: helper.make_tensor_type_proto(t.data_type, list(t.dims)) for t in graph.initializer}
    return types | {i.name: i.type for i in (*graph.input, *graph.value_info, *graph.output)}


def _ranked(kind: TypeProto | None) -> bool:
    return kind is not None and bool(kind.tensor_type.HasField("shape"))


def _shape_sources(node: NodeProto) -> list[str]:
    """Return the inputs whose shapes decide."""
    layout = layout_of(node)
    places = [0] if layout is None else [*layout.plain, *(i for i, _, _ in layout.data)]
    return [str(node.input[i]) for i in places]


def _dims(types: Types, name: str) -> Dims:
    return [
        d.dim_value if d.HasField("dim_value") else (d.dim_param or None) for d in types[name].tensor_type.shape.dim
    ]


def _note(proto: ModelProto, node: NodeProto, dims: Dims) -> None:
    """Write the types of a node's outputs into the graph: of a quantized one that of its zero point."""
    layout, given = layout_of(node), [*node.input, *[""] * 9]
    position = layout.out[1] if layout is not None and layout.out is not None else 0
    kind = _types(proto)[given[position]].tensor_type.elem_type if given[position] else int(onnx.TensorProto.FLOAT)
    for name, sizes in zip(node.output, dims if dims and isinstance(dims[0], list) else [dims], strict=False):
        info = helper.make_tensor_value_info(name, kind, sizes)
        known = next((o for o in proto.graph.output if o.name == name), None)
        if known is not None:
            known.type.CopyFrom(info.type)
        elif name:
            proto.graph.value_info.append(info)


def _like_first(node: NodeProto, types: Types) -> Dims:
    return _dims(types, node.input[0])


def _broadcast(node: NodeProto, types: Types) -> Dims:
    parts = [_dims(types, name) for name in _shape_sources(node)]
    rank = max(map(len, parts))
    aligned = zip(*([1] * (rank - len(p)) + p for p in parts), strict=True)
    return [next((d for d in sizes if d != 1), 1) for sizes in aligned]


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _global_pool(node: NodeProto, types: Types) -> Dims:
    dims = _dims(types, node.input[0])
    if _attribute(node, "channels_last", 0):
        return [dims[0], *[1] * (len(dims) - 2), dims[-1]]
    return [*dims[:2], *[1] * (len(dims) - 2)]


def _pool(node: NodeProto, types: Types) -> Dims:
    dims = _dims(types, node.input[0])
    kernel = _attribute(node, "kernel_shape", [])
    pads = _attribute(node, "pads", [0] * 2 * len(kernel))
    strides = _attribute(node, "strides", [1] * len(kernel))
    rounded = np.ceil if _attribute(node, "ceil_mode", 0) else np.floor
    space = [
        int(rounded((d + pads[i] + pads[len(kernel) + i] - k) / s)) + 1 if isinstance(d, int) else None
        for i, (d, k, s) in enumerate(zip(dims[2:], kernel, strides, strict=True))
    ]
    return [*dims[:2], *space]


def _concat(node: NodeProto, types: Types) -> Dims:
    parts = [_dims(types, node.input[i]) for i in range(2, len(node.input), 3)]
    axis = _attribute(node, "axis", 0)
    sizes = [p[axis] for p in parts]
    dims = list(parts[0])
    dims[axis] = sum(sizes) if all(isinstance(s, int) for s in sizes) else None
    return dims


def _gemm(node: NodeProto, types: Types) -> Dims:
    a, b = _dims(types, node.input[0]), _dims(types, node.input[3])
    rows = a[1] if _attribute(node, "transA", 0) else a[0]
    return [rows, b[0] if _attribute(node, "transB", 0) else b[1]]


def _lstm(node: NodeProto, types: Types) -> Dims:
    steps, batch = [*_dims(types, node.input[0]), None, None][:2]
    directions = 2 if _attribute(node, "direction", b"forward") == b"bidirectional" else 1
    last = [directions, batch, _attribute(node, "hidden_size", None)]
    return [[steps, *last], last, last]


def _last(node: NodeProto, types: Types) -> Dims:
    return [*_dims(types, node.input[0])[:-1], _attribute(node, "N", None)]


def _packed(node: NodeProto, types: Types) -> Dims:
    """Return the rows of all texts, end to end, and the width of a value."""
    given = [_dims(types, n) if n and _ranked(types.get(n)) else [] for n in (*node.input, "", "", "")]
    if node.op_type == "PackedAttention":
        wide = given[2][-1] // 3 if given[2] and isinstance(given[2][-1], int) else None
        return [given[0][0], (_attribute(node, "qkv_hidden_sizes", None) or [wide])[-1]]
    return [given[0][0], given[2][-1] if given[2] else None]


OUTPUT_SHAPES: dict[str, Callable[[NodeProto, Types], Dims]] = {
    **dict.fromkeys(KEEPS_TYPE, _like_first),
    "com.microsoft.DynamicQuantizeLSTM": _lstm,
    "com.microsoft.MatMulNBits": _last,
    "com.microsoft.PackedAttention": _packed,
    "com.microsoft.PackedMultiHeadAttention": _packed,
    "com.microsoft.QGemm": _gemm,
    "com.microsoft.QLinearAdd": _broadcast,
    "com.microsoft.QLinearAveragePool": _pool,
    "com.microsoft.QLinearConcat": _concat,
    "com.microsoft.QLinearGlobalAveragePool": _global_pool,
    "com.microsoft.QLinearLeakyRelu": _like_first,
    "com.microsoft.QLinearMul": _broadcast,
    "com.microsoft.QLinearSigmoid": _like_first,
    "com.microsoft.QLinearSoftmax": _like_first,
    "com.microsoft.QLinearWhere": _broadcast,
}
