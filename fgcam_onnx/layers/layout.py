"""Layout: which axes of a tensor are channels and space, and how its tokens lie in the picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from ..errors import LayerError
from ..graph.facts import facts_of, reached_from
from ..graph.memo import once
from ..graph.model import Model, dims_of
from ..graph.shapes import Shape
from .places import Places, places_of
from .tokens import Grid, grid_given, grid_of, picture_axis, shows_picture

Size = tuple[int, ...]
"""Of a grid, along each of its axes."""
Layout = tuple[int, Grid | None]
"""The channel axis of a tensor when folded, and the grid of its tokens; None for a picture."""


@once
def layouts_of(model: Model, given: Size | None = None, source: str | None = None) -> Mapping[str, Layout]:
    """Return the layout of every tensor that is a picture or a grid of tokens.

    Parameters
    ----------
    source : str, optional
        The input whose picture is meant; default any.
    given : tuple of int, optional
        The size of the grid, such as (height, width), that the last tokens of a sequence are; overrules what the graph
        shows.

    Raises
    ------
    LayerError
        There is no sequence for the grid that was given.
    """
    facts, places = facts_of(model), places_of(model, source)
    varying = facts.varying if source is None else reached_from(model, source)
    shapes = {n: dims_of(t) for n, t in model.types.items() if n in varying and t.tensor_type.HasField("shape")}
    shown = {n: _shown(s, facts.channel_axis.get(n), places.get(n)) for n, s in shapes.items()}
    found = {n: layout for n, layout in shown.items() if layout is not None}
    if given is not None:
        return found | _given(model, shapes, given, found)
    return found


def _shown(shape: Shape, channel_axis: int | None, places: Places | None) -> Layout | None:
    """Return the layout that the graph shows.

    Of three axes a tensor may be a signal, tokens, or neither: places have to tell it.
    """
    batch, sides = shape[0] if shape and isinstance(shape[0], int) else 1, len(shape) - 2
    fits = places if places is not None and len(places.size) == sides else None
    axis = picture_axis(fits, batch=batch) if fits is not None else None
    known = channel_axis if fits is None or channel_axis is None else _held(fits, channel_axis, batch)
    if sides > 1 or (sides == 1 and fits is not None):
        found = axis if known is None else known
        if found is not None:
            return found, None
    if sides != 1 or places is None:
        return None
    grid = grid_of(places, batch=batch)
    return (len(grid.size) + 1, grid) if grid is not None else None


def _held(places: Places, channel_axis: int, batch: int) -> int | None:
    return channel_axis if shows_picture(places, channel_axis, batch=batch) else None


def _sequences(model: Model, shapes: Mapping[str, Shape]) -> Iterator[tuple[str, int]]:
    """Yield tensors (N, T, C) with the batch of an input, and their T."""
    batches = {i.shape[0] for i in model.inputs if i.shape}
    for name, shape in shapes.items():
        if len(shape) == 3 and shape[0] in batches and isinstance(shape[1], int):
            yield name, shape[1]


def _given(model: Model, shapes: Mapping[str, Shape], size: Size, shown: Mapping[str, Layout]) -> dict[str, Layout]:
    """Return the layouts that follow from a grid of ``size``; sequences whose channels come first stay as shown."""
    if len(size) == 1:
        size *= max((len(p.size) for p in places_of(model).values()), default=2)
    lengths = dict(_sequences(model, shapes))
    fits = {n: grid for n, t in lengths.items() if (grid := grid_given(t, size)) is not None}
    kept = {n for n in fits if n in shown and (g := shown[n][1]) is not None and g.axis == 2}
    if not fits:
        every = ", ".join(map(str, sorted(set(lengths.values())))) or "none"
        count = " x ".join(map(str, size)) + (f" = {math.prod(size)}" if len(size) > 1 else "")
        raise LayerError(f"no sequence has {count} tokens, or a few more; the lengths there are: {every}")
    return {n: (len(size) + 1, grid) for n, grid in fits.items() if n not in kept}
