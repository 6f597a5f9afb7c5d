"""Record and tape: the operators on the way between tensors, ready to be walked backwards or replayed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnx import NodeProto, helper

from ..errors import LayerError, UnsupportedOperatorError
from .emitter import Emitter
from .facts import facts_of
from .indices import COUNTING, values_read
from .subgraphs import reads
from .value import Value


@dataclass(frozen=True)
class Record:
    """One applied operator.

    Attributes
    ----------
    op, domain, name : str
        Operator type, its domain (empty for ai.onnx) and the node's name.
    inputs, outputs : tuple of Value or None
        None for an optional one that is left out.
    attrs : mapping
        The attributes that the node sets.
    on_tape : tuple of bool
        Which inputs the walk continues to.
    """

    op: str
    domain: str
    name: str
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value | None, ...]
    attrs: Mapping[str, Any]
    on_tape: tuple[bool, ...]

    @property
    def emitter(self) -> Emitter:
        """The emitter that the record's values belong to."""
        return self.output.emitter

    @property
    def output(self) -> Value:
        """The first output."""
        if self.outputs[0] is None:
            raise LayerError(f"node '{self.name}' ({self.op}) has no first output")
        return self.outputs[0]

    @property
    def varying(self) -> tuple[int, ...]:
        """The inputs that depend on the graph's input, whether the walk continues to them or not."""
        emitter = self.emitter
        varies = facts_of(emitter.model).varying
        return tuple(i for i, v in enumerate(self.inputs) if v is not None and emitter.origin(v) in varies)

    def replay(self, inputs: Sequence[Value | None]) -> Record:
        """Emit the operator again on other inputs; the same inputs give the same outputs.

        Inputs of the same shapes give outputs of the shapes known of the record's, which inference does not see where
        the graph computes sizes from the batch's.
        """
        inputs = list(inputs)
        while inputs and inputs[-1] is None:
            inputs.pop()
        outputs = self.emitter.emit_many(self.op, *inputs, domain=self.domain, count=len(self.outputs), **self.attrs)
        if all(a is b or (a and b and a.shape == b.shape) for a, b in zip(inputs, self.inputs, strict=False)):
            for old, new in zip(self.outputs, outputs, strict=True):
                if old is not None and self.emitter.knows(old.name):
                    self.emitter.typed_as(old, new)
        return Record(self.op, self.domain, self.name, tuple(inputs), outputs, self.attrs, self.on_tape[: len(inputs)])

    def __str__(self) -> str:
        return f"{self.op!r} (node {self.name!r})"


@dataclass(frozen=True)
class Tape:
    """The records on every path from ``sources`` to ``output``, in execution order."""

    records: tuple[Record, ...]
    sources: frozenset[str]
    output: str

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __reversed__(self) -> Iterator[Record]:
        return reversed(self.records)


def attributes(node: NodeProto) -> dict[str, Any]:
    """Return a node's attributes as Python values, text decoded."""
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in values.items()}


def tape_between(
    emitter: Emitter, *, sources: Iterable[str], output: str, nodes: Sequence[NodeProto] | None = None
) -> Tape:
    """Return the tape from any of ``sources`` to ``output``, over the model's nodes or those given.

    Raises
    ------
    LayerError
        When a source does not lie on a path to ``output``.
    """
    sources = frozenset(sources)
    nodes = emitter.model.nodes if nodes is None else nodes
    reached = set(sources)
    for node in nodes:
        if reached.intersection(reads(node)) and node.op_type not in ("Shape", "Size"):
            reached.update(filter(None, node.output))
    leading = {output}
    chosen: list[NodeProto] = []
    for node in reversed(nodes):
        if leading.intersection(node.output) and reached.intersection(reads(node)):
            read = values_read(emitter.model, node)
            leading.update(i for i, valued in zip(reads(node), read, strict=True) if valued and i in reached)
            chosen.append(node)
    chosen.reverse()
    for source in sources:
        if source not in leading:
            if (picks := _picking(emitter, reached, output)) is not None:
                raise UnsupportedOperatorError(
                    f"nothing flows back from {output!r} to {source!r}: {picks.op_type!r} (node {picks.name!r}) has no "
                    f"derivative, it only says where something is. Choose a layer after it, or explain what it reads, "
                    f"{picks.input[0]!r} (output=, --output)."
                )
            raise LayerError(
                f"layer {source!r} does not lie on a path to {output!r}: nothing flows back to it. "
                "`fgcam inspect` lists the layers that do."
            )
    return Tape(tuple(_record(emitter, n, reached) for n in chosen), sources, output)


def _picking(emitter: Emitter, reached: Collection[str], output: str) -> NodeProto | None:
    """Return the last operator that turns what is ``reached`` into indices, where ``output`` depends on it."""
    if output not in reached:
        return None
    nodes = (n for n in reversed(emitter.model.nodes) if n.op_type in COUNTING and not set(n.input).isdisjoint(reached))
    return next(nodes, None)


def _record(emitter: Emitter, node: NodeProto, reached: set[str]) -> Record:
    def value(name: str) -> Value | None:
        return emitter.value(name) if name else None

    return Record(
        node.op_type,
        node.domain,
        node.name or (node.output[0] if node.output else ""),
        tuple(value(i) for i in reads(node)),
        tuple(Value(emitter, o) if o else None for o in node.output),
        attributes(node),
        tuple(v and i in reached for i, v in zip(reads(node), values_read(emitter.model, node), strict=True)),
    )
