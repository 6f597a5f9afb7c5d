"""The table of measures: how far two runs on one picture lie apart, in what they predict and in what they look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..metrics.case import positive_part
from ..metrics.formulas import correlation, likeness
from ..metrics.grids import Floats, cell_means, descending, enlarged

NONE = float("nan")
SHOWN = 64
"""Positions along the longer side at which maps are compared as pictures."""

COARSE = 8
"""Cells along a side between which the earth mover's distance carries."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What one run shows of a picture.

    Attributes
    ----------
    scores : ndarray of shape (K, ...)
        Logits of the classes that both models have, at each place where there are several.
    probability : float
        Of the class that is explained; NaN where the model makes none.
    score : float
        What is explained, the logit of the class.
    map : ndarray of shape (h, w), optional
        Signed, where the reference sees it; None where the run does not show what was explained.
    view : (int, int)
        Height and width of what the reference sees, in pixels.
    """

    scores: Floats
    probability: float
    score: float
    map: Floats | None
    view: tuple[int, int]

    @property
    def top(self) -> NDArray[np.int64]:
        """The likeliest class, at each place."""
        return np.asarray(self.scores.argmax(0))

    @cached_property
    def positive(self) -> Floats | None:
        """What is positive of the map, its largest value 1; None where nothing is."""
        found = None if self.map is None else positive_part(self.map)
        return None if found is None or not found.any() else found

    @property
    def margin(self) -> float:
        """The score above the mean of all classes: a softmax does not see what is added to all of them.

        What is no score of one class, as the sum over a region, is taken as it is.
        """
        return float(self.score - self.scores.mean()) if self.scores.ndim == 1 and len(self.scores) > 1 else self.score


Formula = Callable[[Seen, Seen], float]
OnMaps = Callable[[Floats, Floats], float]


@dataclass(frozen=True)
class Measure:
    """A row of the table.

    Attributes
    ----------
    name, summary, source : str
    better : {"higher", "lower"}
        A likeness, 1 of runs that are alike, or a distance, 0 of them.
    of : {"prediction", "map"}
    formula : callable
        Takes two :class:`Seen`, the reference's first; NaN where it is not defined.
    unit : str
    allowed : float, optional
        How far beyond the floor a sound conversion may go; None for what takes no part in the default verdict.
    finer : str
        A measure of the same that needs fewer pictures: it decides where this one is unsure.
    """

    name: str
    summary: str
    better: Literal["higher", "lower"]
    of: Literal["prediction", "map"]
    formula: Formula = field(repr=False)
    source: str = ""
    unit: str = ""
    allowed: float | None = None
    finer: str = ""

    def drift(self, values: Floats) -> Floats:
        """Return how far values are from those of runs that are alike, 0 or more."""
        return 1 - values if self.better == "higher" else values


def flips(reference: Seen, other: Seen) -> float:
    """Return the share of places whose likeliest class is another; 1 where what was explained is not there."""
    if other.map is None:
        return 1.0
    if reference.scores.shape != other.scores.shape or reference.scores.shape[0] < 2:
        return NONE
    return float(np.mean(reference.top != other.top))


def confidence(reference: Seen, other: Seen) -> float:
    """Return the distance of the probabilities of the class that is explained."""
    return abs(other.probability - reference.probability)


def logit(reference: Seen, other: Seen) -> float:
    """Return the distance of the scores of what is explained, those of a class each less the mean of all classes."""
    return abs(other.margin - reference.margin)


def _on_maps(formula: OnMaps) -> Formula:
    def compare(reference: Seen, other: Seen) -> float:
        if reference.map is None or other.map is None:
            return NONE
        return formula(*_alike(reference.map, other.map))

    return compare


def _alike(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Return two maps at the larger size of both."""
    size = (max(a.shape[0], b.shape[0]), max(a.shape[1], b.shape[1]))
    return enlarged(a, size=size), enlarged(b, size=size)


@_on_maps
def spearman(a: Floats, b: Floats) -> float:
    """Return the rank correlation of the signed maps."""
    return likeness(a, b[None])


@_on_maps
def pearson(a: Floats, b: Floats) -> float:
    """Return the correlation of the signed maps."""
    return correlation(a, b)


@_on_maps
def overlap(a: Floats, b: Floats) -> float:
    """Return which share of the highest fifth of one map is in that of the other."""
    count = max(1, round(0.2 * a.size))
    return len(np.intersect1d(descending(a, seed=0)[:count], descending(b, seed=0)[:count])) / count


def ssim(reference: Seen, other: Seen) -> float:
    """Return the structural similarity of what is positive of the maps, as pictures."""
    from skimage.metrics import structural_similarity

    a, b = reference.positive, other.positive
    if a is None or b is None:
        return _of_nothing(reference, other, alike=1.0, else_=0.0)
    longer = max(reference.view)
    size = tuple(max(7, round(side * min(1.0, SHOWN / longer))) for side in reference.view)
    wide = [enlarged(v, size=(size[0], size[1])) for v in (a, b)]
    found: Any = structural_similarity(*wide, data_range=1.0)  # type: ignore[no-untyped-call, unused-ignore]
    return float(found)


def centre(reference: Seen, other: Seen) -> float:
    """Return the distance of the centres of mass of what is positive of the maps, in pixels of the input."""
    if reference.positive is None or other.positive is None:
        return NONE
    places = [_centre(p) * np.array(reference.view) for p in (reference.positive, other.positive)]
    return float(np.linalg.norm(places[0] - places[1]))


def _centre(positive: Floats) -> Floats:
    """Return the centre of mass in shares of height and width."""
    rows, columns = ((np.arange(n) + 0.5) / n for n in positive.shape)
    return np.array([positive.sum(1) @ rows, positive.sum(0) @ columns]) / float(positive.sum())


def emd(reference: Seen, other: Seen) -> float:
    """Return how far what is positive of one map has to be carried to become the other, in pixels of the input.

    The mean way along rows and columns, between cells, as a flow between neighbours.
    """
    if reference.positive is None or other.positive is None:
        return NONE
    a, b = _alike(reference.positive, other.positive)
    cells = max(1, -(-max(a.shape) // COARSE))
    a, b = cell_means(a, cells=cells), cell_means(b, cells=cells)
    steps = tuple(side / n for side, n in zip(reference.view, a.shape, strict=True))
    return carried(a / a.sum(), b / b.sum(), steps=(steps[0], steps[1]))


def carried(a: Floats, b: Floats, *, steps: tuple[float, float]) -> float:
    """Return the earth mover's distance of two distributions on a grid, by way along rows and columns.

    On a grid a way is a chain of steps between neighbours, so the least flow between them is enough.
    """
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    if a.size == 1 or np.allclose(a, b, rtol=0, atol=1e-12):
        return 0.0
    places = np.arange(a.size).reshape(a.shape)
    pairs = [
        (places[:-1], places[1:], steps[0]), (places[:, :-1], places[:, 1:], steps[1]),
        (places[1:], places[:-1], steps[0]), (places[:, 1:], places[:, :-1], steps[1]),
    ]  # fmt: skip
    tails, heads = (np.concatenate([np.ravel(p[end]) for p in pairs]) for end in (0, 1))
    costs = np.concatenate([np.full(np.size(p[0]), p[2]) for p in pairs])
    edges = np.arange(len(costs))
    signs = np.concatenate([np.ones(len(costs)), -np.ones(len(costs))])
    flow = coo_array((signs, (np.concatenate([tails, heads]), np.concatenate([edges, edges]))))
    # one row follows from the others, and rounding may make it contradict them
    missing = np.concatenate(a - b)[:-1]
    found = linprog(costs, A_eq=flow.tocsr()[:-1], b_eq=missing, method="highs")
    return float(found.fun) if found.success else NONE


def _of_nothing(reference: Seen, other: Seen, *, alike: float, else_: float) -> float:
    """Return what a measure is where at least one map shows nothing."""
    if reference.map is None or other.map is None:
        return NONE
    return alike if reference.positive is None and other.positive is None else else_


MEASURES: dict[str, Measure] = {
    m.name: m
    for m in (
        Measure("flips", "Pictures whose likeliest class is another", "lower", "prediction", flips, allowed=0.05,
                finer="confidence"),
        Measure("confidence", "Distance of the probabilities", "lower", "prediction", confidence, allowed=0.05),
        Measure("logit", "Distance of the logits, each less the mean; of a region, of its sums", "lower", "prediction",
                logit),
        Measure("spearman", "Rank correlation of the signed maps", "higher", "map", spearman,
                "Adebayo et al., 2018, arXiv:1810.03292", allowed=0.02),
        Measure("pearson", "Correlation of the signed maps", "higher", "map", pearson),
        Measure("ssim", "Structural similarity of what is positive, as a picture", "higher", "map", ssim,
                "Wang et al., 2004, doi:10.1109/TIP.2003.819861", allowed=0.03),
        Measure("overlap", "Share of the highest fifth that both maps have", "higher", "map", overlap),
        Measure("centre", "Distance of the centres of mass of what is positive", "lower", "map", centre, unit="px"),
        Measure("emd", "Earth mover's distance of what is positive, along rows and columns", "lower", "map", emd,
                "Ling and Okada, 2007, doi:10.1109/TPAMI.2007.1058", "px"),
    )
}  # fmt: skip
