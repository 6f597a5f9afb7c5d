"""Loops whose number of steps is fixed (Loop, Scan), written out step by step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TypeProto, helper

from ..graph.model import dims_of
from ..graph.subgraphs import graphs_of, nodes_inside
from .recurrent import LONGEST
from .weights import constant_node, read_tensor

MOST_NODES = 20_000
"""Nodes that all the loops of a graph are written out to, at most; larger ones stay."""

PASSES = frozenset({"Cast", "Identity"})
LOOPS = frozenset({"Loop", "Scan"})

Arrays = Mapping[str, NDArray[Any]]
Types = Mapping[str, TypeProto]


@dataclass
class _Written:
    """What is written so far: nodes, the constants of the bodies, and names that stand for others."""

    constants: dict[str, NDArray[Any]]
    types: Types
    nodes: list[NodeProto] = field(default_factory=list)

    def node(self, op: str, inputs: Iterable[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, name: str, array: NDArray[Any]) -> str:
        self.constants[name] = array
        return name


def unrolled(proto: ModelProto, constants: Arrays, types: Types) -> tuple[ModelProto, dict[str, NDArray[Any]]] | None:
    """Return the graph with every Loop and Scan of a fixed number of steps written out; None where there is none.

    A Loop's number is fixed where its limit is constant and its body never ends it, a Scan's where the length of what
    it reads is known (``types``). At most ``LONGEST`` steps and ``MOST_NODES`` nodes are written out.
    """
    if not any(n.op_type in LOOPS and not n.domain for n in proto.graph.node):
        return None
    written, changed = _Written(dict(constants), types), False
    for node in proto.graph.node:
        steps = _steps(node, written)
        size = sum(1 for g in graphs_of(node) for _ in nodes_inside(g.node)) * (steps or 0)
        empty = steps == 0 and len(node.output) > _states(node)
        if steps is None or empty or steps > LONGEST or len(written.nodes) + size > MOST_NODES:
            written.nodes.append(node)
            continue
        changed = True
        (_loop if node.op_type == "Loop" else _scan)(written, node, steps)
    if not changed:
        return None
    result = ModelProto()
    result.CopyFrom(proto)
    del result.graph.node[:]
    result.graph.node.extend(written.nodes)
    return result, written.constants


def _states(node: NodeProto) -> int:
    """Return how many states a loop carries from step to step; what else it gives is collected."""
    scanned = next((a.i for a in node.attribute if a.name == "num_scan_inputs"), 0)
    return len(node.input) - (2 if node.op_type == "Loop" else scanned)


def _steps(node: NodeProto, written: _Written) -> int | None:
    """Return how often a loop's body runs; None where that is not fixed, or it is no loop."""
    if node.op_type not in LOOPS or node.domain:
        return None
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    body = attributes.get("body")
    if not isinstance(body, GraphProto):
        return None
    if node.op_type == "Loop":
        limit, start = ([*node.input, "", ""])[:2]
        if limit not in written.constants or (start and start not in written.constants):
            return None
        if start and not bool(written.constants[start].reshape(-1)[0]):
            return 0
        return max(0, int(written.constants[limit].reshape(-1)[0])) if _goes_on(body, written.constants) else None
    count = int(attributes["num_scan_inputs"])
    axes = [int(a) for a in attributes.get("scan_input_axes", [0] * count)]
    for name, axis in zip(node.input[len(node.input) - count :], axes, strict=True):
        kind = written.types.get(name)
        array = written.constants.get(name)
        if array is not None:
            return int(array.shape[axis])
        if kind is not None and kind.tensor_type.HasField("shape"):
            dim = dims_of(kind)[axis]
            if isinstance(dim, int):
                return dim
    return None


def _goes_on(body: GraphProto, outside: Arrays) -> bool:
    """Tell a body that never ends its loop: its condition is the one that it was given, or true."""
    makers = {o: n for n in body.node for o in n.output}
    known = {t.name: read_tensor(t, None) for t in body.initializer}
    name = body.output[0].name
    while (node := makers.get(name)) is not None and node.op_type in PASSES:
        name = node.input[0]
    array = constant_node(node, None) if node is not None else known.get(name, outside.get(name))
    return name == body.input[1].name or (array is not None and bool(array.reshape(-1)[0]))


def _loop(written: _Written, node: NodeProto, steps: int) -> None:
    body = next(a.g for a in node.attribute if a.name == "body")
    carried = list(node.input[2:])
    count = len(carried)
    collected: list[list[str]] = [[] for _ in body.output[1 + count :]]
    for step in range(steps):
        scope = f"{node.output[0]}/step_{step}"
        number = written.constant(f"{scope}/number", np.array(step, np.int64))
        going = written.constant(f"{scope}/going", np.array(True))
        made = _body(written, body, [number, going, *carried], scope)
        carried = made[1 : 1 + count]
        for row, name in zip(collected, made[1 + count :], strict=True):
            row.append(_unsqueezed(written, name, 0, f"{scope}/{name}/row"))
    _ends(written, node, carried, [(rows, 0) for rows in collected])


def _scan(written: _Written, node: NodeProto, steps: int) -> None:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    body, count = attributes["body"], int(attributes["num_scan_inputs"])
    states = len(node.input) - count
    carried, scanned = list(node.input[:states]), list(node.input[states:])
    outputs = len(body.output) - states
    axes = [int(a) for a in attributes.get("scan_input_axes", [0] * count)]
    out_axes = [int(a) for a in attributes.get("scan_output_axes", [0] * outputs)]
    backwards = [bool(d) for d in attributes.get("scan_input_directions", [0] * count)]
    out_backwards = [bool(d) for d in attributes.get("scan_output_directions", [0] * outputs)]
    collected: list[list[str]] = [[] for _ in range(outputs)]
    for step in range(steps):
        scope, read = f"{node.output[0]}/step_{step}", []
        for k, (name, axis, back) in enumerate(zip(scanned, axes, backwards, strict=True)):
            at = written.constant(f"{scope}/at_{k}", np.array(steps - 1 - step if back else step, np.int64))
            read.append(written.node("Gather", [name, at], f"{scope}/element_{k}", axis=axis))
        made = _body(written, body, [*carried, *read], scope)
        carried = made[:states]
        for k, name in enumerate(made[states:]):
            row = _unsqueezed(written, name, out_axes[k], f"{scope}/{name}/row")
            collected[k] = [row, *collected[k]] if out_backwards[k] else [*collected[k], row]
    _ends(written, node, carried, list(zip(collected, out_axes, strict=True)))


def _ends(written: _Written, node: NodeProto, carried: list[str], collected: list[tuple[list[str], int]]) -> None:
    """Give what the steps left the names of the loop's outputs."""
    for name, output in zip(carried, node.output, strict=False):
        if output:
            written.node("Identity", [name], output)
    for (rows, axis), output in zip(collected, node.output[len(carried) :], strict=False):
        if output:
            written.node("Concat", rows, output, axis=axis)


def _unsqueezed(written: _Written, name: str, axis: int, output: str) -> str:
    axes = written.constant(f"{output}/axis", np.array([axis], np.int64))
    return written.node("Unsqueeze", [name, axes], output)


def _body(written: _Written, body: GraphProto, inputs: list[str], scope: str) -> list[str]:
    """Write a body once, every name of its own under ``scope``; return what its outputs are called."""
    names = {i.name: given for i, given in zip(body.input, inputs, strict=True)}
    for tensor in body.initializer:
        names[tensor.name] = written.constant(f"{scope}/{tensor.name}", read_tensor(tensor, None))
    for node in body.node:
        array = constant_node(node, None)
        own = {o: f"{scope}/{o}" for o in node.output if o}
        if array is not None:
            written.constant(own[node.output[0]], array)
        else:
            written.nodes.append(_renamed(node, names | own, scope))
        names |= own
    return [names.get(o.name, o.name) for o in body.output]


def _renamed(node: NodeProto, names: Mapping[str, str], scope: str) -> NodeProto:
    """Return a node that reads and writes what ``names`` say, in the graphs that it holds, too."""
    new = NodeProto()
    new.CopyFrom(node)
    new.name = f"{scope}/{node.name or next(iter(node.output))}"
    new.input[:] = [names.get(i, i) for i in node.input]
    new.output[:] = [names.get(o, o) for o in node.output]
    for graph in graphs_of(new):
        _rename_graph(graph, names)
    return new


def _rename_graph(graph: GraphProto, names: Mapping[str, str]) -> None:
    own = set(_own(graph))
    seen = {k: v for k, v in names.items() if k not in own}
    for node in graph.node:
        node.input[:] = [seen.get(i, i) for i in node.input]
        for inner in graphs_of(node):
            _rename_graph(inner, seen)
    for output in graph.output:
        output.name = seen.get(output.name, output.name)


def _own(graph: GraphProto) -> Iterator[str]:
    yield from (i.name for i in graph.input)
    yield from (t.name for t in graph.initializer)
    yield from (o for n in graph.node for o in n.output)
