"""Replay: emit a model a second time inside the same graph, on another input."""

from __future__ import annotations

from dataclasses import replace

from ..errors import UnsupportedOperatorError
from ..graph.emitter import Emitter
from ..graph.subgraphs import CONTROL, reads
from ..graph.tape import Record, Tape, attributes, tape_between
from ..graph.value import Value


def replayed_on(emitter: Emitter, x: Value, *, source: str, output: str) -> Tape:
    """Emit what lies between ``source`` and ``output`` again with ``x`` in place of ``source``.

    ``x`` may hold another number of images than ``source``: what the graph computes from the batch's size is
    computed again. What is known of a tensor, its dimensions too, is taken to hold for its copy.

    Returns
    -------
    Tape
        The copies, from ``x`` to the copy of ``output``.

    Raises
    ------
    UnsupportedOperatorError
        Integers or a conditional lie on the way: what they stand for is known of the original only.
    """
    tape = {r.output.name: r for r in tape_between(emitter, sources=[source], output=output)}
    needed = {output}
    for node in reversed(emitter.model.nodes):
        if needed.intersection(node.output):
            needed.update(reads(node))
    copies = {source: emitter.stands_for(x, emitter.value(source))}
    records: list[Record] = []
    for node in emitter.model.nodes:
        if not needed.intersection(node.output) or not any(i in copies for i in reads(node)):
            continue
        _check(node.op_type, node.name, tape.get(node.output[0]))
        inputs = [copies.get(i) or emitter.value(i) if i else None for i in node.input]
        outputs = emitter.emit_many(
            node.op_type, *inputs, domain=node.domain, count=len(node.output), **attributes(node)
        )
        for name, copy in zip(node.output, outputs, strict=True):
            if name and emitter.knows(name):
                copies[name] = emitter.stands_for(emitter.typed_as(emitter.value(name), copy), emitter.value(name))
        if (record := tape.get(node.output[0])) is not None:
            records.append(replace(record, inputs=tuple(inputs), outputs=outputs))
    return Tape(tuple(records), frozenset({x.name}), copies[output].name)


def _check(op: str, name: str, record: Record | None) -> None:
    if op in CONTROL:
        raise UnsupportedOperatorError(
            f"{op!r} (node {name!r}) holds graphs of its own and cannot be written out twice"
        )
    if record is not None and record.output.dtype.kind in "iu":
        raise UnsupportedOperatorError(f"{record} gives integers: a quantized model cannot be written out twice")
