"""What a metric looks at: a picture, and one map of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import check_known
from ..matrices import BLUR
from .grids import Floats, Order, blurring, cell_means, descending, enlarged, spread

Bools = NDArray[np.bool_]
BASELINES = ("zero", "mean", "blur", "noise")


@dataclass(frozen=True)
class Asked:
    """Which explanation is asked for, where it is not that of the picture's own class by the model as it is.

    Attributes
    ----------
    target : {"own", "next", "random"}
        The class at hand, the likeliest of the others, or another one drawn at random.
    randomised : {"", "cascading", "independent"}
        Whether weights were shuffled: of all tensors from the output down to a place, or of the one there alone.
    place : float
        How far from the output, 0 to 1 at the input.
    """

    target: Literal["own", "next", "random"] = "own"
    randomised: Literal["", "cascading", "independent"] = ""
    place: float = 0.0


Explain = Callable[[Floats, Asked], NDArray[np.floating]]
"""Returns the raw maps (n, h, w) of pictures (n, C, H, W) like the one at hand."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as the model takes it.

    Attributes
    ----------
    x : ndarray of shape (C, H, W)
        Preprocessed.
    region : ndarray of bool, (H, W), optional
        Where the object is: its boxes, or its outline.
    seed : int
        Of all that is drawn for this picture.
    """

    x: Floats
    region: Bools | None = None
    seed: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.x.shape[1], self.x.shape[2]

    @cached_property
    def _baselines(self) -> dict[str, Floats]:
        return {}

    def baseline(self, name: str) -> Floats:
        """Return what takes the place of removed pixels, (C, H, W).

        ``zero`` is 0 after preprocessing, ``mean`` the mean of each channel, ``blur`` the picture blurred, ``noise``
        normal noise of each channel's mean and deviation.
        """
        check_known("baseline", name, BASELINES)
        if name not in self._baselines:
            self._baselines[name] = self._made(name)
        return self._baselines[name]

    def _made(self, name: str) -> Floats:
        if name == "zero":
            return np.zeros_like(self.x)
        if name == "blur":
            rows, columns = blurring(self.size, BLUR * min(self.size))
            return np.asarray(rows @ self.x @ columns.T, self.x.dtype)
        mean = np.broadcast_to(self.x.mean((1, 2), keepdims=True), self.x.shape)
        if name == "mean":
            return mean
        noise = np.random.default_rng(self.seed).standard_normal(self.x.shape)
        return np.asarray(mean + noise * self.x.std((1, 2), keepdims=True), self.x.dtype)


@dataclass(frozen=True, eq=False)
class Case:
    """One map of a picture.

    Attributes
    ----------
    picture : Picture
    raw : ndarray of shape (h, w)
        Signed, at any resolution.
    explain : callable
        Explains other pictures, or other classes, in the same way.
    cells : int
        Side in pixels of the cells that the map is averaged over, so that maps of any resolution are equal in it;
        1 for none.
    """

    picture: Picture
    raw: NDArray[np.floating]
    explain: Explain
    cells: int = 1

    @cached_property
    def _cells(self) -> Floats:
        return self._in_cells(self.raw)

    def _in_cells(self, raw: NDArray[np.floating]) -> Floats:
        wide = enlarged(raw, size=self.picture.size)
        return cell_means(wide, cells=self.cells) if self.cells > 1 else wide

    def fitted(self, raw: NDArray[np.floating]) -> Floats:
        """Return maps (..., h, w) at the picture's size, averaged over the cells."""
        return np.asarray(spread(self._in_cells(raw), cells=self.cells, size=self.picture.size), np.float64)

    @cached_property
    def map(self) -> Floats:
        """The signed map at the picture's size, averaged over the cells, (H, W)."""
        return np.asarray(spread(self._cells, cells=self.cells, size=self.picture.size), np.float64)

    @cached_property
    def positive(self) -> Floats:
        """What is positive of the map, its largest value 1; all 0 where nothing is."""
        return positive_part(self.map)

    @cached_property
    def _cell_places(self) -> NDArray[np.int64]:
        """Where each cell stands in the order from the highest to the lowest."""
        return _inverse(descending(self._cells, seed=self.picture.seed)).reshape(self._cells.shape)

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """Where each pixel stands in the order from the highest to the lowest, cell by cell, (H, W)."""
        if self.cells == 1:
            return self._cell_places
        return _inverse(self.order).reshape(self.picture.size)

    @cached_property
    def order(self) -> Order:
        """The pixels (counted in rows) from the highest to the lowest, cell by cell."""
        if self.cells == 1:
            return _inverse(self._cell_places.reshape(-1))
        places = spread(self._cell_places, cells=self.cells, size=self.picture.size).reshape(-1)
        return np.argsort(places.astype(np.uint16) if self._cells.size < 2**16 else places, kind="stable")

    @cached_property
    def ranks(self) -> Floats:
        """The map's ranks, 1 for the highest cell to 0 for the lowest: the same histogram for every map, (H, W)."""
        ranks = 1 - self._cell_places / max(self._cell_places.size - 1, 1)
        return np.asarray(spread(ranks, cells=self.cells, size=self.picture.size), np.float64)

    @property
    def region(self) -> Bools | None:
        """Where the object is."""
        return self.picture.region


def positive_part(values: Floats) -> Floats:
    """Return what is positive of a map (H, W), its largest value 1; all 0 where nothing is."""
    positive = np.maximum(values, 0)
    top = positive.max()
    return positive / top if top > 0 else positive


def _inverse(order: Order) -> NDArray[np.int64]:
    """Return the place of each element in an order; and the order, of places."""
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return places
