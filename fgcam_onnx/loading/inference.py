"""Type every tensor: shape inference by onnx, and a probe where the free batch stands in its way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, TypeProto, helper

from ..errors import ModelError
from ..graph.gaps import infer_shapes
from ..graph.model import dims_of
from ..graph.shapes import Dim
from .computing import closed
from .folding import folded

BATCH = "N"
PROBES = (2, 3)
"""Batch sizes that tell what depends on the batch from what does not."""


def infer_types(proto: ModelProto, constants: Mapping[str, NDArray[Any]]) -> dict[str, TypeProto]:
    """Return the type of every tensor that inference reaches, constants included.

    Shape chains that run through a free batch (``Shape``, ``Gather``, ``Concat``, ``Reshape``) can hide the
    other sizes, and the batch itself. Where that happens, inference is done at two batch sizes: a dimension
    that is the same in both is fixed, one that is each time the batch is the batch, any other is free.

    Raises
    ------
    ModelError
        The graph contradicts itself.
    """
    types = _infer(proto, constants)
    if _settled(types):
        return types
    first, second = (_probe(proto, constants, n) for n in PROBES)
    for name in first.keys() & second.keys():
        if _ranked(first[name]) and _ranked(second[name]):
            types[name] = _common(first[name], second[name])
    return types


def type_of(array: NDArray[Any]) -> TypeProto:
    """Return the type of a constant."""
    kind = TensorProto.STRING if array.dtype == object else helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_type_proto(kind, array.shape)


def _infer(proto: ModelProto, constants: Mapping[str, NDArray[Any]]) -> dict[str, TypeProto]:
    try:
        typed = infer_shapes(closed(proto, constants), data_prop=True, strict_mode=True)
    except (onnx.shape_inference.InferenceError, MemoryError) as error:
        raise ModelError(f"the graph is not consistent: {error}") from None
    graph = typed.graph
    types = {n: type_of(a) for n, a in constants.items()}
    return types | {i.name: i.type for i in (*graph.input, *graph.value_info, *graph.output)}


def _ranked(kind: TypeProto) -> bool:
    return bool(kind.HasField("tensor_type") and kind.tensor_type.HasField("shape"))


def _settled(types: Mapping[str, TypeProto]) -> bool:
    """Tell whether every tensor has a shape of fixed sizes, the batch as its first dimension aside."""
    return all(
        not kind.HasField("tensor_type")
        or (_ranked(kind) and all(isinstance(d, int) or (d == BATCH and not i) for i, d in enumerate(dims_of(kind))))
        for kind in types.values()
    )


def _probe(proto: ModelProto, constants: Mapping[str, NDArray[Any]], batch: int) -> dict[str, TypeProto]:
    """Return the types at a fixed batch, shape chains folded away; what only those read is typed, too."""
    fixed = ModelProto()
    fixed.CopyFrom(proto)
    for info in fixed.graph.input:
        for dim in info.type.tensor_type.shape.dim:
            if dim.dim_param == BATCH:
                dim.dim_value = batch
    result, kept = folded(fixed, constants)
    types = _infer(result, kept)
    if all(o in types for n in proto.graph.node for o in n.output):
        return types
    nodes = [n for n in fixed.graph.node if not kept.keys() >= set(n.output)]
    del fixed.graph.node[:]
    fixed.graph.node.extend(nodes)
    return _infer(fixed, {**constants, **kept}) | types


def _common(first: TypeProto, second: TypeProto) -> TypeProto:
    def dim(a: Dim, b: Dim) -> Dim:
        return a if a == b else BATCH if (a, b) == PROBES else None

    dims = [dim(a, b) for a, b in zip(dims_of(first), dims_of(second), strict=True)]
    return helper.make_tensor_type_proto(first.tensor_type.elem_type, dims)
