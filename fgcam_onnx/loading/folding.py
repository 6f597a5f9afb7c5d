"""Fold what is constant: shape chains, Constant nodes, If with a fixed condition; drop what nothing reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from onnx_graphsurgeon.logger import G_LOGGER

from ..errors import ModelError
from ..graph.gaps import infer_shapes
from ..graph.model import LARGE
from ..graph.subgraphs import CONTROL
from ..wheels import onnxruntime_module
from .computing import FOLDED_BYTES, GROWING, closed, computed

UNBOUNDED = frozenset({"Loop", "Scan"})


def folded(proto: ModelProto, constants: Mapping[str, NDArray[Any]]) -> tuple[ModelProto, dict[str, NDArray[Any]]]:
    """Return the graph without its constant parts, and the constants it still reads.

    Large constants take part as typed inputs, so that weights are neither copied nor changed: what only
    reads weights (a transposed or dequantized weight) stays in the graph for the runtime to fold.
    """
    small = {n: a for n, a in constants.items() if a.size <= LARGE}
    if not _foldable(proto, small):
        return proto, _read_of(proto, constants)
    proto, constants = computed(proto, constants)
    if all(n.op_type not in CONTROL for n in proto.graph.node):
        return proto, _read_of(proto, constants)
    metadata = {n.output[0]: n for n in proto.graph.node if n.metadata_props}
    try:
        clean = gs.export_onnx(_folded(closed(proto, constants)))
    except ValueError:  # an attribute that is a list without elements, which graphsurgeon cannot write
        return proto, _read_of(proto, constants)
    kept = dict(constants) | {t.name: numpy_helper.to_array(t) for t in clean.graph.initializer}
    result = ModelProto()
    result.CopyFrom(proto)
    result.graph.ClearField("node")
    for node in clean.graph.node:
        old = metadata.get(node.output[0]) if node.output else None
        if old is not None and not node.metadata_props:
            node.metadata_props.extend(old.metadata_props)
        result.graph.node.append(node)
    return result, _read_of(result, kept)


def _read_of(proto: ModelProto, constants: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    read = _reads(proto)
    return {n: a for n, a in constants.items() if n in read}


def _folded(model: ModelProto) -> gs.Graph:
    """Fold inside graphs of a graph, too, and take the branch of an If whose condition is known."""
    onnxruntime_module()  # graphsurgeon folds through it
    before = math.inf
    while True:
        try:
            model = infer_shapes(model, data_prop=True)
        except (onnx.shape_inference.InferenceError, MemoryError) as error:
            raise ModelError(f"the graph is not consistent: {error}") from None
        left: list[str] = []
        with G_LOGGER.suppress():
            graph = gs.import_onnx(model)
            try:
                graph.fold_constants(size_threshold=FOLDED_BYTES, should_exclude_node=_leaves(left))
            except Exception as error:  # graphsurgeon and the runtime raise what they meet in invalid graphs
                raise ModelError(f"the graph's constants cannot be computed: {error}") from error
        graph.cleanup().toposort()
        waiting = left or any(n.op in ("Shape", "Size") for n in graph.nodes)
        if not waiting or len(graph.nodes) >= before:
            return graph
        before = len(graph.nodes)
        model = gs.export_onnx(graph)


def _leaves(left: list[str]) -> Callable[[gs.Node], bool]:
    """Return what tells a node that is not to be folded; those of unknown size are noted in ``left``."""

    def leaves(node: gs.Node) -> bool:
        if node.op in UNBOUNDED:
            return True
        for output in node.outputs:
            shape = output.shape
            if shape is None or not all(isinstance(d, int) for d in shape):
                if node.op in GROWING:
                    left.append(node.name)
                    return True
            elif math.prod(shape) > FOLDED_BYTES:
                return True
        return False

    return leaves


def _foldable(proto: ModelProto, small: Mapping[str, Any]) -> bool:
    """Tell whether any node reads nothing but small constants, or asks for a shape."""
    return any(
        n.op_type in ("Shape", "Size", "If", "Constant") or all(i in small for i in n.input if i)
        for n in proto.graph.node
    )


def _reads(proto: ModelProto) -> set[str]:
    names: set[str] = {o.name for o in proto.graph.output}
    stack = list(proto.graph.node)
    while stack:
        node = stack.pop()
        names.update(node.input)
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                stack.extend(graph.node)
    return names
