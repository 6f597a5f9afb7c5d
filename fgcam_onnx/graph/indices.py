"""Which tensors hold places to look at, and not values: nothing flows back through them."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import onnx
from onnx import NodeProto

from .memo import once
from .model import Model
from .subgraphs import reads

COUNTING: Mapping[str, tuple[int, ...]] = {
    "ArgMax": (0,),
    "ArgMin": (0,),
    "MaxPool": (1,),
    "NonMaxSuppression": (0,),
    "NonZero": (0,),
    "TopK": (1,),
    "Unique": (1, 2, 3),
}
"""Outputs that are indices into an input, by operator."""

WHOLE = frozenset({"tensor(int32)", "tensor(int64)"})
INTEGERS = frozenset({onnx.TensorProto.INT32, onnx.TensorProto.INT64})


@functools.cache
def steering(op: str, domain: str, opset: int) -> frozenset[int]:
    """Return the inputs of an operator that can be int32 or int64 only: indices, shapes, axes, counts."""
    try:
        schema = onnx.defs.get_schema(op, opset, domain)
    except onnx.defs.SchemaError:
        return frozenset()
    return frozenset(i for i, given in enumerate(schema.inputs) if given.types and set(given.types) <= WHOLE)


@once
def indices_of(model: Model) -> frozenset[str]:
    """Return the integer tensors that are indices, and those that are computed from such alone."""
    found: set[str] = set()
    for node in model.nodes:
        if node.op_type in COUNTING and not node.domain:
            found.update(node.output[i] for i in COUNTING[node.op_type] if i < len(node.output) and node.output[i])
        elif not found.isdisjoint(reads(node)):
            data = [i for i in reads(node) if i and i not in model.constants]
            if all(_integer(model, i) for i in data):
                found.update(o for o in node.output if o and _integer(model, o))
    return frozenset(found)


def values_read(model: Model, node: NodeProto) -> list[bool]:
    """Tell of each tensor that a node reads whether it reads it for its values."""
    opset = model.opsets.get(node.domain, 0)
    away, indices = steering(node.op_type, node.domain, opset) if opset else frozenset(), indices_of(model)
    return [bool(name) and i not in away and name not in indices for i, name in enumerate(reads(node))]


def _integer(model: Model, name: str) -> bool:
    kind = model.types.get(name)
    return kind is not None and kind.tensor_type.elem_type in INTEGERS
