"""VJP of GridSample: values taken between the places of a picture, where a grid says."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import UnsupportedOperatorError
from ..graph.value import Array, Value
from .rule import Rules, product, static
from .scattering import added


def grid_sample_x(
    g: Value, y: Value, x: Value, grid: Value,
    *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros",
) -> Value:  # fmt: skip
    """Add each value of ``g`` to the four places it was taken between, by their weights."""
    channels, height, width = _checked(x, mode, padding_mode)
    count = product(static(grid.shape[1:3]))
    flat = g.reshape((None, channels, count))
    parts = [
        (index, flat * (across * down * inside).reshape((None, 1, count)))
        for index, inside, across, down, *_ in _corners(grid, height, width, align_corners, padding_mode)
    ]
    e = g.emitter
    places = e.emit("Concat", *(i.reshape((None, 1, count)) for i, _ in parts), axis=2)
    values = e.emit("Concat", *(v for _, v in parts), axis=2)
    spread = e.expand_like(places, values)
    return added("ScatterElements", x.reshape((None, channels, height * width)), spread, values, axis=2).reshape(
        x.shape
    )


def grid_sample_grid(
    g: Value, y: Value, x: Value, grid: Value,
    *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros",
) -> Value:  # fmt: skip
    """Return how the value changes as the place moves: differences of the four places, summed over the channels."""
    channels, height, width = _checked(x, mode, padding_mode)
    count, e = product(static(grid.shape[1:3])), g.emitter
    picture, flat = x.reshape((None, channels, height * width)), g.reshape((None, channels, count))
    along: list[Value] = []
    for index, inside, across, down, right, low in _corners(grid, height, width, align_corners, padding_mode):
        spread = e.expand_like(index.reshape((None, 1, count)), flat)
        taken = (e.emit("GatherElements", picture, spread, axis=2) * flat).sum(1).reshape((None, count)) * inside
        moved = (taken * down * right, taken * across * low)
        along = [a + b for a, b in zip(along, moved, strict=True)] if along else list(moved)
    steps = [(size - 1 if align_corners else size) / 2 for size in (width, height)]
    if padding_mode == "border":
        along = [a * m for a, m in zip(along, _moving(grid, height, width, align_corners), strict=True)]
    sides = [e.emit("Unsqueeze", a * s, e.ints([2])) for a, s in zip(along, steps, strict=True)]
    return e.emit("Concat", *sides, axis=2).reshape(grid.shape)


def _checked(x: Value, mode: str, padding_mode: str) -> tuple[int, int, int]:
    """Return channels, height and width of the picture."""
    if x.rank != 4 or mode not in ("bilinear", "linear") or padding_mode not in ("border", "zeros"):
        raise UnsupportedOperatorError(
            f"mode={mode!r}, padding_mode={padding_mode!r} on {x.rank} dimensions has no gradient rule: "
            "pictures sampled linearly, padded by zeros or by their border, have. Choose a layer after it"
        )
    channels, height, width = static(x.shape[1:])
    return channels, height, width


def _position(grid: Value, side: int, size: int, align_corners: int) -> Array:
    """Return where the grid points to along one side, in places: (N, count)."""
    e, count = grid.emitter, product(static(grid.shape[1:3]))
    at = e.emit("Gather", grid, e.constant(np.array(side)), axis=3).reshape((None, count))
    return (at + 1.0) * ((size - 1) / 2) if align_corners else ((at + 1.0) * float(size) - 1.0) * 0.5


def _moving(grid: Value, height: int, width: int, align_corners: int) -> list[Value]:
    """Return 1 where a place inside the border is pointed to, 0 where the border is repeated: along x and y."""
    found = []
    for side, size in ((0, width), (1, height)):
        at = _position(grid, side, size, align_corners)
        found.append(np.logical_and(at > 0.0, at < float(size - 1)).astype(grid.dtype))
    return found


def _corners(
    grid: Value, height: int, width: int, align_corners: int, padding_mode: str
) -> Iterator[tuple[Value, Value, Value, Value, float, float]]:
    """Yield each of the four places: its index, whether it is inside, its weights along x and y, their slopes."""
    at = [_position(grid, side, size, align_corners) for side, size in ((0, width), (1, height))]
    if padding_mode == "border":
        at = [np.minimum(np.maximum(a, 0.0), float(size - 1)) for a, size in zip(at, (width, height), strict=True)]
    low = [np.floor(a) for a in at]
    part = [a - b for a, b in zip(at, low, strict=True)]
    for down in (0, 1):
        for right in (0, 1):
            x, y = low[0] + float(right), low[1] + float(down)
            known = np.logical_and(
                np.logical_and(x >= 0.0, x <= float(width - 1)), np.logical_and(y >= 0.0, y <= float(height - 1))
            )
            column = np.minimum(np.maximum(x, 0.0), float(width - 1))
            row = np.minimum(np.maximum(y, 0.0), float(height - 1))
            index = (row * float(width) + column).astype(np.int64)
            across = part[0] if right else 1.0 - part[0]
            along = part[1] if down else 1.0 - part[1]
            yield index, known.astype(grid.dtype), across, along, 1.0 if right else -1.0, 1.0 if down else -1.0


RULES: Rules = {"GridSample": (grid_sample_x, grid_sample_grid)}
