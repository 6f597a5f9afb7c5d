"""Local functions: inline what an exporter left as calls."""

from __future__ import annotations

from collections.abc import Iterable

import onnx.inliner
from onnx import ModelProto, NodeProto

from ..errors import ModelError

MOST_NODES = 10**6
"""Functions that call each other twice a level grow a few lines to any size."""


def inlined(proto: ModelProto) -> ModelProto:
    """Return ``proto`` without local functions.

    Raises
    ------
    ModelError
        A function calls itself, or the calls make more than a million nodes.
    """
    if not proto.functions:
        return proto
    count = _count(proto)
    if count > MOST_NODES:
        raise ModelError(f"the model's functions make {count:.2g} nodes; at most {MOST_NODES} are supported")
    try:
        return onnx.inliner.inline_local_functions(proto)
    except Exception as error:  # onnx raises ValidationError, RuntimeError and others here
        raise ModelError(f"the model's functions cannot be inlined: {error}") from None


def _count(proto: ModelProto) -> float:
    """Return how many nodes there are once every call is written out."""
    bodies = {(f.domain, f.name, f.overload): f.node for f in proto.functions}
    sizes: dict[tuple[str, str, str], float] = {}

    def total(nodes: Iterable[NodeProto], inside: frozenset[tuple[str, str, str]]) -> float:
        return sum(size(node, inside) for node in nodes)

    def size(node: NodeProto, inside: frozenset[tuple[str, str, str]]) -> float:
        graphs = [g for a in node.attribute for g in (a.g, *a.graphs)]
        own = 1 + sum(total(g.node, inside) for g in graphs)
        key = (node.domain, node.op_type, node.overload)
        if key not in bodies:
            return own
        if key in inside:
            raise ModelError(f"function {node.op_type!r} calls itself: the model is not valid ONNX")
        if key not in sizes:
            sizes[key] = total(bodies[key], inside | {key})
        return own + sizes[key]

    try:
        return total(proto.graph.node, frozenset())
    except RecursionError:
        raise ModelError("the model's functions are nested too deep") from None
