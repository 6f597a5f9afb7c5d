"""Quotients whose divisor is never negative, in one pass where the runtime's convolutions keep their elements apart.

``where(z < tiny, 0, r / z)`` is three passes. ``r / (z + LEAST)`` is one: what is added to the output of a convolution
becomes its bias. The two differ where ``z`` is 0, by a large number in place of 0; what that is multiplied by is then 0
itself, exactly, because every product that ``z`` sums is. A runtime that transforms before it multiplies (Winograd,
FFT) would spread the large number over its neighbours, so this is for the CPU alone.

Imports graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from ..graph.emitter import PREFIX
from ..graph.model import Model, dims_of, is_float32

FLOORED = "/floored"
"""What divisors are called behind their names once their least is added."""

LEAST = 1e-25
"""Added to divisors: far below what counts, and its reciprocal times a relevance far below overflow."""


def floored(model: Model) -> Model:
    """Return a model whose appended ``where(z < tiny, 0, r / z)`` of float32 tensors are ``r / (z + LEAST)``."""
    floors = _Floors(model)
    nodes = [n for node in model.nodes for n in floors.instead_of(node)]
    if not floors.constants:
        return model
    return model.with_nodes(nodes, constants=floors.constants)


@dataclass
class _Floors:
    """The divisors that have their least added, and the constants that takes."""

    model: Model
    made: dict[str, NodeProto] = field(init=False)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    floors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.made = {o: n for n in self.model.nodes for o in n.output if n.name.startswith(PREFIX)}

    def instead_of(self, node: NodeProto) -> list[NodeProto]:
        """Return the node itself, or what takes its place."""
        divided = _divided(node, self.made, self.model.constants)
        if divided is None or not is_float32(self.model, divided[1]):
            return [node]
        r, z = divided
        sums = [] if z in self.floors else self._sums(z)
        quotient = helper.make_node("Div", [r, z + FLOORED], [node.output[0]], name=node.name + FLOORED)
        return [*sums, quotient] if z in self.floors else [node]

    def _sums(self, z: str) -> list[NodeProto]:
        """Return what adds the least to ``z``, a convolution's output or a sum with one; nothing of any other.

        A runtime makes a bias of what is added to a convolution. What other products sum may be as small as the least
        and count: an attention weight is ``exp(-60)``.
        """
        made = self.made.get(z)
        terms = [z] if made is None or made.op_type != "Add" else list(made.input)
        convolved = next((t for t in terms if t in self.made and self.made[t].op_type == "Conv"), None)
        if convolved is None:
            return []
        self.floors.add(z)
        name = convolved + FLOORED
        sums = [helper.make_node("Add", [convolved, self._least(convolved)], [name], name=name)]
        if convolved != z:
            rest = [name if t == convolved else t for t in terms]
            sums.append(helper.make_node("Add", rest, [z + FLOORED], name=z + FLOORED))
        return sums

    def _least(self, name: str) -> str:
        """Return the constant to add to a tensor, in the shape in which a runtime takes it for a bias."""
        dims = dims_of(self.model.types[name])
        shape = (dims[1], *[1] * (len(dims) - 2)) if len(dims) > 2 and isinstance(dims[1], int) else ()
        constant = f"{PREFIX}least/{'x'.join(map(str, shape))}"
        self.constants[constant] = np.full(shape, LEAST, np.float32)
        return constant


def _divided(
    node: NodeProto, made: Mapping[str, NodeProto], constants: Mapping[str, NDArray[Any]]
) -> tuple[str, str] | None:
    """Return ``r`` and ``z`` of an appended ``where(z < tiny, 0, r / z)``; None of any other node."""
    if node.op_type != "Where" or not node.name.startswith(PREFIX):
        return None
    less, quotient = made.get(node.input[0]), made.get(node.input[2])
    zero = constants.get(node.input[1])
    if less is None or quotient is None or zero is None or (less.op_type, quotient.op_type) != ("Less", "Div"):
        return None
    (z, bound), (r, divisor) = less.input, quotient.input
    tiny = constants.get(bound)
    return (
        (r, z)
        if divisor == z and tiny is not None and tiny.size == 1 and tiny.max() <= LEAST and not zero.any()
        else None
    )
