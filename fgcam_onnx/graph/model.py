"""Model: a checked ONNX graph at a modern opset, its weights kept beside it as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, TypeProto, helper, numpy_helper

from ..errors import ModelError, UnsupportedOperatorError
from .shapes import Shape
from .subgraphs import reads

LARGE = 1024
"""Constants with more elements travel beside the graph, not inside it."""

PACKED = frozenset({"float4_e2m1fn", "int2", "int4", "uint2", "uint4"})
"""Element types of which a file's byte holds several, and an array's only one."""

WEIGHTS_FILE = "weights.bin"


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a model: its name, dtype and shape (symbol or None where free)."""

    name: str
    dtype: np.dtype[Any]
    shape: Shape


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A handle on an ONNX graph whose transformations return new models.

    Attributes
    ----------
    proto : ModelProto
        The graph without its constants; opset 18 or newer, tensor names unique.
    constants : mapping of str to ndarray
        Every constant tensor, weights included.
    types : mapping of str to TypeProto
        The type of every tensor that shape inference reached.
    path : Path or None
        The file it was read from.
    beside : frozenset of Path
        The files that its weights were read from, where they lay outside it.
    opset_read : int
        The opset the file was written in.
    notes : tuple of str
        What had to be settled that the file leaves open.
    memo : dict
        What was found out of it (`memo.once`); of no other model, one made from this included.
    """

    proto: onnx.ModelProto
    constants: Mapping[str, NDArray[Any]]
    types: Mapping[str, TypeProto]
    path: Path | None = None
    beside: frozenset[Path] = frozenset()
    opset_read: int = 0
    notes: tuple[str, ...] = ()
    memo: dict[Any, Any] = field(default_factory=dict, init=False)

    def __getstate__(self) -> dict[str, Any]:
        """Return what it is, without what was found out of it."""
        return {**vars(self), "memo": {}}

    def __repr__(self) -> str:
        """Say what the model is, not its weights."""
        ends = (", ".join(f"{t.name} {list(t.shape)}" for t in each) for each in (self.inputs, self.outputs))
        return f"<Model {self.path or 'in memory'}: {len(self.nodes)} nodes, {' -> '.join(ends)}>"

    @property
    def opsets(self) -> dict[str, int]:
        """Version of every operator set, by domain."""
        return {o.domain: o.version for o in self.proto.opset_import}

    @property
    def producer(self) -> str:
        """The exporter's name and version."""
        return f"{self.proto.producer_name} {self.proto.producer_version}".strip() or "unknown"

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The graph's inputs, constants excluded."""
        return tuple(_spec(i) for i in self.proto.graph.input)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The graph's outputs."""
        return tuple(_spec(o) for o in self.proto.graph.output)

    @property
    def answers(self) -> tuple[TensorSpec, ...]:
        """The graph's outputs that it computes: neither constants nor inputs."""
        given = {*self.constants, *(i.name for i in self.proto.graph.input)}
        return tuple(o for o in self.outputs if o.name not in given)

    @property
    def nodes(self) -> Sequence[NodeProto]:
        """The operators in execution order."""
        nodes: Sequence[NodeProto] = self.proto.graph.node
        return nodes

    def replaced(
        self,
        *,
        nodes: Sequence[NodeProto],
        constants: Mapping[str, NDArray[Any]],
        inputs: Mapping[str, TypeProto],
        outputs: Mapping[str, TypeProto],
        types: Mapping[str, TypeProto],
    ) -> Model:
        """Return a model of the same opsets with another graph."""
        graph = onnx.GraphProto(name=self.proto.graph.name or "graph")
        graph.node.extend(nodes)
        graph.input.extend(onnx.ValueInfoProto(name=n, type=t) for n, t in inputs.items())
        graph.output.extend(onnx.ValueInfoProto(name=n, type=t) for n, t in outputs.items())
        proto = onnx.ModelProto()
        for name in ("ir_version", "producer_name", "producer_version", "domain", "model_version"):
            setattr(proto, name, getattr(self.proto, name))
        proto.opset_import.extend(self.proto.opset_import)
        proto.metadata_props.extend(self.proto.metadata_props)
        proto.graph.CopyFrom(graph)
        return replace(self, proto=proto, constants=dict(constants), types=dict(types))

    def with_nodes(self, nodes: Sequence[NodeProto], *, constants: Mapping[str, NDArray[Any]] | None = None) -> Model:
        """Return a model of the same ends with these nodes, those aside that nothing reads, and more constants."""
        needed, kept = {o.name for o in self.outputs}, list[NodeProto]()
        for node in reversed(nodes):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(reads(node))
        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        proto.graph.ClearField("node")
        proto.graph.node.extend(reversed(kept))
        return replace(self, proto=proto, constants={**self.constants, **(constants or {})})

    def serialized(self) -> tuple[bytes, dict[str, NDArray[Any]]]:
        """Return the graph as bytes, and the large constants that a runtime takes beside it.

        The graph names the large constants as external data in ``weights.bin``, a file that need not exist:
        the runtime is handed the arrays themselves, so nothing is copied and 2 GB is no limit.
        """
        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        beside: dict[str, NDArray[Any]] = {}
        offset = 0
        for name, array in self.constants.items():
            if array.size <= LARGE or array.dtype == object or array.dtype.name in PACKED:
                proto.graph.initializer.append(numpy_helper.from_array(array, name))
                continue
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            tensor = TensorProto(name=name, data_type=kind, dims=array.shape, data_location=TensorProto.EXTERNAL)
            for key, value in (("location", WEIGHTS_FILE), ("offset", offset), ("length", array.nbytes)):
                tensor.external_data.add(key=key, value=str(value))
            offset += array.nbytes
            proto.graph.initializer.append(tensor)
            beside[name] = array
        return proto.SerializeToString(), beside

    def standalone(self) -> onnx.ModelProto:
        """Return a ModelProto that holds every constant; for files below 2 GB."""
        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in self.constants.items())
        return proto


def element_type(dtype: np.dtype[Any]) -> int:
    """Return onnx's number of an element type."""
    return int(helper.np_dtype_to_tensor_dtype(dtype))


def dims_of(kind: TypeProto) -> Shape:
    """Return the dimensions of a tensor type: int, symbol, or None."""
    if not kind.tensor_type.HasField("shape"):
        raise ModelError("shape inference found no rank for a tensor on the way; fix the input's size (--size)")
    return tuple(d.dim_value if d.HasField("dim_value") else (d.dim_param or None) for d in kind.tensor_type.shape.dim)


def dtype_of(name: str, kind: TypeProto) -> np.dtype[Any]:
    """Return the NumPy dtype of tensor ``name``; refuse what is no tensor."""
    if not kind.HasField("tensor_type"):
        other = str(kind.WhichOneof("value")).removesuffix("_type")
        raise UnsupportedOperatorError(f"{name!r} is no tensor ({other}): nothing is handed back through it")
    return helper.tensor_dtype_to_np_dtype(kind.tensor_type.elem_type)


def _spec(info: onnx.ValueInfoProto) -> TensorSpec:
    kind = info.type.tensor_type
    if not info.type.HasField("tensor_type"):
        return TensorSpec(info.name, np.dtype(object), ())
    if kind.elem_type not in helper.get_all_tensor_dtypes():
        raise ModelError(f"{info.name!r} is of element type {kind.elem_type}, which onnx does not know")
    shape = dims_of(info.type) if kind.HasField("shape") else (None,)
    return TensorSpec(info.name, helper.tensor_dtype_to_np_dtype(kind.elem_type), shape)


def smallest_program() -> bytes:
    """Return a program of one node (y = -x, one float), to find out whether a device works."""
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "smallest", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 18)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def is_float32(model: Model, name: str) -> bool:
    """Tell whether a tensor is known to be of float32."""
    kind = model.types.get(name)
    return kind is not None and kind.tensor_type.elem_type == TensorProto.FLOAT
