"""The skeleton of a model: its layers, each with the tensors that stand for its result, and what it reads.

A layer is an operator that does more than show, quantize or bend one tensor, and what follows it alone: a convolution
with its bias, normalisation, activation and quantizer. Exporters agree on these when they agree on nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..graph.facts import Node, facts_of, producers_of, reached_from
from ..graph.model import Model, dims_of
from ..graph.operators import ELEMENTWISE, SHAPES, VIEWS
from ..graph.shapes import Shape
from ..graph.subgraphs import reads

QUANTIZERS = frozenset({"DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"})
SEEN_THROUGH = VIEWS | QUANTIZERS | {"Pad"}
"""Operators that are nobody's layer: who reads them reads what they read."""

FOLLOWS = (VIEWS | ELEMENTWISE | {"BatchNormalization", "QuantizeLinear"}) - {"DynamicQuantizeLinear"}
"""Operators of one varying tensor that belong to the layer before them, where nothing else reads that."""

MEANS = {
    "AveragePool": "mean",
    "ConvInteger": "Conv",
    "Gemm": "MatMul",
    "GlobalAveragePool": "mean",
    "MatMulInteger": "MatMul",
    "ReduceMean": "mean",
    "Sum": "Add",
}
"""Operators that exporters use for one another; with a constant weight, Conv and MatMul are."""

COMMUTES = frozenset({"Add", "Mul"})
WEIGHTED = frozenset({"Conv", "ConvTranspose", "MatMul"})


@dataclass(frozen=True)
class Joint:
    """A layer of the skeleton.

    Attributes
    ----------
    name : str
        The first tensor that it makes; of an input, the input.
    node : str
        The operator's name, for people and for lists of nodes.
    kind : str
        What it does, whatever it is called.
    inputs : tuple of str
        The layers it reads, by name, in order.
    weight, bias, zero : str
        Its constant operands, and what integers of the weight have as 0; empty where it has none.
    chain : tuple of str
        The tensors from ``name`` to the end of the layer, each made of the one before alone.
    copies : tuple of str
        Those that later layers read: the end, or what several dequantizers make of it.
    unquantized : str
        What the layer's last quantizer reads; empty where none follows.
    nodes : tuple of str
        The names of its operators.
    """

    name: str
    node: str
    kind: str
    inputs: tuple[str, ...]
    weight: str
    bias: str
    zero: str
    chain: tuple[str, ...]
    copies: tuple[str, ...]
    unquantized: str
    nodes: tuple[str, ...]

    @property
    def end(self) -> str:
        """The tensor that stands for the layer's result."""
        return self.copies[0]


def shape_of(model: Model, name: str) -> Shape | None:
    """Return the dimensions of a tensor, or None where they are not known."""
    kind = model.types.get(name)
    return dims_of(kind) if kind is not None and kind.tensor_type.HasField("shape") else None


def skeleton_of(model: Model, *, source: str, logits: str) -> tuple[Joint, ...]:
    """Return the layers from input ``source`` to ``logits``, in the order they run."""
    return _Walk(model, logits).joints(source)


class _Walk:
    def __init__(self, model: Model, logits: str) -> None:
        self.model, self.logits = model, logits
        self.varying = reached_from(model, *facts_of(model).preprocessed)
        self.makers = producers_of(model)
        needed = {logits}
        self.nodes: list[Node] = []
        for node in reversed(model.nodes):
            if needed.intersection(node.output) and node.op_type not in SHAPES:
                needed.update(reads(node))
                self.nodes.append(node)
        self.nodes.reverse()
        self.readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(self.big(node)):
                self.readers.setdefault(name, []).append(node)

    def big(self, node: Node) -> list[str]:
        """Return the inputs that carry the picture: that vary, and are more than a number."""
        return [n for n in reads(node) if n in self.varying and shape_of(self.model, n) not in ((), (1,))]

    def joints(self, source: str) -> tuple[Joint, ...]:
        owner: dict[str, str] = {}
        chained: set[str] = set()
        found: list[Joint] = []

        def added(joint: Joint) -> None:
            found.append(joint)
            chained.update(joint.chain, joint.copies)
            owner.update(dict.fromkeys((joint.name, *joint.chain, *joint.copies), joint.name))

        for spec in self.model.inputs:
            if spec.name == source or spec.name in self.readers:
                added(self._joint(None, spec.name, ()))
        for node in self.nodes:
            inputs = [owner[n] for n in self.big(node) if n in owner]
            if not inputs:
                continue
            for name in filter(None, node.output):
                if name in chained:
                    continue
                if node.op_type in SEEN_THROUGH:
                    owner[name] = inputs[0]
                elif name in self.readers or name == self.logits:
                    added(self._joint(node, name, tuple(inputs)))
        return tuple(found)

    def _joint(self, node: Node | None, name: str, inputs: tuple[str, ...]) -> Joint:
        chain, copies, nodes = self._followed(name)
        if node is None:
            return Joint(name, "", "input", (), "", "", "", chain, copies, self._unquantized(chain, copies), nodes)
        kind = MEANS.get(node.op_type, node.op_type)
        if len(node.output) > 1:
            kind = f"{kind}:{list(node.output).index(name)}"
        fixed = [n for n in node.input if n and n not in self.varying]
        weighted = kind in WEIGHTED and bool(fixed)
        rest = fixed[1] if weighted and len(fixed) > 1 else ""
        bias, zero = ("", rest) if node.op_type.endswith("Integer") else (rest, "")
        return Joint(
            name,
            node.name or name,
            "product" if weighted and kind != "ConvTranspose" else kind,
            inputs,
            fixed[0] if weighted else "",
            bias,
            zero,
            chain,
            copies,
            self._unquantized(chain, copies),
            tuple(filter(None, (node.name, *nodes))),
        )

    def _followed(self, name: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Return the tensors that only the layer's own operators read, what others read, and those operators."""
        chain, nodes = [name], list[str]()
        while chain[-1] != self.logits:
            readers = self.readers.get(chain[-1], [])
            split = [self.readers.get(n.output[0], []) for n in readers]
            if readers and all(n.op_type == "QuantizeLinear" for n in readers):
                undone = [n for each in split for n in each]
                if len(undone) > 1 and all(n.op_type == "DequantizeLinear" for n in undone):
                    return tuple(chain), tuple(n.output[0] for n in undone), tuple(nodes)
            if len(readers) > 1 and all(n.op_type == "DequantizeLinear" for n in readers):
                return tuple(chain[:-1]), tuple(n.output[0] for n in readers), tuple(nodes)
            if len(readers) != 1 or not self._follows(readers[0]):
                break
            nodes.append(readers[0].name)
            chain.append(readers[0].output[0])
        return tuple(chain), (chain[-1],), tuple(nodes)

    def _follows(self, node: Node) -> bool:
        return node.op_type in FOLLOWS and len(self.big(node)) == 1 and len(list(filter(None, node.output))) == 1

    def _unquantized(self, chain: Sequence[str], copies: Sequence[str]) -> str:
        """Return what the last quantizer reads, where behind it the result is only undone and shown."""
        name: str = copies[0]
        while (node := self.makers.get(name)) is not None:
            if node.op_type == "QuantizeLinear":
                return str(node.input[0])
            if name in chain[:1] or node.op_type not in SEEN_THROUGH:
                return ""
            name = node.input[0]
        return ""


def by_name(joints: Sequence[Joint]) -> Mapping[str, Joint]:
    """Return the layers by name."""
    return {j.name: j for j in joints}
