"""Compute what reads nothing but small constants, and sizes that are known, by the runtime's own kernels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TypeProto, ValueInfoProto, helper, numpy_helper

from ..errors import ModelError
from ..graph.gaps import infer_shapes
from ..graph.model import LARGE, dims_of
from ..graph.shapes import Dim
from ..graph.subgraphs import CONTROL, reads
from ..wheels import FATAL_ONLY, onnxruntime_module

FOLDED_BYTES = LARGE * 64
"""What is larger is left to the runtime, which computes it again each time; what it is made of may be small."""

KEPT = CONTROL | {"DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"}
"""Operators that stay, whatever they read: what is quantized is to be seen as such."""

GROWING = frozenset(
    "BlackmanWindow CenterCropPad ConstantOfShape Expand HammingWindow HannWindow MelWeightMatrix OneHot Pad"
    " Range Resize Tile Upsample".split()
)
"""Operators whose inputs' values, not shapes, say how much they make."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass
class _Round:
    """What one pass over the nodes finds.

    Attributes
    ----------
    known : dict of str to array
        Constants, and sizes that have become known.
    partly : dict of str to list
        Shapes of which some sizes are not known.
    run : dict of str to NodeProto
        The nodes that read nothing else, by output.
    large : set of str
        Their outputs that are too large to be kept.
    left : bool
        Whether a node of unknown size had to stay.
    """

    known: dict[str, NDArray[Any]]
    partly: dict[str, list[Dim]] = field(default_factory=dict)
    run: dict[str, NodeProto] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)
    left: bool = False


def computed(proto: ModelProto, constants: Arrays) -> tuple[ModelProto, dict[str, NDArray[Any]]]:
    """Return the graph without what can be computed and what nothing reads, and its constants.

    Sizes found in one pass show further ones to the next, as long as there are any.

    Raises
    ------
    ModelError
        The graph contradicts itself.
    """
    result, small = ModelProto(), {n: a for n, a in constants.items() if a.size <= LARGE}
    result.CopyFrom(proto)
    found: dict[str, NDArray[Any]] = {}
    large: set[str] = set()
    while True:
        read = {i for n in result.graph.node for i in reads(n)} | {o.name for o in result.graph.output}
        try:
            still = {n: a for n, a in {**constants, **found}.items() if n in read}
            typed = infer_shapes(closed(result, still), data_prop=True).graph
        except (onnx.shape_inference.InferenceError, MemoryError) as error:
            raise ModelError(f"the graph is not consistent: {error}") from None
        types = {i.name: i.type for i in (*typed.input, *typed.value_info, *typed.output)}
        types |= {t.name: helper.make_tensor_type_proto(t.data_type, t.dims) for t in typed.initializer}
        passed = _passed(result.graph.node, types, _Round({**small, **found}, large=set(large)))
        new = _values(result, passed, before={*small, *found})
        before = len(found) + len(large)
        large |= {n for n, a in new.items() if a.nbytes > FOLDED_BYTES}
        found |= {n: a for n, a in new.items() if n not in large}
        nodes = _read(result, found)
        del result.graph.node[:]
        result.graph.node.extend(nodes)
        if len(found) + len(large) == before or not (passed.left or any(n.op_type in ("Shape", "Size") for n in nodes)):
            return result, {**constants, **found}


def closed(proto: ModelProto, constants: Mapping[str, NDArray[Any]]) -> ModelProto:
    """Return a valid model for onnx's own tools: small constants inside, large ones as typed inputs."""
    closed = ModelProto()
    closed.CopyFrom(proto)
    for name, array in constants.items():
        if array.size <= LARGE or array.dtype == object:
            closed.graph.initializer.append(numpy_helper.from_array(array, name))
        else:
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            closed.graph.input.append(helper.make_tensor_value_info(name, kind, array.shape))
    outputs = {o.name: o.type for o in closed.graph.output}  # inference takes an output's word for its type
    for info in closed.graph.input:
        if info.name in outputs:
            outputs[info.name].CopyFrom(info.type)
    for tensor in closed.graph.initializer:
        if tensor.name in outputs:
            outputs[tensor.name].CopyFrom(helper.make_tensor_type_proto(tensor.data_type, tensor.dims))
    return closed


def _passed(nodes: Iterable[NodeProto], types: Mapping[str, TypeProto], found: _Round) -> _Round:
    for node in nodes:
        size = _size(node, types, found)
        if size is not None:
            found.known[node.output[0]] = size
            continue
        constant = all(not i or i in found.known or i in found.run for i in node.input)
        if not constant or node.domain or node.op_type in KEPT:
            continue
        made = {o: [_whole(d) for d in _dims(types.get(o)) or (None,)] for o in node.output if o}
        if node.op_type in GROWING and any(None in sizes for sizes in made.values()):
            found.left = True
        elif all(math.prod(s for s in sizes if s is not None) <= FOLDED_BYTES for sizes in made.values()):
            found.run.update(dict.fromkeys(made, node))
            found.large.update(o for o, sizes in made.items() if None not in sizes and _bytes(types[o]) > FOLDED_BYTES)
    return found


def _size(node: NodeProto, types: Mapping[str, TypeProto], found: _Round) -> NDArray[np.int64] | None:
    """Return a shape or a part of one, where all its sizes are known."""
    if node.domain or node.op_type not in ("Shape", "Size", "Gather", "Slice"):
        return None
    source, attrs = node.input[0], {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type in ("Shape", "Size"):
        dims = _dims(types.get(source))
        if dims is None:
            return None
        if node.op_type == "Size":
            return np.array(math.prod(map(int, dims))) if None not in map(_whole, dims) else None  # type: ignore[arg-type]
        return _noted(node.output[0], list(dims[attrs.get("start", 0) : attrs.get("end", len(dims))]), found)
    if source not in found.partly or not all(i in found.known for i in node.input[1:] if i):
        return None
    dims, given = found.partly[source], [found.known[i] for i in node.input[1:] if i]
    if node.op_type == "Gather":
        if not all(-len(dims) <= i < len(dims) for i in given[0].ravel()):
            return None
        picked = [dims[i] for i in given[0].ravel()]
        size = _noted(node.output[0] if given[0].ndim == 1 else "", picked, found)
        return None if size is None else size.reshape(given[0].shape)
    if any(g.size != 1 for g in given) or (len(given) == 4 and not given[3].any()):
        return None
    start, end, step = (int(g.ravel()[0]) for g in (*given[:2], given[3] if len(given) > 3 else np.ones(1)))
    return _noted(node.output[0], dims[start:end:step], found)


def _noted(name: str, dims: list[Dim], found: _Round) -> NDArray[np.int64] | None:
    """Return sizes as an array; what is not all known is noted under ``name``."""
    sizes = [_whole(d) for d in dims]
    if None not in sizes:
        return np.array(sizes, np.int64)
    if name:
        found.partly[name] = dims
    return None


def _values(proto: ModelProto, passed: _Round, *, before: set[str]) -> dict[str, NDArray[Any]]:
    """Return what is now known and was not ``before``: sizes, and what the runtime computes for nodes that stay."""
    new = {n: a for n, a in passed.known.items() if n not in before}
    gone = passed.run.keys() - passed.large
    outside = {i for n in proto.graph.node if gone.isdisjoint(n.output) for i in reads(n)}
    outside |= {o.name for o in proto.graph.output}
    wanted = [o for o in passed.run if o in outside and o in gone]
    if not wanted:
        return new
    return new | _run(_needed(proto.graph.node, wanted, passed), wanted, passed.known, proto.opset_import)


def _needed(nodes: Iterable[NodeProto], wanted: Sequence[str], passed: _Round) -> list[NodeProto]:
    names, kept = set(wanted), []
    for node in reversed(list(nodes)):
        if not names.isdisjoint(node.output) and not passed.run.keys().isdisjoint(node.output):
            kept.append(node)
            names.update(i for i in node.input if i not in passed.known)
    return kept[::-1]


def _run(
    nodes: Sequence[NodeProto], wanted: Sequence[str], known: Arrays, opsets: Iterable[OperatorSetIdProto]
) -> dict[str, NDArray[Any]]:
    """Compute ``wanted``; nothing where the runtime does not run it, which says so when the model is run."""
    graph = GraphProto(name="constants")
    graph.node.extend(nodes)
    read = dict.fromkeys(i for n in nodes for i in n.input if i in known)
    graph.initializer.extend(numpy_helper.from_array(known[i], i) for i in read)
    graph.output.extend(ValueInfoProto(name=n) for n in wanted)
    model = helper.make_model(graph, opset_imports=list(opsets), ir_version=10)
    runtime = onnxruntime_module()
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, FATAL_ONLY
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        arrays = session.run(list(wanted), {})
    except Exception:  # the runtime raises what it meets in invalid graphs
        return {}
    return {n: a for n, a in zip(wanted, arrays, strict=True) if isinstance(a, np.ndarray)}


def _read(proto: ModelProto, found: dict[str, NDArray[Any]]) -> list[NodeProto]:
    """Return the nodes that something reads of which no constant is known."""
    names, kept = {o.name for o in proto.graph.output}, []
    for node in reversed(proto.graph.node):
        if any(o in names and o not in found for o in node.output):
            for name in node.output:  # a tensor has one origin, where another output of its node is not known
                found.pop(name, None)
            kept.append(node)
            names.update(reads(node))
    return kept[::-1]


def _dims(kind: TypeProto | None) -> Sequence[Dim] | None:
    return dims_of(kind) if kind is not None and kind.tensor_type.HasField("shape") else None


def _whole(dim: Dim) -> int | None:
    return dim if isinstance(dim, int) else None


def _bytes(kind: TypeProto) -> int:
    size = helper.tensor_dtype_to_np_dtype(kind.tensor_type.elem_type).itemsize
    return int(size * math.prod(d for d in dims_of(kind) if isinstance(d, int)))
