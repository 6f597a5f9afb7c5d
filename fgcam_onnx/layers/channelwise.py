"""How far a channel that is set to zero stays the same channel of zeros."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import NodeProto

from ..graph.facts import facts_of
from ..graph.model import Model, dims_of
from ..graph.subgraphs import reads
from ..graph.tape import attributes

KEEPS_ZEROS = frozenset(
    "Abs AveragePool Celu Dropout Elu Gelu GlobalAveragePool GlobalMaxPool HardSwish Identity LeakyRelu"
    " MaxPool Mish Relu Selu Sign Softsign Tanh".split()
)
"""Operators that treat each channel by itself and make zeros of zeros."""

REDUCES = frozenset({"ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceSum"})


def last_with_channels(model: Model, name: str) -> str:
    """Return the last tensor whose channels are zero wherever those of tensor ``name`` are, and else the same.

    Only operators that work channel by channel lie between, so a channel can as well be set to zero there:
    behind the pooling, on a fraction of the elements.
    """
    axes, outputs = facts_of(model).channel_axis, {o.name for o in model.outputs}
    while name not in outputs and name in axes:
        readers = [n for n in model.nodes if name in reads(n)]
        if len(readers) != 1 or not _keeps(model, readers[0], axes[name]):
            break
        after = readers[0].output[0]
        if after in outputs or axes.get(after) != axes[name] or after not in model.types:
            break
        name = after
    return name


def _keeps(model: Model, node: NodeProto, axis: int) -> bool:
    if node.domain or any(node.output[1:]):
        return False
    if node.op_type == "Clip":
        return _clip_keeps(model, node.input[1:])
    if node.op_type in REDUCES and attributes(node).get("keepdims", 1):
        axes = model.constants.get(node.input[1]) if len(node.input) > 1 else None
        rank = len(dims_of(model.types[node.input[0]]))
        return axes is not None and axis not in {int(a) % rank for a in axes}
    return node.op_type in KEEPS_ZEROS


def _clip_keeps(model: Model, bounds: Sequence[str]) -> bool:
    """Tell a Clip whose bounds are fixed and have 0 between them."""
    for sign, bound in zip((-1, 1), bounds, strict=False):
        array = model.constants.get(bound)
        if bound and (array is None or np.any(sign * array < 0)):
            return False
    return True
