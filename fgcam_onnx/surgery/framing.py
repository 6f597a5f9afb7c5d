"""Framing: an input that is a picture in another shape, or no picture at all, as a batch of pictures.

Everything else may then take for granted that the input has a batch, channels and any number of spatial axes, such as
(N, C, L), (N, C, H, W), (N, C, D, H, W), or its channels elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, TypeProto, helper

from ..graph.emitter import PREFIX
from ..graph.facts import facts_of
from ..graph.model import Model, TensorSpec, dims_of
from ..graph.operators import ELEMENTWISE, SHAPES, VIEWS
from ..graph.shapes import Shape
from ..graph.subgraphs import reads
from ..graph.tape import attributes

GIVEN = f"{PREFIX}given/"
"""Prefix of the tensor that has the shape of the file's input."""
PICTURE = f"{PREFIX}picture/"
"""Prefix of the tensor that is the picture, in an exported file."""


@dataclass(frozen=True)
class Step:
    """A view: another order of the axes, or another shape; -1 is the free batch."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    order: tuple[int, ...] = ()

    @property
    def back(self) -> Step:
        """The view that undoes it."""
        return Step(self.after, self.before, tuple(int(i) for i in np.argsort(self.order)))

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the view of an array."""
        return array.transpose(self.order) if self.order else array.reshape(self.after)


@dataclass(frozen=True)
class Frame:
    """How the arrays that a model takes become pictures.

    Attributes
    ----------
    given : TensorSpec
        The input as the file has it.
    steps : tuple of Step
        The views that make a picture of it.
    flat : bool
        Whether it is a vector, framed as a signal of one channel.
    """

    given: TensorSpec
    steps: tuple[Step, ...]
    flat: bool = False

    def into(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array as the file takes it as pictures; what has the rank of pictures stays."""
        if array.ndim == len(self.given.shape):
            for step in self.steps:
                array = step(array)
        return array


def framed(model: Model, source: str) -> tuple[Model, Frame | None]:
    """Return ``model`` with input ``source`` as a batch of pictures, and how it is framed; None where it is one.

    The graph shows it: by views it makes a picture of (C, H, W), (H, W, C) or (N, C * H * W), and likewise of
    fewer or more spatial axes. A vector (N, K) of which it makes none is a signal of one channel.
    """
    spec = next(i for i in model.inputs if i.name == source)
    hidden = any(source in reads(n) and source not in n.input for n in model.nodes)
    if not spec.shape or len(spec.shape) == 4 or hidden or source in facts_of(model).channel_axis:
        return model, None
    found = _picture(model, spec)
    if found is not None:
        steps, end = found
        return _replaced(model, spec, steps, end), Frame(spec, tuple(steps))
    if len(spec.shape) > 2 or not all(isinstance(d, int) for d in spec.shape[-1:]):
        return model, None
    sizes = _sizes(spec.shape)
    wide = (sizes[0] if len(sizes) == 2 else 1, 1, sizes[-1])
    steps = [Step(sizes, wide)]
    return _replaced(model, spec, steps, None), Frame(spec, tuple(steps), flat=True)


def pictured(model: Model, spec: TensorSpec) -> TensorSpec:
    """Return an input as :func:`framed` leaves it, where it is a picture."""
    found, frame = framed(model, spec.name)
    return spec if frame is None or frame.flat else next(i for i in found.inputs if i.name == spec.name)


def unframed(model: Model, frame: Frame) -> Model:
    """Return a program with the input as the file has it; one that has no such input stays."""
    name = frame.given.name
    if name not in {i.name for i in model.inputs}:
        return model
    views, constants, types = _views(frame.steps, name, f"{PICTURE}{name}", model.types[name].tensor_type.elem_type)
    kind = helper.make_tensor_type_proto(model.types[name].tensor_type.elem_type, frame.given.shape)
    nodes = [*views, *_renamed(model.nodes, name, f"{PICTURE}{name}")]
    return _with_input(model, name, kind, nodes, constants, types)


def _picture(model: Model, spec: TensorSpec) -> tuple[list[Step], str | None] | None:
    """Follow the views of an input to a picture; return them and the picture, if nothing else lies between."""
    axes, name, steps, plain = facts_of(model).channel_axis, spec.name, list[Step](), True
    while True:
        shape = dims_of(model.types[name])
        if len(shape) > 2 and name in axes:
            batch = (1,) if len(spec.shape) < len(shape) else ()
            return (steps, name if plain else None) if shape[0] in (*spec.shape[:1], *batch) else None
        readers = [n for n in model.nodes if name in reads(n) and n.op_type not in SHAPES]
        if len(readers) != 1 or name in {o.name for o in model.outputs}:
            return None
        (node,) = readers
        after = model.types.get(node.output[0])
        if after is None or not after.tensor_type.HasField("shape"):
            return None
        sizes = _sizes(shape), _sizes(dims_of(after))
        if any(-1 in s[1:] for s in sizes):
            return None
        if node.op_type == "Transpose":
            order = attributes(node).get("perm") or range(len(shape))[::-1]
            steps.append(Step(*sizes, tuple(order)))
        elif node.op_type in VIEWS and sizes[0] != sizes[1]:
            steps.append(Step(*sizes))
        elif (node.op_type in ELEMENTWISE or node.op_type in VIEWS) and sizes[0] == sizes[1]:
            plain = plain and node.op_type in ("Dropout", "Identity")
        else:
            return None
        name = node.output[0]


def _sizes(shape: Shape) -> tuple[int, ...]:
    return tuple(d if isinstance(d, int) else -1 for d in shape)


def _replaced(model: Model, spec: TensorSpec, steps: Sequence[Step], end: str | None) -> Model:
    """Return ``model`` with the picture in place of the input: instead of tensor ``end``, or with the views undone."""
    name, element = spec.name, model.types[spec.name].tensor_type.elem_type
    shape = tuple(spec.shape[0] if s == -1 else s for s in steps[-1].after)
    kind = helper.make_tensor_type_proto(element, shape)
    if end is not None:
        kept = [n for n in model.nodes if end not in n.output]
        return _with_input(model, name, kind, _renamed(kept, end, name), {}, {})
    views, constants, types = _views([s.back for s in reversed(steps)], name, f"{GIVEN}{name}", element)
    types[f"{GIVEN}{name}"] = model.types[name]
    return _with_input(model, name, kind, [*views, *_renamed(model.nodes, name, f"{GIVEN}{name}")], constants, types)


def _views(
    steps: Sequence[Step], source: str, result: str, element: int
) -> tuple[list[NodeProto], dict[str, NDArray[Any]], dict[str, TypeProto]]:
    """Return the nodes that take ``source`` by ``steps`` to ``result``, their constants, and the types of both."""
    nodes, constants, types = list[NodeProto](), dict[str, NDArray[Any]](), dict[str, TypeProto]()
    for i, step in enumerate(steps):
        name = result if i == len(steps) - 1 else f"{result}/{i}"
        if step.order:
            nodes.append(helper.make_node("Transpose", [source], [name], name=f"{name}/view", perm=list(step.order)))
        else:
            sizes = f"{name}/shape"
            constants[sizes] = np.asarray(step.after, np.int64)
            types[sizes] = helper.make_tensor_type_proto(TensorProto.INT64, [len(step.after)])
            nodes.append(helper.make_node("Reshape", [source, sizes], [name], name=f"{name}/view"))
        types[name] = helper.make_tensor_type_proto(element, ["N" if s == -1 else s for s in step.after])
        source = name
    return nodes, constants, types


def _renamed(nodes: Sequence[NodeProto], name: str, other: str) -> list[NodeProto]:
    """Return ``nodes`` reading ``other`` where they read ``name``."""
    changed = []
    for node in nodes:
        copy = NodeProto()
        copy.CopyFrom(node)
        for i, read in enumerate(copy.input):
            if read == name:
                copy.input[i] = other
        changed.append(copy)
    return changed


def _with_input(
    model: Model,
    name: str,
    kind: TypeProto,
    nodes: Sequence[NodeProto],
    constants: Mapping[str, NDArray[Any]],
    types: Mapping[str, TypeProto],
) -> Model:
    """Return ``model`` of other nodes, with input ``name`` of another type."""
    needed = {o.name for o in model.outputs}
    kept: list[NodeProto] = []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(reads(node))
            kept.append(node)
    kept.reverse()
    inputs = {i.name: (kind if i.name == name else i.type) for i in model.proto.graph.input}
    return model.replaced(
        nodes=kept,
        constants={n: a for n, a in {**model.constants, **constants}.items() if n in needed},
        inputs=inputs,
        outputs={o.name: o.type for o in model.proto.graph.output},
        types={**model.types, **types, name: kind},
    )
