"""Grafting: write the part of a model behind a cut a second time into the same graph, on other inputs."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import NodeProto

from ..errors import UnsupportedOperatorError
from ..graph.emitter import PREFIX, Emitter
from ..graph.subgraphs import CONTROL, reads
from ..graph.value import Value
from .cutting import Cut


def grafted(emitter: Emitter, part: Cut, given: Mapping[str, Value]) -> Value:
    """Emit the head of ``part`` again with ``given`` in place of its inputs; return the copy of its output.

    The inputs given may hold another number of images than the model's; what the head computes from the batch's
    size is computed again. Weights are those of the model. No walk back is meant to follow: of the copies only
    their types are known.

    Raises
    ------
    UnsupportedOperatorError
        An operator of the head holds a graph of its own.
    """
    prefix = f"{PREFIX}{emitter.scope}/copy_{len(emitter.nodes)}/"
    names = {n: v.name for n, v in given.items()}
    constants = emitter.constants
    names |= {n: emitter.constant(a).name for n, a in part.head.constants.items() if n not in constants}
    for node in part.head.nodes:
        if not any(name in names for name in reads(node)):
            continue
        if node.op_type in CONTROL:
            raise UnsupportedOperatorError(
                f"{node.op_type!r} (node {node.name!r}) holds graphs of its own and cannot be written out twice"
            )
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.name = f"{prefix}{node.name or node.output[0]}"
        copy.input[:] = [names.get(i, i) for i in node.input]
        names |= {o: f"{prefix}{o}" for o in node.output if o}
        copy.output[:] = [names.get(o, o) for o in node.output]
        for name in filter(emitter.knows, node.output):
            emitter.declare(names[name], Value(emitter, name))
        emitter.adopt(copy)
    (output,) = (o.name for o in part.head.outputs)
    return emitter.value(names[output])
