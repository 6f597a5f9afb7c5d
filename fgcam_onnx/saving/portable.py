"""What a file avoids so that runtimes other than ONNX Runtime compute it rightly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from onnx import NodeProto, TypeProto, helper

from ..graph.emitter import PREFIX
from ..graph.model import Model, dims_of
from ..graph.subgraphs import reads

Use = tuple[str, str]
"""A weight, and how an operator lays it out: ``conv``, ``deconv``, or a matrix ``as is`` or ``swapped``."""


def weights_apart(model: Model) -> Model:
    """Return ``model`` with a tensor of its own for each way that the appended operators lay out a square weight.

    A walk back multiplies by the weights that the walk forward multiplied by, transposed. OpenVINO's CPU plugin
    (2026.4.1) keeps a packed weight by the address of the constant and the shape it is packed to; where the two
    ways agree in both, as they do for square weights, the second gets the first one's packing and a wrong result.
    Two negations cancel to the bit, are folded when a runtime loads the file, and give the constant an address
    of its own; ``* 1``, ``+ 0``, Identity and two transpositions are removed before that.
    """
    constant = _constant_tensors(model)
    produced = {o: n for n in model.nodes for o in n.output}
    first: dict[str, str] = {}
    copies: dict[Use, str] = {}
    types = dict(model.types)
    nodes: list[NodeProto] = []
    for node in model.nodes:
        for root, way in _uses(node, model, constant, produced):
            if first.setdefault(root, way) == way or not node.name.startswith(PREFIX):
                continue
            read = node.input[1]
            if (read, way) not in copies:
                made = _negated_twice(read, number=len(copies))
                types |= dict.fromkeys((n.output[0] for n in made), types[read])
                nodes += made
                copies[read, way] = made[-1].output[0]
            node = _with_weight(node, copies[read, way])
        nodes.append(node)
    if not copies:
        return model
    return model.replaced(
        nodes=nodes,
        constants=model.constants,
        inputs={i.name: i.type for i in model.proto.graph.input},
        outputs={o.name: o.type for o in model.proto.graph.output},
        types=types,
    )


def _uses(
    node: NodeProto, model: Model, constant: set[str], produced: dict[str, NodeProto]
) -> Iterator[Use]:  # fmt: skip
    """Yield the square float weight that ``node`` multiplies by, if it does, and how it lays it out."""
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul") or node.input[1] not in constant:
        return
    name = node.input[1]
    kind = model.types.get(name)
    if kind is None or not _is_float(kind) or not kind.tensor_type.HasField("shape"):
        return
    shape = dims_of(kind)
    if node.op_type in ("Conv", "ConvTranspose"):
        group = next((a.i for a in node.attribute if a.name == "group"), 1)
        if shape[0] == group * (shape[1] if isinstance(shape[1], int) else 0):
            yield name, "conv" if node.op_type == "Conv" else "deconv"
        return
    if len(shape) < 2 or shape[-1] != shape[-2]:
        return
    swaps = next((a.i for a in node.attribute if a.name == "transB"), 0)
    while (maker := produced.get(name)) is not None and _swaps_matrix(maker, len(shape)):
        name, swaps = maker.input[0], swaps + 1
    yield name, "swapped" if swaps % 2 else "as is"


def _swaps_matrix(node: NodeProto, rank: int) -> bool:
    """Tell whether ``node`` swaps the last two axes and nothing else."""
    if node.op_type != "Transpose":
        return False
    perm: Sequence[int] = next((list(a.ints) for a in node.attribute if a.name == "perm"), list(range(rank))[::-1])
    return list(perm) == [*range(rank - 2), rank - 1, rank - 2]


def _constant_tensors(model: Model) -> set[str]:
    """Return the constants, and what is made from nothing else."""
    found = set(model.constants)
    for node in model.nodes:
        inputs = [i for i in reads(node) if i]
        if inputs and found.issuperset(inputs):
            found.update(node.output)
    return found


def _is_float(kind: TypeProto) -> bool:
    return bool(helper.tensor_dtype_to_np_dtype(kind.tensor_type.elem_type) in (np.float16, np.float32, np.float64))


def _negated_twice(name: str, *, number: int) -> list[NodeProto]:
    """Return the nodes that copy tensor ``name``."""
    nodes = []
    for step in range(2):
        label = f"{PREFIX}apart/Neg_{2 * number + step}"
        nodes.append(helper.make_node("Neg", [name], [f"{label}_output_0"], name=label))
        name = nodes[-1].output[0]
    return nodes


def _with_weight(node: NodeProto, name: str) -> NodeProto:
    changed = NodeProto()
    changed.CopyFrom(node)
    changed.input[1] = name
    return changed
