"""Layers: tensors with spatial extent on the way to the score; how they are named, found and ranked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from onnx import NodeProto

from ..errors import LayerError, suggest
from .facts import facts_of, producers_of
from .model import Model, dims_of
from .operators import VIEWS
from .subgraphs import reads
from .value import Array, Shape

INPUT = "input"


@dataclass(frozen=True)
class Layer:
    """A tensor on which a map can be computed.

    Attributes
    ----------
    name : str
        Tensor name.
    op, node, scope : str
        The operator and node that make it, and the exporter's module path (``layer4.1``), if kept.
    shape : Shape
    channel_axis : int
    channels, height, width : int
    every_path : bool
        Whether all of the input's influence on the score passes through it.
    """

    name: str
    op: str
    node: str
    scope: str
    shape: Shape
    channel_axis: int
    every_path: bool

    @property
    def channels(self) -> int:
        """Number of channels."""
        return _size(self.shape[self.channel_axis])

    @property
    def spatial_axes(self) -> tuple[int, ...]:
        """The axes of the map: all but the batch and the channels."""
        return tuple(a for a in range(1, len(self.shape)) if a != self.channel_axis)

    @property
    def spatial(self) -> tuple[int, ...]:
        """Size of the map."""
        return tuple(_size(self.shape[a]) for a in self.spatial_axes)

    def folded(self, v: Array) -> Array:
        """Return ``v``, of the tensor's shape, with channels and space on axes of their own."""
        return v

    def unfolded(self, v: Array, like: Array) -> Array:
        """Return folded ``v`` in the shape of the tensor ``like``; what is not in the map is 0."""
        return v

    @property
    def why(self) -> str:
        """The reason for its rank, for people."""
        size = "x".join(map(str, self.spatial))
        path = "all of the score passes through it" if self.every_path else "on one of several branches"
        return f"{size} positions, {self.channels} channels, {path}"


def _size(dim: int | str | None) -> int:
    return dim if isinstance(dim, int) else 1


def candidate_layers(model: Model, *, logits: str) -> list[Layer]:
    """Return every layer on a path from an input to ``logits``, from the input to the deepest."""
    return list(_candidates(model, logits).values())


def _candidates(model: Model, logits: str) -> dict[str, Layer]:
    facts = facts_of(model)
    ancestors = _ancestors(model, logits)
    gates = _bottlenecks(model, logits, ancestors)
    producers = producers_of(model)
    found: dict[str, Layer] = {}
    names = [i.name for i in model.inputs] + [o for n in model.nodes for o in n.output]
    for name in names:
        if name not in ancestors or name not in facts.varying or name not in model.types:
            continue
        axis = facts.channel_axis.get(name)
        if axis is None or not model.types[name].tensor_type.HasField("shape"):
            continue
        node = producers.get(name)
        layer = Layer(
            name,
            node.op_type if node else "Input",
            node.name if node else name,
            scope_of(node) if node else "",
            dims_of(model.types[name]),
            axis,
            name in gates,
        )
        if len(layer.shape) == 4 and any(d != 1 for d in layer.spatial):
            found[name] = layer
    return found


def default_base(model: Model, *, logits: str) -> Layer:
    """Return the deepest layer that still has spatial extent, preferring one that all of the score passes.

    Raises
    ------
    LayerError
        When no tensor on the way to the score has spatial extent.
    """
    layers = ranked_layers(model, logits=logits)
    if not layers:
        raise LayerError("no tensor on the way to the score has channels and spatial extent (N, C, H, W)")
    return layers[0]


def ranked_layers(model: Model, *, logits: str) -> list[Layer]:
    """Return the candidates, best base layer first: deepest, on every path, not a mere view."""
    layers = [x for x in candidate_layers(model, logits=logits) if x.op != "Input"]
    depth = {x.name: i for i, x in enumerate(layers)}
    return sorted(layers, key=lambda x: (not x.every_path, x.op in VIEWS, -depth[x.name]))


def find_layer(model: Model, name: str, *, logits: str) -> Layer:
    """Return the layer called ``name``: a tensor, a node, an exporter scope, or a unique prefix of one.

    ``input`` is the graph's input whatever its name. A scope stands for the last tensor made inside it.

    Raises
    ------
    LayerError
        No such layer, several, or one without spatial extent or off the path to the score.
    """
    layers = _candidates(model, logits)
    if name == INPUT and INPUT not in layers:
        inputs = [x for x in layers.values() if x.op == "Input"]
        if len(inputs) != 1:
            raise LayerError("the graph's input has no channels and spatial extent; name another layer")
        return inputs[0]
    if name in layers:
        return layers[name]
    by_node = {x.node: x for x in layers.values()}
    by_scope = _by_scope(layers)
    for table in (by_node, by_scope):
        if name in table:
            return table[name]
    everything = {**by_scope, **by_node, **layers}
    hits = {x.name: x for key, x in everything.items() if key.startswith(name)}
    if len(hits) == 1:
        return next(iter(hits.values()))
    if hits:
        raise LayerError(f"layer {name!r} is not unique: {_some(list(hits))}")
    raise LayerError(_refusal(model, name, everything))


def _refusal(model: Model, name: str, known: Mapping[str, Layer]) -> str:
    kind = model.types.get(name)
    if kind is None:
        node = next((n for n in model.nodes if n.name == name and n.output), None)
        kind = model.types.get(node.output[0]) if node is not None else None
    if kind is not None:
        shape = list(dims_of(kind))
        return (
            f"layer {name!r} has shape {shape}: it has no spatial extent, or no path to the score. "
            "`fgcam inspect` lists the layers that can carry a map."
        )
    return f"no layer {name!r}.{suggest(name, known)} `fgcam inspect` lists them all."


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _by_scope(layers: Mapping[str, Layer]) -> dict[str, Layer]:
    """Return each scope and all its parents, with the last layer made inside."""
    table: dict[str, Layer] = {}
    for layer in layers.values():
        parts = layer.scope.split(".") if layer.scope else []
        for i in range(1, len(parts) + 1):
            table[".".join(parts[:i])] = layer
    return table


def scope_of(node: NodeProto) -> str:
    """Return the module path an exporter left on ``node`` (``layer4.1.conv2``), or an empty string."""
    for prop in node.metadata_props:
        if prop.key == "pkg.torch.onnx.name_scopes":
            try:
                scopes = json.loads(prop.value.replace("'", '"'))
            except ValueError:
                return ""
            named = [s for s in scopes[:-1] if isinstance(s, str) and s]
            return named[-1] if named else ""
    parts = [p for p in node.name.split("/")[:-1] if p]
    path = ""
    for part in parts:
        path = part if not path or part.startswith(path + ".") else f"{path}.{part}"
    return path if re.fullmatch(r"[\w.\-]+", path) else ""


def _ancestors(model: Model, logits: str) -> set[str]:
    needed = {logits}
    for node in reversed(model.nodes):
        if needed.intersection(node.output):
            needed.update(reads(node))
    return needed


def _bottlenecks(model: Model, logits: str, ancestors: set[str]) -> set[str]:
    """Return the tensors that every path from an input to ``logits`` passes.

    Tensors are laid out in execution order; one that no edge jumps over is a bottleneck.
    """
    varying = facts_of(model).varying
    order: dict[str, int] = {i.name: 0 for i in model.inputs}
    edges: list[tuple[int, int]] = []
    names: list[str] = [""]
    for node in model.nodes:
        if not any(o in ancestors for o in node.output) or not any(i in varying for i in reads(node)):
            continue
        if node.op_type in ("Shape", "Size"):
            continue
        position = len(names)
        names.append(node.output[0])
        order |= {o: position for o in node.output if o}
        edges += [(order[i], position) for i in reads(node) if i in order]
    jumps = [0] * (len(names) + 1)
    for a, b in edges:
        if b > a + 1:
            jumps[a + 1] += 1
            jumps[b] -= 1
    result = {i.name for i in model.inputs} if len(model.inputs) == 1 else set()
    over = 0
    for position, name in enumerate(names):
        over += jumps[position]
        if position and over == 0:
            result.add(name)
    return result
