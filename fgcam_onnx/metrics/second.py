"""Second maps that metrics compare the map with: of other pictures, other classes, other weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .case import Asked, Case
from .copies import masked
from .grids import Floats

OWN = Asked()


class Second:
    """Explains what is like the case at hand but in one thing."""

    def __call__(self, case: Case, /) -> Floats:
        """Return maps (k, H, W), fitted as the case's own."""
        raise NotImplementedError


@dataclass(frozen=True)
class OfMasked(Second):
    """The map of the picture under the map."""

    def __call__(self, case: Case, /) -> Floats:
        """Return one map."""
        return case.fitted(case.explain(masked(case)[None], OWN))


@dataclass(frozen=True)
class OfNoisy(Second):
    """Maps of the picture with noise, even in plus and minus ``radius`` times its range."""

    count: int = 8
    radius: float = 0.02

    def __call__(self, case: Case, /) -> Floats:
        """Return a map for each draw."""
        x = case.picture.x
        drawn = np.random.default_rng(case.picture.seed).uniform(-1, 1, (self.count, *x.shape))
        return case.fitted(case.explain(np.asarray(x + drawn * self.radius * np.ptp(x), x.dtype), OWN))


@dataclass(frozen=True)
class OfOther(Second):
    """The maps of other questions about the same picture."""

    questions: tuple[Asked, ...]

    def __call__(self, case: Case, /) -> Floats:
        """Return a map for each question."""
        return case.fitted(np.concatenate([case.explain(case.picture.x[None], asked) for asked in self.questions]))
