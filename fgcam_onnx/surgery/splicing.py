"""Splicing: one graph out of two models that are meant to be one net, each layer computed by either."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto, helper

from ..errors import LayerError, ModelError
from ..graph.emitter import PREFIX
from ..graph.model import Model, dims_of
from ..graph.subgraphs import nodes_inside, reads
from ..loading.ordering import in_order

OWN = "/own"
"""Suffix of what a model itself computes where the other's result is read."""

CHANGED = {"GroupNormalization": 21}
"""Operators that mean something else from an opset on."""


@dataclass(frozen=True)
class Seam:
    """Tensors of two models that stand for the same.

    Attributes
    ----------
    reference, candidate : tuple of str
        What later layers read, in each; all of one model's are equal.
    order : tuple of int
        The order of the reference's axes that gives the candidate's; empty where they agree, up to axes of size 1.
    unquantized : str
        What the candidate's quantizer before the seam reads; empty where there is none.
    """

    reference: tuple[str, ...]
    candidate: tuple[str, ...]
    order: tuple[int, ...] = ()
    unquantized: str = ""


@dataclass(frozen=True)
class Names:
    """What is put before the names of each model's tensors."""

    reference: str = ""
    candidate: str = f"{PREFIX}candidate/"


BOTH, FLOAT = Names(), Names(f"{PREFIX}float/", "")
"""For graphs that tell both apart, and for a candidate in which some layers are the reference's."""


def spliced(
    reference: Model,
    candidate: Model,
    seams: Sequence[Seam],
    *,
    taken: Collection[int],
    outputs: Collection[str],
    names: Names = BOTH,
    quantized: Collection[int] = (),
) -> Model:
    """Return one graph: the layers that end at the seams ``taken`` are the candidate's, the others the reference's.

    Where one model reads the other's result, it is cast, turned and shaped as the reader has it. What lies between
    seams belongs to the model that reads it. At the seams ``quantized`` the reference's result goes through the
    candidate's quantizer.

    Parameters
    ----------
    outputs : collection of str
        Tensors of the graph to return, by the names they have there: ``names`` and, for what a model computes itself
        at a seam where the other's result is read, the suffix ``/own``, which an input has, too.

    Both take as many images at a time, or any number.

    Raises
    ------
    ModelError
        The models' opsets do not fit, or the seams contradict one another.
    """
    _check_opsets(reference, candidate)
    parts = [_renamed(reference, names.reference), _renamed(candidate, names.candidate)]
    bridges: list[NodeProto] = []
    constants = {**parts[0].constants, **parts[1].constants}
    types = {**parts[0].types, **parts[1].types}
    own: list[dict[str, str]] = [{}, {}]
    for i, seam in enumerate(seams):
        mine, theirs = (names.reference + seam.reference[0], names.candidate + seam.candidate[0])
        if i in taken:
            source, ends, order, side = theirs, [names.reference + n for n in seam.reference], _back(seam.order), 0
        else:
            through = [seam.unquantized] if i in quantized and seam.unquantized else seam.candidate
            source, ends, order, side = mine, [names.candidate + n for n in through], seam.order, 1
        for end in ends:
            own[side][end] = end + OWN
            nodes, added = _bridge(source, end, order, types)
            bridges += nodes
            constants |= added
    halves = [_own(part, renaming) for part, renaming in zip(parts, own, strict=True)]
    nodes = _needed([*halves[0], *bridges, *halves[1]], outputs)
    read = {r for n in nodes for r in reads(n)} | set(outputs)
    kinds = {
        renaming.get(i.name, i.name): i.type for part, renaming in zip(parts, own, strict=True) for i in part.inputs
    }
    inputs = {n: t for n, t in kinds.items() if n in read}
    types |= {end + OWN: types[end] for renaming in own for end in renaming}
    made = {o for n in nodes for o in n.output}
    model = _with_opsets(reference, candidate)
    return model.replaced(
        nodes=nodes,
        constants={n: a for n, a in constants.items() if n in read},
        inputs=inputs,
        outputs={n: types[n] for n in outputs},
        types={n: t for n, t in types.items() if n in read or n in made},
    )


def _check_opsets(reference: Model, candidate: Model) -> None:
    a, b = (m.opsets[""] for m in (reference, candidate))
    used = {n.op_type for m in (reference, candidate) for n in nodes_inside(m.nodes)}
    for op, since in CHANGED.items():
        if op in used and (a < since) != (b < since):
            raise ModelError(f"{op!r} means something else in opset {a} and in opset {b}: export both in one opset")


@dataclass(frozen=True)
class _Part:
    nodes: list[NodeProto]
    constants: Mapping[str, NDArray[Any]]
    types: Mapping[str, TypeProto]
    inputs: list[ValueInfoProto]


def _renamed(model: Model, prefix: str) -> _Part:
    inputs = []
    for info in model.proto.graph.input:
        copy = ValueInfoProto()
        copy.CopyFrom(info)
        copy.name = prefix + info.name
        inputs.append(copy)
    if prefix and any(n.op_type in ("If", "Loop", "Scan") for n in model.nodes):
        raise LayerError("a model whose operators hold graphs of their own (If, Loop, Scan) cannot be spliced")
    nodes = []
    for node in model.nodes:
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [prefix + i if i else "" for i in node.input]
        copy.output[:] = [prefix + o if o else "" for o in node.output]
        copy.name = prefix + node.name if node.name else ""
        nodes.append(copy)
    return _Part(
        nodes,
        {prefix + n: a for n, a in model.constants.items()},
        {prefix + n: t for n, t in model.types.items()},
        inputs,
    )


def _own(part: _Part, renaming: Mapping[str, str]) -> list[NodeProto]:
    """Return the nodes with what they make at a seam renamed, where the other's result takes its name."""
    for node in part.nodes:
        node.output[:] = [renaming.get(o, o) for o in node.output]
    return part.nodes


def _back(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argsort(order))


def _bridge(
    source: str, end: str, order: tuple[int, ...], types: dict[str, TypeProto]
) -> tuple[list[NodeProto], dict[str, NDArray[Any]]]:
    """Return what makes tensor ``end`` of the other model's ``source``."""
    steps: list[tuple[str, list[str], dict[str, Any]]] = []
    constants: dict[str, NDArray[Any]] = {}
    kinds = types[source].tensor_type.elem_type, types[end].tensor_type.elem_type
    shapes = dims_of(types[source]), dims_of(types[end])
    if kinds[0] != kinds[1]:
        steps.append(("Cast", [], {"to": kinds[1]}))
    if order:
        steps.append(("Transpose", [], {"perm": list(order)}))
    elif len(shapes[0]) != len(shapes[1]) or any(
        a != b for a, b in zip(shapes[0][1:], shapes[1][1:], strict=True) if isinstance(a, int) and isinstance(b, int)
    ):
        shape = f"{PREFIX}splice/{end}/shape"
        types[shape] = helper.make_tensor_type_proto(TensorProto.INT64, [len(shapes[1])])
        constants[shape] = np.asarray([-1, *(d if isinstance(d, int) else 1 for d in shapes[1][1:])], np.int64)
        steps.append(("Reshape", [shape], {}))
    nodes, current = list[NodeProto](), source
    for i, (op, more, attrs) in enumerate(steps or [("Identity", [], {})]):
        last = i == max(len(steps), 1) - 1
        made = end if last else f"{PREFIX}splice/{end}/{i}"
        nodes.append(helper.make_node(op, [current, *more], [made], name=f"{PREFIX}splice/{end}/{op}", **attrs))
        if not last:
            types[made] = TypeProto()
            types[made].CopyFrom(types[source])
            types[made].tensor_type.elem_type = kinds[1]
        current = made
    return nodes, constants


def _needed(nodes: Sequence[NodeProto], outputs: Collection[str]) -> list[NodeProto]:
    """Return the nodes that ``outputs`` need, in order.

    Raises
    ------
    ModelError
        They read each other in a circle.
    """
    makers = {o: n for n in nodes for o in n.output if o}
    needed, left = set(outputs), list(outputs)
    while left:
        node = makers.get(left.pop())
        for name in reads(node) if node is not None else ():
            if name and name not in needed:
                needed.add(name)
                left.append(name)
    kept = in_order(n for n in nodes if needed.intersection(n.output))
    seen: set[str] = set()
    for node in kept:
        late = [n for n in reads(node) if n in makers and n not in seen]
        if late:
            raise ModelError(f"the two models cannot be spliced: {late[0]!r} would be read before it is made")
        seen.update(node.output)
    return kept


def _with_opsets(reference: Model, candidate: Model) -> Model:
    """Return the reference with the newer of each operator set of both."""
    proto = ModelProto()
    proto.CopyFrom(reference.proto)
    proto.ir_version = max(reference.proto.ir_version, candidate.proto.ir_version)
    domains = {**reference.opsets, **candidate.opsets}
    versions = {d: max(m.opsets.get(d, 0) for m in (reference, candidate)) for d in domains}
    del proto.opset_import[:]
    proto.opset_import.extend(helper.make_opsetid(d, v) for d, v in versions.items())
    return replace(reference, proto=proto)
