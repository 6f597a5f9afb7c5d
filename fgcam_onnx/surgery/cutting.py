"""Cut a model at a tensor into the part before it and the part behind it, and join two parts again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from ..errors import LayerError
from ..graph.emitter import PREFIX, Emitter
from ..graph.facts import facts_of, reached_from
from ..graph.model import Model, dims_of
from ..graph.shapes import Shape
from ..graph.subgraphs import reads
from ..graph.tape import attributes

Constants = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Cut:
    """A model cut at a tensor.

    Attributes
    ----------
    at : str
        The tensor.
    crossing : tuple of str
        What else depends on the input and is read behind the cut: skip connections, other inputs.
    head : Model
        From the tensor and what crosses, as inputs of their own names, to the output.
    """

    model: Model
    at: str
    crossing: tuple[str, ...]
    head: Model

    @property
    def trunk(self) -> Model:
        """The part before: from the model's inputs to the tensor and what crosses, inputs of the model left out."""
        emitter = Emitter(self.model)
        given = {i.name for i in self.model.inputs}
        for name in (self.at, *self.crossing):
            if name not in given:
                emitter.output(name, emitter.value(name))
        return emitter.build()


def cut(model: Model, at: str, *, output: str, common: Collection[str] = ()) -> Cut:
    """Cut ``model`` at tensor ``at``, keeping what leads from there to ``output``.

    What does not depend on the input, and what is ``common`` to all images, stays on the side that reads it; a shape
    that the head asks of a tensor before the cut is taken from ``at``, which has the same batch.

    Raises
    ------
    LayerError
        ``at`` does not lie on a path to ``output``, or something without a batch axis crosses (the scale of a
        dynamic quantizer).
    """
    reached = reached_from(model, at)
    if output not in reached or output == at:
        raise LayerError(f"nothing flows from layer {at!r} to {output!r}. `fgcam inspect` lists the layers that do.")
    varying, needed = facts_of(model).varying - set(common), {output}
    kept: list[NodeProto] = []
    crossing: list[str] = []
    constants: Constants = {}
    for node in reversed(model.nodes):
        wanted = needed.intersection(node.output) - {at}
        if not wanted:
            continue
        if (at in node.output or not reached.intersection(node.output)) and varying.intersection(node.output):
            crossing += sorted(wanted)
            continue
        shape = _shape_behind(model, node, at) if node.op_type == "Shape" and node.input[0] not in reached else None
        nodes, added = shape if shape is not None else ([node], {})
        kept += nodes
        constants |= added
        needed.update(name for n in nodes for name in reads(n))
    kept.reverse()
    crossing += [i.name for i in model.inputs if i.name in needed and i.name != at]
    inputs = [at, *reversed(crossing)]
    for name in inputs:
        kind = model.types.get(name)
        if kind is None or not kind.tensor_type.HasField("shape"):
            raise LayerError(f"the model cannot be cut at {at!r}: the shape of {name!r}, which crosses, is not known")
        if not dims_of(kind) and name not in {i.name for i in model.inputs}:
            raise LayerError(
                f"the model cannot be cut at {at!r}: {name!r}, one number for a whole batch, crosses; "
                "choose a layer before the quantizer that makes it, or after what undoes it"
            )
    return Cut(model, at, tuple(inputs[1:]), _head(model, kept, constants, inputs, output))


def _head(model: Model, nodes: list[NodeProto], constants: Constants, inputs: list[str], output: str) -> Model:
    read = {name for node in nodes for name in reads(node)} | set(inputs)
    made = {name for node in nodes for name in node.output}
    return model.replaced(
        nodes=nodes,
        constants={n: a for n, a in model.constants.items() if n in read} | constants,
        inputs={n: model.types[n] for n in inputs},
        outputs={output: model.types[output]},
        types={n: t for n, t in model.types.items() if n in read | made},
    )


def _shape_behind(model: Model, node: NodeProto, at: str) -> tuple[list[NodeProto], Constants] | None:
    """Return what makes the same shape from ``at``, last node first; None where only the tensor itself can."""
    here, there = _dims(model, node.input[0]), _dims(model, at)
    if not here or not there or here[0] != there[0] or not all(isinstance(d, int) for d in here[1:]):
        return None
    limits = attributes(node)
    start, end, _ = slice(limits.get("start"), limits.get("end")).indices(len(here))
    name, rest = node.output[0], np.asarray(here[max(start, 1) : end], np.int64)
    if start > 0 or end == 0:
        return [], {name: rest}
    batch, fixed = f"{PREFIX}cut/{name}/batch", f"{PREFIX}cut/{name}/rest"
    return [
        helper.make_node("Concat", [batch, fixed], [name], axis=0),
        helper.make_node("Shape", [at], [batch], start=0, end=1),
    ], {fixed: rest}


def _dims(model: Model, name: str) -> Shape:
    kind = model.types.get(name)
    return dims_of(kind) if kind is not None and kind.tensor_type.HasField("shape") else ()


def blank(model: Model) -> Model:
    """Return a model of no nodes with the constants of ``model``, to write what shall come before it."""
    types = {n: t for n, t in model.types.items() if n in model.constants}
    return model.replaced(nodes=[], constants=model.constants, inputs={}, outputs={}, types=types)


def joined(first: Model, second: Model) -> Model:
    """Return ``second`` with what ``first`` makes in place of its inputs of the same names.

    Raises
    ------
    ValueError
        Both make a tensor of the same name.
    """
    outputs = {o.name for o in first.outputs}
    made = [{o for n in m.nodes for o in n.output if o} for m in (first, second)]
    if clash := made[0] & made[1]:
        raise ValueError(f"both parts make {sorted(clash)}")
    inputs = {i.name: i.type for i in first.proto.graph.input}
    inputs |= {i.name: i.type for i in second.proto.graph.input if i.name not in outputs}
    return second.replaced(
        nodes=[*first.nodes, *second.nodes],
        constants={**first.constants, **second.constants},
        inputs=inputs,
        outputs={o.name: o.type for o in second.proto.graph.output},
        types={**first.types, **second.types},
    )
