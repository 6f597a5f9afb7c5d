"""Layers: tensors with spatial extent on the way to the score; how they are named, found and ranked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..errors import LayerError, suggest
from ..graph.facts import producers_of, reached_from
from ..graph.memo import once
from ..graph.model import Model, dims_of
from ..graph.operators import VIEWS
from ..graph.shapes import Shape
from ..graph.value import Array
from .answers import answer_itself, shared_by_all
from .images import SCATTERED, images_of
from .layout import Size, layouts_of
from .paths import ancestors_of, bottlenecks_of, depths_of, patch_bottlenecks
from .reach import Mask, reach_of
from .scopes import by_scope, scope_of
from .tokens import Grid

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
        The tensor's, as the graph has it.
    channel_axis : int
        Axis of the channels when folded.
    every_path : bool
        Whether all of the input's influence on the score passes through it; of tokens, whether all does that
        the patches of the deepest such layer have.
    grid : Grid or None
        How its tokens lie in the picture, where it is a sequence of tokens (N, T, C); None for a picture.
    reach : {"all", "some", "none"}
        How much of what is in the map the score depends on; where nothing, every gradient is 0.
    shared : bool
        Of an answer with places: whether all of it depends on the layer, and no layer behind is on every path.
    answer : bool
        Whether its channels are the classes of the answer already: a map there is the answer itself.
    """

    name: str
    op: str
    node: str
    scope: str
    shape: Shape
    channel_axis: int
    every_path: bool
    grid: Grid | None = None
    reach: str = "all"
    shared: bool = False
    answer: bool = False

    @property
    def folded_shape(self) -> Shape:
        """The shape of its activations when folded: with channels and space on axes of their own."""
        return self.shape if self.grid is None else self.grid.folded_shape(self.shape)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return _size(self.folded_shape[self.channel_axis])

    @property
    def spatial_axes(self) -> tuple[int, ...]:
        """The axes of the map when folded: all but the batch and the channels."""
        return tuple(a for a in range(1, len(self.folded_shape)) if a != self.channel_axis)

    @property
    def spatial(self) -> tuple[int, ...]:
        """Size of the map."""
        return tuple(_size(self.folded_shape[a]) for a in self.spatial_axes)

    @property
    def by_channel(self) -> tuple[int | None, ...]:
        """The shape of numbers (N, C), one for each channel, that are to be multiplied with folded activations."""
        return (None, *(self.channels if a == self.channel_axis else 1 for a in range(1, len(self.folded_shape))))

    def folded(self, v: Array) -> Array:
        """Return ``v``, of the tensor's shape, with channels and space on axes of their own.

        Tokens (N, T, C) become a picture (N, h, w, C), or of other axes; those beside the grid are dropped.
        """
        return v if self.grid is None else self.grid.fold(v)

    def unfolded(self, v: Array, like: Array) -> Array:
        """Return folded ``v`` in the shape of the tensor ``like``; what is not in the map is 0."""
        return v if self.grid is None else self.grid.unfold(v)

    @property
    def why(self) -> str:
        """The reason for its rank, for people."""
        size = "x".join(map(str, self.spatial))
        parts = [f"{size} positions, {self.channels} channels"]
        if self.grid is not None and self.grid.extra:
            parts.append(f"{self.grid.extra} extra token{'s' if self.grid.extra > 1 else ''} left out")
        if self.reach == "none":
            return ", ".join([*parts, "none of it reaches the score: every gradient is 0"])
        if self.reach == "some":
            parts.append("only a part of it reaches the score")
        branch = "all of the answer depends on it" if self.shared else "on one of several branches"
        parts.append("all of the score passes through it" if self.every_path else branch)
        if self.answer:
            parts.append("its channels are the classes: the answer itself")
        return ", ".join(parts)


def _size(dim: int | str | None) -> int:
    return dim if isinstance(dim, int) else 1


def candidate_layers(model: Model, *, logits: str, source: str | None = None, grid: Size | None = None) -> list[Layer]:
    """Return every layer on a path from an input to ``logits``, from the input to the deepest.

    ``source`` is the input whose picture is explained, where there are several: only what depends on it is a layer
    of it. ``grid`` is the size of the tokens' grid, such as (height, width), where the graph does not show it or is to
    be overruled.
    """
    return list(_layers(model, logits, source, grid).values())


def _layers(model: Model, logits: str, source: str | None, grid: Size | None) -> Mapping[str, Layer]:
    return _candidates(model, logits, grid, source if len(model.inputs) > 1 else None)


@once
def _candidates(model: Model, logits: str, given: Size | None, source: str | None) -> Mapping[str, Layer]:
    sources = [i.name for i in model.inputs if source in (None, i.name)]
    varying = reached_from(model, *sources)
    ancestors = ancestors_of(model, logits)
    gates = bottlenecks_of(model, logits, ancestors, source)
    producers = producers_of(model)
    found: dict[str, Layer] = {}
    layouts, reached = layouts_of(model, given, source), reach_of(model, logits)
    for name in sources + [o for n in model.nodes for o in n.output]:
        if name not in ancestors or name not in varying or name not in model.types:
            continue
        if name not in layouts:
            continue
        lie = images_of(model, sources[0]).get(name) if len(sources) == 1 else None
        if lie is not None and (lie == SCATTERED or lie.axis):
            continue
        axis, grid = layouts[name]
        node = producers.get(name)
        layer = Layer(
            name,
            node.op_type if node else "Input",
            node.name if node else name,
            scope_of(node) if node else "",
            dims_of(model.types[name]),
            axis,
            name in gates,
            grid,
        )
        if any(d != 1 for d in layer.spatial):
            found[name] = replace(layer, reach=_reach(layer, reached.asked.get(name)))
    found = _with_answer(model, logits, found, source)
    start = [x for x in found.values() if x.every_path and x.grid is not None and x.grid.extra and x.reach == "all"]
    if start:
        gates = patch_bottlenecks(model, start[-1].name, reached, source)
        found |= {n: replace(found[n], every_path=True) for n in gates if n in found and found[n].grid is not None}
    return found


def _with_answer(model: Model, logits: str, found: Mapping[str, Layer], source: str | None) -> dict[str, Layer]:
    """Return layers with what is known of them where the answer has places."""
    itself, shared = answer_itself(model, logits), shared_by_all(model, logits)
    names = sorted(found, key=depths_of(model, logits).__getitem__)
    own = [n for n in names if n not in itself]
    last = max((i for i, n in enumerate(names) if found[n].every_path and n in own), default=-1)
    behind = {n for n in names[last + 1 :] if n in own and n in shared and found[n].grid is None}
    deepest = next((n for n in reversed(names) if n in behind), None)
    if deepest is not None:
        behind &= {deepest} | bottlenecks_of(model, deepest, ancestors_of(model, deepest), source)
    return {n: replace(x, answer=n in itself, shared=n in behind) for n, x in found.items()}


def _reach(layer: Layer, mask: Mask | None) -> str:
    """Return how much of a layer's map the score depends on."""
    if mask is None:
        return "none"
    if not mask.ndim or mask.shape[1:] != layer.shape[1:]:
        return "all"
    seen = layer.folded(mask)
    return "all" if seen.all() else "some" if seen.any() else "none"


def default_base(model: Model, *, logits: str, source: str | None = None, grid: Size | None = None) -> Layer:
    """Return the deepest layer that still has spatial extent, preferring one that all of the score passes.

    ``source`` and ``grid`` are those of :func:`candidate_layers`.

    Raises
    ------
    LayerError
        When no tensor on the way to the score has spatial extent.
    """
    layers = ranked_layers(model, logits=logits, source=source, grid=grid)
    if not layers:
        way = "on the way" if source is None or len(model.inputs) == 1 else f"on the way from input {source!r}"
        raise LayerError(
            f"no tensor {way} to the score has channels and spatial extent: a signal (N, C, L), a picture "
            "(N, C, H, W), a volume (N, C, D, H, W), or tokens of a grid (N, T, C), which --grid HxW (grid=) names "
            "where the graph does not show it. Methods that explain the input need none, such as auto and saliency"
        )
    return layers[0]


def ranked_layers(model: Model, *, logits: str, source: str | None = None, grid: Size | None = None) -> list[Layer]:
    """Return the candidates, best base layer first: deepest, on every path, not a mere view.

    Where the answer has places, one that all of it depends on is as good as one on every path, and the answer itself
    comes behind. Tokens of which only a part reaches the score come behind, layers of which nothing does last.
    """
    layers = [x for x in _layers(model, logits, source, grid).values() if x.op != "Input"]
    depth = depths_of(model, logits)
    return sorted(
        layers, key=lambda x: (_lacks(x), x.answer, not (x.every_path or x.shared), x.op in VIEWS, -depth[x.name])
    )


def _lacks(layer: Layer) -> int:
    """Return how little of a layer's map the score depends on; of a picture, parts do not count."""
    return 2 if layer.reach == "none" else int(layer.reach == "some" and layer.grid is not None)


def find_layer(model: Model, name: str, *, logits: str, source: str | None = None, grid: Size | None = None) -> Layer:
    """Return the layer called ``name``: a tensor, a node, an exporter scope, or a unique prefix of one.

    ``input`` is the graph's input (``source``, where there are several) whatever its name, and whatever inner tensor
    is called so. A scope stands for the last tensor made inside it.

    Raises
    ------
    LayerError
        No such layer, several, or one without spatial extent or off the path to the score.
    """
    layers = _layers(model, logits, source, grid)
    if name == INPUT:
        inputs = [x for x in layers.values() if x.op == "Input"]
        if len(inputs) > 1:
            named = ", ".join(x.name for x in inputs)
            raise LayerError(f"the graph has several inputs, {named}: choose one with input= (--input NAME)")
        if not inputs:
            which = "the graph's input" if source is None else f"input {source!r}"
            raise LayerError(f"{which} has no channels and spatial extent; name another layer")
        return inputs[0]
    if name in layers:
        return layers[name]
    by_node = {x.node: x for x in layers.values()}
    scopes = by_scope(model, layers)
    for table in (by_node, scopes):
        if name in table:
            return table[name]
    everything = {**scopes, **by_node, **layers}
    hits = {x.name: x for key, x in everything.items() if key.startswith(name)}
    if len(hits) == 1:
        return next(iter(hits.values()))
    if hits:
        raise LayerError(f"layer {name!r} is not unique: {_some(list(hits))}")
    raise LayerError(_refusal(model, name, everything, source))


def _refusal(model: Model, name: str, known: Mapping[str, Layer], source: str | None) -> str:
    kind = model.types.get(name)
    if kind is None:
        node = next((n for n in model.nodes if n.name == name and n.output), None)
        kind = model.types.get(node.output[0]) if node is not None else None
    if kind is not None:
        shape = list(dims_of(kind))
        path = "no path to the score" if source is None else f"no path from input {source!r} to the score"
        return (
            f"layer {name!r} has shape {shape}: it has no spatial extent, or {path}. "
            "`fgcam inspect` lists the layers that can carry a map."
        )
    return f"no layer {name!r}.{suggest(name, known)} `fgcam inspect` lists them all."


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
