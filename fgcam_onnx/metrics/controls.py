"""Maps that know nothing of the model: what a metric says of them, it would say of any map like them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .case import Picture
from .grids import Floats, smooth_noise

Draw = Callable[[Picture], Floats]


@dataclass(frozen=True)
class Control:
    """A row of the table: its name, what it is, and its map (h, w) of a picture."""

    summary: str
    draw: Draw
    truth: bool = False


def _random_pixels(picture: Picture) -> Floats:
    return np.random.default_rng(picture.seed).random(picture.size)


def _random_cells(picture: Picture) -> Floats:
    return smooth_noise(picture.size, seed=picture.seed)


def _gaussian(picture: Picture) -> Floats:
    height, width = picture.size
    rows, columns = (np.exp(-0.5 * (np.linspace(-2, 2, n)) ** 2) for n in (height, width))
    return np.asarray(np.outer(rows, columns))


def _edges(picture: Picture) -> Floats:
    """Sobel's filter on the mean of the channels."""
    grey = np.pad(picture.x.astype(np.float64).mean(0), 1, mode="edge")
    down = grey[2:] - grey[:-2]
    right = grey[:, 2:] - grey[:, :-2]
    slope: Floats = np.hypot(
        down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:],
        right[:-2] + 2 * right[1:-1] + right[2:],
    )
    return slope


def _boxes(picture: Picture) -> Floats:
    if picture.region is None:
        raise ValueError("there is no region")
    return picture.region.astype(np.float64)


CONTROLS: dict[str, Control] = {
    "random pixels": Control("even noise, drawn anew for each picture", _random_pixels),
    "random cells": Control("even noise of 7 x 7 cells, made smooth", _random_cells),
    "centred gaussian": Control("a bump in the middle, a quarter of each side wide", _gaussian),
    "edges": Control("how much the picture changes from pixel to pixel (Sobel)", _edges),
    "all ones": Control("the same everywhere", lambda picture: np.ones(picture.size)),
    "boxes": Control("the object's boxes or mask", _boxes, truth=True),
}
