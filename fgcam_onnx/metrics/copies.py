"""Changed copies of a picture, whose probabilities metrics read; equal rows are run once for all metrics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .case import Case, Picture
from .grids import Floats
from .imputing import imputed

SHARES = tuple((k / 16) ** 2 for k in range(1, 16))
"""Shares of the pixels at which a curve is read: denser at its beginning, where a sharp map makes it fall."""

PERCENTILES = (0.2, 0.4, 0.6, 0.8)


class Copies:
    """A row of copies: what it is, is in its fields."""

    common: ClassVar[bool] = False
    """Whether the copies are the same for every map of a picture."""

    one: ClassVar[bool] = False
    """Whether there is only ever one: formulas then take a number."""

    @property
    def runs(self) -> int:
        """How many there are."""
        return 1

    def __call__(self, case: Case, /) -> Iterator[Floats]:
        """Yield pictures (C, H, W)."""
        raise NotImplementedError


@dataclass(frozen=True)
class Whole(Copies):
    """The picture as it is."""

    common: ClassVar[bool] = True
    one: ClassVar[bool] = True

    def __call__(self, case: Case, /) -> Iterator[Floats]:
        """Yield the picture."""
        yield case.picture.x


@dataclass(frozen=True)
class Blank(Copies):
    """The baseline alone."""

    baseline: str
    common: ClassVar[bool] = True
    one: ClassVar[bool] = True

    def __call__(self, case: Case, /) -> Iterator[Floats]:
        """Yield the baseline."""
        yield case.picture.baseline(self.baseline)


@dataclass(frozen=True)
class Masked(Copies):
    """The picture times the positive map."""

    one: ClassVar[bool] = True

    def __call__(self, case: Case, /) -> Iterator[Floats]:
        """Yield the masked picture."""
        yield masked(case)


def masked(case: Case) -> Floats:
    """Return the picture times the positive map."""
    return np.asarray(case.picture.x * case.positive, case.picture.x.dtype)


@dataclass(frozen=True)
class RankMasked(Copies):
    """The picture times the map's ranks."""

    one: ClassVar[bool] = True

    def __call__(self, case: Case, /) -> Iterator[Floats]:
        """Yield the masked picture."""
        yield np.asarray(case.picture.x * case.ranks, case.picture.x.dtype)


@dataclass(frozen=True)
class Removed(Copies):
    """The highest pixels replaced by a baseline, more and more of them."""

    baseline: str
    shares: tuple[float, ...] = SHARES

    @property
    def runs(self) -> int:
        """One for each of them."""
        return len(self.shares)

    def __call__(self, case: Case, /) -> Iterator[Floats]:
        """Yield a picture for each share."""
        return _replaced(case, case.picture.x, case.picture.baseline(self.baseline), self.shares)


@dataclass(frozen=True)
class Kept(Copies):
    """The highest pixels on a baseline, more and more of them."""

    baseline: str
    shares: tuple[float, ...] = SHARES

    @property
    def runs(self) -> int:
        """One for each of them."""
        return len(self.shares)

    def __call__(self, case: Case, /) -> Iterator[Floats]:
        """Yield a picture for each share."""
        return _replaced(case, case.picture.baseline(self.baseline), case.picture.x, self.shares)


def _replaced(case: Case, ground: Floats, above: Floats, shares: tuple[float, ...]) -> Iterator[Floats]:
    for share in shares:
        yield np.where(case.places < round(share * case.places.size), above, ground)


@dataclass(frozen=True)
class Imputed(Copies):
    """Pixels imputed from what is around them: the highest, or the lowest, more and more of them."""

    most: bool
    portions: tuple[float, ...] = PERCENTILES

    @property
    def runs(self) -> int:
        """One for each of them."""
        return len(self.portions)

    def __call__(self, case: Case, /) -> Iterator[Floats]:
        """Yield a picture for each portion."""
        order = case.order if self.most else case.order[::-1]
        for portion in self.portions:
            missing = np.zeros(len(order), bool)
            missing[order[: round(portion * len(order))]] = True
            yield imputed(case.picture.x, missing.reshape(case.picture.size), seed=case.picture.seed)


@dataclass(frozen=True)
class Squares(Copies):
    """The picture without a square, drawn at random, replaced by a baseline."""

    baseline: str
    count: int = 32
    side: float = 0.25
    common: ClassVar[bool] = True

    @property
    def runs(self) -> int:
        """One for each square."""
        return self.count

    def places(self, picture: Picture) -> tuple[tuple[slice, slice], ...]:
        """Return the squares."""
        side = max(1, round(self.side * min(picture.size)))
        ends = [n - side + 1 for n in picture.size]
        corners = np.random.default_rng(picture.seed).integers(0, ends, (self.count, 2)).tolist()
        return tuple((slice(r, r + side), slice(c, c + side)) for r, c in corners)

    def __call__(self, case: Case, /) -> Iterator[Floats]:
        """Yield the picture without each square."""
        x, baseline = case.picture.x, case.picture.baseline(self.baseline)
        for rows, columns in self.places(case.picture):
            copy = x.copy()
            copy[:, rows, columns] = baseline[:, rows, columns]
            yield copy
