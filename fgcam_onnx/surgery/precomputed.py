"""What reads nothing but weights, computed once before a program is run.

A walk reads its weights split by sign, turned and sliced. A runtime folds that node by node, slowly, and where weights
are stored as integers not at all: it would dequantize and split them at every run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from ..graph.emitter import PREFIX
from ..graph.model import Model
from ..graph.subgraphs import reads
from ..graph.tape import attributes

Array = NDArray[Any]
Computed = Callable[..., "Array | None"]


def _sliced(x: Array, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None) -> Array:
    index = [slice(None)] * x.ndim
    count = len(starts)
    for k in range(count):
        axis, step = (k if axes is None else int(axes[k])), (1 if steps is None else int(steps[k]))
        start, end, size = int(starts[k]), int(ends[k]), x.shape[axis]
        # an end that lies before the first element is -1 to ONNX and the last element to Python
        index[axis] = slice(start, None if step < 0 and end < -size else end, step)
    return x[tuple(index)]


def _reshaped(x: Array, shape: Array, *, allowzero: int = 0) -> Array:
    if allowzero:
        return x.reshape([int(d) for d in shape])
    return x.reshape([x.shape[k] if d == 0 else int(d) for k, d in enumerate(shape)])


def _cast(x: Array, *, to: int, saturate: int = 1) -> Array | None:
    kind = helper.tensor_dtype_to_np_dtype(to)
    widens = np.can_cast(x.dtype, kind) or (x.dtype.kind in "iu" and kind.kind == "f")
    return x.astype(kind) if widens else None


def _dequantized(q: Array, scale: Array, zero: Array | None = None, *, axis: int = 1, **rest: int) -> Array | None:
    if scale.dtype != np.float32 or q.dtype.kind not in "iu" or scale.ndim > 1 or any(rest.values()):
        return None
    shape = [-1 if k == axis % max(q.ndim, 1) else 1 for k in range(q.ndim)] if scale.ndim and scale.size > 1 else []
    levels = q.astype(np.int64)
    if zero is not None:
        levels = levels - zero.astype(np.int64).reshape(shape or ())
    return levels.astype(np.float32) * scale.reshape(shape or ())


COMPUTED: Mapping[str, Computed] = {
    "Abs": np.abs,
    "Add": np.add,
    "Cast": _cast,
    "DequantizeLinear": _dequantized,
    "Max": lambda *x: functools.reduce(np.maximum, x),
    "Min": lambda *x: functools.reduce(np.minimum, x),
    "Mul": np.multiply,
    "Neg": np.negative,
    "Relu": lambda x: np.maximum(x, x.dtype.type(0)),
    "Reshape": _reshaped,
    "Slice": _sliced,
    "Sub": np.subtract,
    "Transpose": lambda x, *, perm=None: x.transpose(perm),
}
"""Operators whose values are the same to the bit however they are computed."""

GROWS = frozenset({"Add", "Max", "Min", "Mul", "Sub"})
"""Of these, operators whose result may be larger than what they read."""

STAYS = frozenset({"DequantizeLinear"})
"""What a runtime finds its integer kernels by: it stays where the model reads it; what is appended reads its values."""


def precomputed(model: Model) -> Model:
    """Return a model that holds the values of nodes that read only constants, the same to the bit, in their place."""
    values: dict[str, Array] = {}
    staying: dict[str, str] = {}
    for node in model.nodes:
        if (found := _value(node, model.constants, values)) is not None:
            values[node.output[0]] = found
            if node.op_type in STAYS:
                staying[node.output[0]] = f"{PREFIX}value/{node.output[0]}"
    if not values:
        return model
    needed, kept = {o.name for o in model.outputs}, list[NodeProto]()
    outputs = frozenset(needed)
    for node in reversed(model.nodes):
        name = node.output[0] if node.output else ""
        if name in values and name not in (needed if name in staying else outputs):
            continue
        if node.name.startswith(PREFIX) and not staying.keys().isdisjoint(node.input):
            node = _reading(node, staying)
        kept.append(node)
        needed.update(reads(node))
    made = {o for n in kept for o in n.output}
    named = {**model.constants, **values, **{new: values[old] for old, new in staying.items()}}
    proto = ModelProto()
    proto.CopyFrom(model.proto)
    proto.graph.ClearField("node")
    proto.graph.node.extend(reversed(kept))
    return replace(model, proto=proto, constants={n: a for n, a in named.items() if n in needed and n not in made})


def _value(node: NodeProto, constants: Mapping[str, Array], values: Mapping[str, Array]) -> Array | None:
    """Return what ``node`` makes of constants; None where it reads others, or is left to the runtime."""
    if node.domain or node.op_type not in COMPUTED:
        return None
    given = [values[i] if i in values else constants.get(i) for i in node.input]
    arrays = [a for a in given if a is not None and a.dtype.isbuiltin == 1 and a.dtype.kind in "biuf"]
    if len(arrays) < len(given):
        return None
    try:
        if node.op_type in GROWS and np.broadcast(*arrays).size > sum(a.size for a in arrays):
            return None
        with np.errstate(all="ignore"):  # what overflows does so in the runtime, too, and is told of where it matters
            found = COMPUTED[node.op_type](*arrays, **attributes(node))
    except (IndexError, TypeError, ValueError):  # no valid operator: the runtime says what is wrong with it
        return None
    return None if found is None else np.asarray(found)


def _reading(node: NodeProto, names: Mapping[str, str]) -> NodeProto:
    other = NodeProto()
    other.CopyFrom(node)
    other.input[:] = [names.get(i, i) for i in node.input]
    return other
