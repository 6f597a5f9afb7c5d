"""Operators that hold graphs of their own (If, Loop, Scan), and what those read from outside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from onnx import GraphProto, NodeProto

CONTROL = frozenset({"If", "Loop", "Scan", "SequenceMap"})


def reads(node: NodeProto) -> Sequence[str]:
    """Return every tensor that ``node`` reads, the outer ones that its graphs read included."""
    if node.op_type not in CONTROL:
        return list(node.input)
    return [*node.input, *dict.fromkeys(o for g in graphs_of(node) for o in _outer(g) if o not in node.input)]


def graphs_of(node: NodeProto) -> Iterator[GraphProto]:
    """Return the graphs that ``node`` holds."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _outer(graph: GraphProto) -> list[str]:
    """Return the names that ``graph`` reads and does not make."""
    made = {i.name for i in graph.input} | {t.name for t in graph.initializer}
    found: list[str] = []
    for node in graph.node:
        found += [name for name in reads(node) if name and name not in made]
        made.update(node.output)
    return found + [o.name for o in graph.output if o.name not in made]


def nodes_inside(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Return ``nodes`` and those of the graphs that they hold."""
    for node in nodes:
        yield node
        for graph in graphs_of(node):
            yield from nodes_inside(graph.node)
