"""Emitter: append typed nodes to a model, and build the program that computes what was asked for."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TypeProto, helper, numpy_helper

from ..errors import FgcamError, UnsupportedOperatorError
from .gaps import KEEPS_TYPE, untyped
from .model import LARGE, Model, dims_of, dtype_of
from .rounding import corrected
from .shapes import Dim, Shape
from .subgraphs import reads
from .value import Value

PREFIX = "fgcam/"
OUTPUT = f"{PREFIX}output/"
"""Prefix of a program's output where a tensor of the model has its name; sessions take it off."""


@functools.cache
def _schema(op: str, domain: str, opset: int) -> onnx.defs.OpSchema:
    return onnx.defs.get_schema(op, opset, domain)


class Emitter:
    """Appends nodes to a copy of ``model``; every node is typed as it is made.

    Equal nodes are emitted once: a rule that replays an operator on its own inputs gets the model's tensor.
    Names are ``fgcam/<scope>/<Op>_<n>``, so that appended parts can be told from the model's.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.scope = "program"
        self.nodes: list[NodeProto] = list(model.proto.graph.node)
        self._types: dict[str, TypeProto] = dict(model.types)
        self._shapes: dict[str, tuple[TypeProto, Shape]] = {}
        self._constants: dict[str, NDArray[Any]] = dict(model.constants)
        self._interned: dict[tuple[Any, ...], str] = {}
        self._inputs: dict[str, TypeProto] = {i.name: i.type for i in model.proto.graph.input}
        self._outputs: dict[str, str] = {}
        self._known = {_key(n): tuple(n.output) for n in self.nodes}
        self._labels = {n.name for n in self.nodes}
        self._origins: dict[str, str] = {}
        self._opset_imports = list(model.proto.opset_import)

    # ---- what is known of a tensor

    def value(self, name: str) -> Value:
        """Return the tensor ``name`` as a value."""
        if name not in self._types:
            raise UnsupportedOperatorError(untyped(name, self._types, self.nodes))
        return Value(self, name)

    def knows(self, name: str) -> bool:
        """Tell whether anything is known of the type of tensor ``name``."""
        return name in self._types

    @property
    def types(self) -> Mapping[str, TypeProto]:
        """The type of every tensor of which one is known."""
        return self._types

    @property
    def constants(self) -> Mapping[str, NDArray[Any]]:
        """Every constant tensor, those that were added included."""
        return self._constants

    def shape(self, name: str) -> Shape:
        """Return the dimensions of tensor ``name``."""
        kind = self._types.get(name)
        if kind is None or not kind.tensor_type.HasField("shape"):
            raise UnsupportedOperatorError(untyped(name, self._types, self.nodes))
        if name not in self._shapes or self._shapes[name][0] is not kind:
            self._shapes[name] = kind, dims_of(kind)
        return self._shapes[name][1]

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return the NumPy dtype of tensor ``name``."""
        return dtype_of(name, self._types[name])

    def constant_of(self, name: str) -> NDArray[Any] | None:
        """Return the array of a constant tensor, or None."""
        return self._constants.get(name)

    def stands_for(self, value: Value, origin: Value) -> Value:
        """Note that ``value`` is another form of the model's tensor ``origin``: what is known of that holds."""
        self._origins[value.name] = self.origin(origin)
        return value

    def origin(self, value: Value) -> str:
        """Return the name of the model's tensor that ``value`` is or stands for."""
        return self._origins.get(value.name, value.name)

    # ---- emission

    def emit(self, op: str, *inputs: Value | None, domain: str = "", **attrs: Any) -> Value:
        """Append one node and return its first output."""
        return self.emit_many(op, *inputs, domain=domain, count=1, **attrs)[0]

    def emit_many(
        self, op: str, *inputs: Value | None, domain: str = "", count: int = 1, **attrs: Any
    ) -> tuple[Value, ...]:
        """Append one node and return its ``count`` outputs.

        Raises
        ------
        FgcamError
            When the operator does not accept these inputs: a fault of the rule that emits it.
        """
        names = [i.name if i is not None else "" for i in inputs]
        attrs = {k: v for k, v in attrs.items() if v is not None}
        node = helper.make_node(op, names, [""] * count, domain=domain, **attrs)
        key = _key(node)
        known = self._known.get(key)
        if known is not None and len(known) >= count:
            return tuple(Value(self, n) for n in known[:count])
        node.name = self._free(f"{PREFIX}{self.scope}/{op}_{len(self.nodes)}")
        outputs = [f"{node.name}_output_{i}" for i in range(count)]
        del node.output[:]
        node.output.extend(outputs)
        self._types |= self._infer(node)
        self.nodes.append(node)
        self._known[key] = tuple(outputs)
        return tuple(Value(self, n) for n in outputs)

    def _free(self, label: str) -> str:
        """Return ``label``, longer where the model has a node or the tensor of a node of that name."""
        while label in self._labels or f"{label}_output_0" in self._types:
            label += "_"
        return label

    def adopt(self, node: NodeProto) -> None:
        """Append a node as it is written; where its outputs have no type, they get one if onnx knows."""
        if all(o in self._types for o in node.output):
            self.nodes.append(node)
            return
        with contextlib.suppress(FgcamError, KeyError):
            self._types |= self._infer(node)
        self.nodes.append(node)

    def _infer(self, node: NodeProto) -> dict[str, TypeProto]:
        try:
            schema = _schema(node.op_type, node.domain, self.model.opsets[node.domain])
        except onnx.defs.SchemaError:
            raise UnsupportedOperatorError(
                f"operator '{node.domain}.{node.op_type}' cannot be replayed on other inputs: "
                "its output type is not known to onnx"
            ) from None
        types = {n: self._types[n] for n in node.input if n}
        if node.op_type in KEEPS_TYPE:
            return {node.output[0]: types[node.input[0]]}
        data = {
            n: numpy_helper.from_array(self._constants[n], n)
            for n in node.input
            if n in self._constants and self._constants[n].size <= LARGE
        }
        try:
            found = dict(
                onnx.shape_inference.infer_node_outputs(schema, node, types, data, opset_imports=self._opset_imports)
            )
        except Exception as error:  # onnx raises several unrelated types here
            shapes = ", ".join(f"{n}: {list(dims_of(t))}" for n, t in types.items())
            raise FgcamError(f"{node.op_type} does not accept its inputs ({shapes}): {error}") from error
        return corrected(node, found, types, self._constants)

    @contextlib.contextmanager
    def aside(self, name: str) -> Iterator[list[NodeProto]]:
        """Collect the nodes that are emitted meanwhile, for a graph inside an operator; they may read from outside."""
        nodes, known, scope = self.nodes, self._known, self.scope
        self.scope = f"{scope}/{name}_{len(nodes)}"
        self.nodes, self._known = [], dict(known)
        try:
            yield self.nodes
        finally:
            self.nodes, self._known, self.scope = nodes, known, scope

    def declare(self, name: str, like: Value) -> Value:
        """Return a tensor ``name`` of the type of ``like``, which a node appended by hand makes."""
        self._types[name] = self._types[like.name]
        return Value(self, name)

    def typed(self, name: str, dtype: Any, shape: Shape) -> Value:
        """Return a tensor ``name`` of this type, which a node appended by hand makes."""
        self._types[name] = helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
        return Value(self, name)

    # ---- constants

    def constant(self, array: NDArray[Any]) -> Value:
        """Return ``array`` as an initializer; equal small arrays are stored once."""
        array = np.asarray(array)
        key = (array.dtype.str, str(array.dtype), array.shape, array.tobytes()) if array.size <= LARGE else None
        if key is not None and key in self._interned:
            return Value(self, self._interned[key])
        name = next(
            n for i in itertools.count(len(self._constants)) if (n := f"{PREFIX}constant_{i}") not in self._types
        )
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        self._types[name] = helper.make_tensor_type_proto(kind, array.shape)
        self._constants[name] = array
        if key is not None:
            self._interned[key] = name
        return Value(self, name)

    def lift(self, *items: Any) -> tuple[Value, ...]:
        """Turn Python numbers and arrays among ``items`` into constants of the values' dtype."""
        dtype = next(i.dtype for i in items if isinstance(i, Value))
        return tuple(i if isinstance(i, Value) else self.constant(np.asarray(i, dtype)) for i in items)

    def ints(self, numbers: Sequence[int]) -> Value:
        """Return an int64 vector, as shapes, axes and pads are given."""
        return self.constant(np.asarray(list(numbers), np.int64))

    # ---- small vocabulary

    def where(self, condition: Value, a: Any, b: Any) -> Value:
        """Choose ``a`` where ``condition``, else ``b``."""
        return self.emit("Where", condition, *self.lift(a, b))

    def cast(self, x: Value, dtype: np.dtype[Any]) -> Value:
        """Cast ``x`` to ``dtype``."""
        if x.dtype == dtype:
            return x
        return self.emit("Cast", x, to=helper.np_dtype_to_tensor_dtype(dtype))

    def reduce(self, op: str, x: Value, axis: int | Sequence[int] | None, *, keepdims: bool) -> Value:
        """Apply a Reduce operator over ``axis`` (all when None)."""
        if axis is None:
            return self.emit(op, x, keepdims=int(keepdims))
        axes = [axis] if isinstance(axis, int) else list(axis)
        return self.emit(op, x, self.ints(axes), keepdims=int(keepdims)) if axes else x

    def shape_of(self, x: Value) -> Value:
        """Return the shape of ``x`` as an int64 vector, folded where it is known."""
        if all(isinstance(d, int) for d in x.shape):
            return self.ints([d for d in x.shape if isinstance(d, int)])
        return self.emit("Shape", x)

    def reshape(self, x: Value, shape: Sequence[Dim] | Value) -> Value:
        """Reshape ``x``; one free dimension at most, or an int64 value."""
        if isinstance(shape, Value):
            return self.emit("Reshape", x, shape)
        if tuple(shape) == x.shape and all(isinstance(d, int) for d in shape[1:]):
            return x
        sizes = [d if isinstance(d, int) else -1 for d in shape]
        if sizes.count(-1) > 1:
            raise FgcamError(f"cannot reshape {x} to {list(shape)}: more than one dimension is free")
        return self.emit("Reshape", x, self.ints(sizes))

    def reshape_like(self, x: Value, like: Value) -> Value:
        """Reshape ``x`` to the shape of ``like``, also where several dimensions are free."""
        if sum(not isinstance(d, int) for d in like.shape) > 1:
            return self.typed_as(like, self.reshape(x, self.shape_of(like)))
        return self.reshape(x, like.shape)

    def zeros_like(self, x: Value, *, fill: float = 0) -> Value:
        """Return a tensor of the shape and dtype of ``x``, filled with ``fill``."""
        value = numpy_helper.from_array(np.array([fill], x.dtype))
        return self.typed_as(x, self.emit("ConstantOfShape", self.shape_of(x), value=value))

    def expand_like(self, x: Value, like: Value) -> Value:
        """Broadcast ``x`` to the shape of ``like``."""
        return self.typed_as(like, self.emit("Expand", x, self.shape_of(like)))

    def typed_as(self, like: Value, result: Value) -> Value:
        """Note that ``result`` has the shape of ``like``, which inference cannot see through a Shape node."""
        kind = TypeProto()
        kind.CopyFrom(self._types[like.name])
        kind.tensor_type.elem_type = self._types[result.name].tensor_type.elem_type
        self._types[result.name] = kind
        return result

    # ---- graph inputs and outputs

    def input(self, name: str, dtype: Any, shape: Shape) -> Value:
        """Add a graph input; refuses a name that the model already uses."""
        if name in self._types:
            raise FgcamError(f"the model already has a tensor named {name!r}")
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self._types[name] = self._inputs[name] = helper.make_tensor_type_proto(kind, shape)
        return Value(self, name)

    def feed(self, name: str, value: Value, *, source: Value, first: int) -> None:
        """Let ``value`` take the place of the graph input ``name``, and ``source`` be the input instead.

        ``value`` is made from ``source`` by the nodes from number ``first`` on.
        """
        made = self.nodes[first:]
        link = helper.make_node("Identity", [value.name], [name], name=self._free(f"{PREFIX}input/{name}"))
        self.nodes = [*made, link, *self.nodes[:first]]
        kind = self._inputs.pop(source.name)
        self._inputs = dict((source.name, kind) if n == name else (n, t) for n, t in self._inputs.items())

    def output(self, name: str, value: Value) -> str:
        """Let the program return ``value`` under ``name``, prefixed where another tensor is called so.

        Returns the name it has.
        """
        free = name not in self._types or name == value.name
        name = name if free else f"{OUTPUT}{name}"
        self._outputs[name] = value.name
        return name

    def build(self, *, inputs: Collection[str] = ()) -> Model:
        """Return the program: the nodes its outputs need, and nothing else but the ``inputs`` named."""
        nodes = [*self.nodes]
        for name, source in self._outputs.items():
            if name != source:
                label = self._free(f"{PREFIX}output/{name}")
                nodes.append(helper.make_node("Identity", [source], [name], name=label))
        needed = set(self._outputs)
        kept: list[NodeProto] = []
        for node in reversed(nodes):
            if needed.intersection(node.output):
                needed.update(reads(node))
                kept.append(node)
        kept.reverse()
        outputs = {n: self._types[s] for n, s in self._outputs.items()}
        return self.model.replaced(
            nodes=kept,
            constants={n: a for n, a in self._constants.items() if n in needed},
            inputs={n: t for n, t in self._inputs.items() if n in needed or n in inputs},
            outputs=outputs,
            types={n: t for n, t in self._types.items() if n in needed} | outputs,
        )


def _key(node: NodeProto) -> tuple[Any, ...]:
    """Return what makes two nodes compute the same, their names aside."""
    attributes = tuple(sorted(a.SerializeToString(deterministic=True) for a in node.attribute))
    return (node.op_type, node.domain, tuple(node.input), attributes)
