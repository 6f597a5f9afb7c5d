"""Sequences whose parts are known when the file is loaded: each is the tensors that it holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TypeProto, helper

from ..graph.model import dims_of
from ..graph.subgraphs import reads

OPERATORS = frozenset(
    "ConcatFromSequence Identity SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength"
    " SplitToSequence".split()
)

Arrays = Mapping[str, NDArray[Any]]
Types = Mapping[str, TypeProto]


def without_sequences(
    proto: ModelProto, constants: Arrays, types: Types
) -> tuple[ModelProto, dict[str, NDArray[Any]]] | None:
    """Return the graph with what reads a known sequence reading the tensors in it; None where nothing does.

    Positions and the sizes of parts must be constants, or sizes that are known (``types``). What stays is what
    something else reads: a loop, an output.
    """
    if not any("Sequence" in n.op_type and not n.domain for n in proto.graph.node):
        return None
    known, held = dict(constants), dict[str, tuple[str, ...]]()
    nodes: list[NodeProto] = []
    for node in proto.graph.node:
        if node.domain or node.op_type not in OPERATORS or not _settled(node, known, held, types, nodes):
            nodes.append(node)
    kept = _needed(nodes, held, {o.name for o in proto.graph.output})
    if len(kept) == len(proto.graph.node) and all(a is b for a, b in zip(kept, proto.graph.node, strict=True)):
        return None
    result = ModelProto()
    result.CopyFrom(proto)
    del result.graph.node[:]
    result.graph.node.extend(kept)
    return result, known


def _settled(
    node: NodeProto, known: dict[str, NDArray[Any]], held: dict[str, tuple[str, ...]], types: Types,
    nodes: list[NodeProto],
) -> bool:  # fmt: skip
    """Note or write what a node makes; False where it is not known, and the node is to stay."""
    op, out = node.op_type, node.output[0]
    if op in ("SequenceConstruct", "SequenceEmpty"):
        held[out] = tuple(node.input)
        nodes.append(node)  # read by what is not settled, else dropped
        return True
    if op == "SplitToSequence":
        return _split(node, known, held, types, nodes)
    parts = held.get(node.input[0])
    if parts is None:
        return False
    if op == "Identity":
        held[out] = parts
        nodes.append(node)
    elif op == "SequenceLength":
        known[out] = np.array(len(parts), np.int64)
    elif op == "ConcatFromSequence":
        _joined(node, parts, known, nodes)
    else:
        at = _position(node, known, len(parts))
        if at is None:
            return False
        if op == "SequenceAt":
            nodes.append(helper.make_node("Identity", [parts[at]], [out], name=node.name or out))
            return True
        inserted = (node.input[1],) if op == "SequenceInsert" else ()
        held[out] = (*parts[:at], *inserted, *parts[at + (op == "SequenceErase") :])
        nodes.append(node)
    return True


def _position(node: NodeProto, known: Arrays, length: int) -> int | None:
    """Return the position that a node names, the end where it names none; None where that is not known."""
    which = 2 if node.op_type == "SequenceInsert" else 1
    last = length if node.op_type == "SequenceInsert" else length - 1
    name = node.input[which] if len(node.input) > which else ""
    if not name:
        return last
    if name not in known:
        return None
    at = int(known[name].reshape(-1)[0])
    at = at + length if at < 0 else at
    return at if 0 <= at <= last else None


def _split(
    node: NodeProto, known: dict[str, NDArray[Any]], held: dict[str, tuple[str, ...]], types: Types,
    nodes: list[NodeProto],
) -> bool:  # fmt: skip
    attributes = {a.name: a.i for a in node.attribute}
    kind, axis = types.get(node.input[0]), attributes.get("axis", 0)
    ranked = kind is not None and kind.tensor_type.HasField("shape")
    size = dims_of(kind)[axis] if kind is not None and ranked else None
    given = node.input[1] if len(node.input) > 1 else ""
    if given and given not in known:
        return False
    sizes = known[given] if given else np.array(1)
    if sizes.ndim == 0:
        if not isinstance(size, int) or int(sizes) < 1:
            return False
        each = int(sizes)
        sizes = np.array([each] * (size // each) + ([size % each] if size % each else []), np.int64)
    out = node.output[0]
    parts = [f"{out}/part_{i}" for i in range(len(sizes))]
    squeezed = not given and not attributes.get("keepdims", 1)
    made = [f"{p}/kept" for p in parts] if squeezed else parts
    known[f"{out}/sizes"] = sizes.astype(np.int64)
    nodes.append(helper.make_node("Split", [node.input[0], f"{out}/sizes"], made, name=f"{out}/Split", axis=axis))
    if squeezed:
        known[f"{out}/axis"] = np.array([axis], np.int64)
        nodes += [
            helper.make_node("Squeeze", [a, f"{out}/axis"], [b], name=b) for a, b in zip(made, parts, strict=True)
        ]
    held[out] = tuple(parts)
    nodes.append(helper.make_node("SequenceConstruct", parts, [out], name=node.name or out))
    return True


def _joined(node: NodeProto, parts: tuple[str, ...], known: dict[str, NDArray[Any]], nodes: list[NodeProto]) -> None:
    attributes = {a.name: a.i for a in node.attribute}
    axis, out = attributes["axis"], node.output[0]
    if attributes.get("new_axis", 0):
        known[f"{out}/axis"] = np.array([axis], np.int64)
        rows = [f"{out}/row_{i}" for i in range(len(parts))]
        nodes += [
            helper.make_node("Unsqueeze", [p, f"{out}/axis"], [r], name=r) for p, r in zip(parts, rows, strict=True)
        ]
        parts = tuple(rows)
    nodes.append(helper.make_node("Concat", list(parts), [out], name=node.name or out, axis=axis))


def _needed(nodes: list[NodeProto], held: Mapping[str, tuple[str, ...]], outputs: set[str]) -> list[NodeProto]:
    """Drop what makes a sequence that nothing reads any more."""
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if node.output[0] in held and node.output[0] not in needed:
            continue
        needed.update(reads(node))
        kept.append(node)
    return kept[::-1]
