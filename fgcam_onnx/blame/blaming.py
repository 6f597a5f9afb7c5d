"""Blame: which layer of the candidate does what to the prediction and to the map."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..explainer import Explainer
from ..surgery.unfused import stored_as
from ..targets import AnyTarget
from .drift import Drift, Measure, drift
from .likeness import Likeness, compared
from .look import Look
from .matching import Pair
from .oddities import oddities_of
from .spliced import Splices, both_settled

UNDONE = 3.0
"""Decibels by which a layer does better on the candidate's inputs where it undoes what the layer before did."""

EXACT = 80.0
"""Decibels above which a layer's noise is the rounding of floats."""

NOTHING = 1e-5
"""Drift below which there is nothing to blame anybody for."""


@dataclass(frozen=True)
class Point:
    """A place in the depth of the net.

    Attributes
    ----------
    reference, candidate : str
        The tensor in both models.
    sqnr, cosine : float
        Signal over noise in decibels, and cosine, of the candidate's tensor as it runs.
    alone : float
        Signal over noise in decibels of the layer that ends here, on the reference's inputs.
    before, behind : Drift or None
        Where the candidate runs up to here and the reference behind, and the reverse; None where it was not spliced.
    """

    reference: str
    candidate: str
    sqnr: float
    cosine: float
    alone: float
    before: Drift | None = None
    behind: Drift | None = None


@dataclass(frozen=True)
class Blamed:
    """A layer, and what it does to the drift.

    Attributes
    ----------
    name, candidate : str
        The tensor that the layer makes, in both models.
    node : str
        Its operator in the reference.
    nodes : tuple of str
        All its operators in the reference, as lists of nodes name them.
    share : float
        Its share of the drift, 0 to 1: the mean of what it does alone in the reference and of what is gone when it
        alone is the reference's in the candidate, of prediction and map. Of layers that were not spliced alone, a
        bound: what their stretch does, by their part of its noise.
    measured : bool
        Whether it was spliced alone.
    oddities : tuple of str
        What is unusual about it, a sentence each.
    place : int
        Where it comes among the layers of the profile.
    """

    name: str
    candidate: str
    node: str
    nodes: tuple[str, ...]
    share: float
    measured: bool
    oddities: tuple[str, ...]
    place: int


@dataclass(frozen=True)
class Profile:
    """Where on the way from the picture to the answer two models part.

    Attributes
    ----------
    layers : tuple of Blamed
        Ranked, the most guilty first.
    depth : tuple of Point
        Every layer that both models have, from the input to the output.
    alone, alone_in_candidate : tuple of str
        Layers without a partner, by the tensor they make.
    drift : Drift
        That of the candidate, on the pictures that were spliced.
    splices, pictures : int
        How many splices were run, on how many pictures.
    """

    layers: tuple[Blamed, ...]
    depth: tuple[Point, ...]
    alone: tuple[str, ...]
    alone_in_candidate: tuple[str, ...]
    drift: Drift
    splices: int
    pictures: int


def blame(
    reference: Explainer,
    candidate: Explainer,
    *,
    pictures: Sequence[NDArray[Any]],
    candidate_pictures: Sequence[NDArray[Any]] | None = None,
    target: AnyTarget = None,
    offset: int = 0,
    measure: Measure = drift,
    cuts: int = 6,
    singles: int = 4,
) -> Profile:
    """Find the layers of ``candidate`` that make it predict, and look, otherwise than ``reference``.

    The layers of both graphs are matched. Every layer of the candidate is run on the reference's inputs, all in one
    run, which says where noise comes from. The net is cut where half of that noise lies before and half behind, and
    run with one model up to the cut and the other behind it, both ways; the stretch that does most is cut again. Then
    the layers that lie there are exchanged one by one.

    Parameters
    ----------
    pictures, candidate_pictures : sequence of arrays, (N, ...)
        Prepared pictures as each model takes them; of equal ones the first are enough. A few are enough, too.
    target : target, optional
        What is explained; default the reference's top class of each picture.
    offset : int
        Classes that the candidate counts before the reference's first, as a background class.
    measure : callable
        Returns the drift of an explanation.
    cuts, singles : int
        How often the net is cut, two splices each, and how many layers are exchanged alone, two splices each.

    Raises
    ------
    InputError
        No picture, or not as many for the candidate.
    OptionError
        The models have no layers in common.
    FgcamError
        The models cannot be spliced.
    """
    theirs = pictures if candidate_pictures is None else candidate_pictures
    if not len(pictures) or len(theirs) != len(pictures):
        raise InputError(f"{len(pictures)} pictures for the reference and {len(theirs)} for the candidate")
    given, other = (np.concatenate(list(x)) for x in (pictures, theirs))
    fixed = both_settled(reference, candidate, pictures=given, candidate_pictures=other)
    splices = Splices.of(*fixed, target=target, offset=offset, measure=measure)
    splices, alone, together = honest(splices)
    known = _cut(splices, [a.error for a in alone], cuts)
    guesses = _guesses(splices, alone, known)
    chosen = sorted(range(splices.depth), key=lambda i: -guesses[i])[:singles]
    shares = {i: _share(splices, i) for i in chosen}
    points = [_point(splices, p, i, together[i], alone[i], known) for i, p in enumerate(splices.matching.pairs)]
    looks = Look.of(splices, chosen)
    layers = [
        Blamed(
            p.reference.end,
            stored_as(splices.candidate.model, p.candidate.end),
            p.reference.node or p.reference.name,
            p.reference.nodes,
            shares.get(i, min(guesses[i], 1.0)),
            i in shares,
            oddities_of(looks[i]) if i in shares else (),
            i,
        )
        for i, p in enumerate(splices.matching.pairs)
    ]
    layers.sort(key=lambda b: (-b.measured, -b.share))
    count = len(fixed[0].feeds[fixed[0].explainer.input])
    matching = splices.matching
    total, spent = splices.total, splices.count
    return Profile(tuple(layers), tuple(points), matching.alone, matching.alone_in_candidate, total, spent, count)


def honest(splices: Splices) -> tuple[Splices, list[Likeness], list[Likeness]]:
    """Return the splices without seams at which the models differ by what the next layer undoes, and all likenesses.

    Where weights were equalized across layers, a layer does better on the candidate's own inputs than on the
    reference's: the two are one layer then.
    """
    while True:
        layers = range(splices.depth)
        alone, together = (compared(runs, splices.depth) for runs in (splices.alone(layers), splices.together()))
        place = {p.reference.name: i for i, p in enumerate(splices.matching.pairs)}
        false = {
            k
            for i, pair in enumerate(splices.matching.pairs)
            if together[i].sqnr > alone[i].sqnr + UNDONE and alone[i].sqnr < EXACT
            for k in (place.get(name) for name in pair.reference.inputs)
            if k and together[k].sqnr < together[i].sqnr
        }
        if not false:
            return splices, alone, together
        splices = splices.without(false)


Ends = dict[int, tuple[Drift, Drift]]
"""By the number of layers before a cut: drift with the candidate before it, and with the candidate behind it."""


def _cut(splices: Splices, noise: Sequence[float], cuts: int) -> Ends:
    """Cut the net where the drift changes most, ``cuts`` times."""
    n = splices.depth
    nothing = Drift(0.0, 0.0)
    known: Ends = {0: (nothing, splices.total), n: (splices.total, nothing)}
    for _ in range(cuts):
        places = sorted(known)
        open_ = [(a, b) for a, b in itertools.pairwise(places) if b - a > 1]
        if not open_ or _size(splices.total, splices.total) <= NOTHING:
            break
        a, b = max(open_, key=lambda s: (_change(splices, known, *s), s[1] - s[0]))
        c = _middle(noise, a, b)
        known[c] = splices.drift(range(c)), splices.drift(range(c, n))
    return known


def _middle(noise: Sequence[float], a: int, b: int) -> int:
    """Return the cut between ``a`` and ``b`` with most nearly half of the noise before it."""
    sums = np.cumsum(noise[a:b])
    half = np.abs(sums[:-1] - sums[-1] / 2)
    return a + 1 + int(half.argmin())


def _size(part: Drift, total: Drift) -> float:
    """Return a drift as a share of the total: the mean of prediction and map, of those that changed at all."""
    shares = [p / t for p, t in ((part.prediction, total.prediction), (part.map, total.map)) if t > NOTHING]
    return float(np.mean(shares)) if shares else 0.0


def _change(splices: Splices, known: Ends, a: int, b: int) -> float:
    """Return what the stretch from ``a`` to ``b`` does to the drift, as a share of it."""
    size = [[_size(d, splices.total) for d in known[p]] for p in (a, b)]
    return (abs(size[1][0] - size[0][0]) + abs(size[1][1] - size[0][1])) / 2


def _guesses(splices: Splices, alone: Sequence[Likeness], known: Ends) -> list[float]:
    """Return what each layer may do: what its stretch does, by the layer's part of its noise."""
    found: list[float] = []
    for a, b in itertools.pairwise(sorted(known)):
        noise = np.asarray([x.error for x in alone[a:b]])
        parts = noise / noise.sum() if noise.sum() > 0 else np.full(b - a, 1 / (b - a))
        found += [float(p * _change(splices, known, a, b)) for p in parts]
    return found


def _share(splices: Splices, i: int) -> float:
    """Return the share of the drift that layer ``i`` makes: what it adds alone, and what is gone without it."""
    total = splices.total
    if _size(total, total) <= NOTHING:
        return 0.0
    rest = splices.drift(set(range(splices.depth)) - {i})
    added = _size(splices.drift([i]), total)
    gone = 1 - _size(rest, total)
    return float(np.clip((min(added, 1.0) + max(gone, 0.0)) / 2, 0.0, 1.0))


def _point(splices: Splices, pair: Pair, i: int, together: Likeness, alone: Likeness, known: Ends) -> Point:
    ends = known.get(i + 1)
    own = stored_as(splices.candidate.model, pair.candidate.end)
    plain = Point(pair.reference.end, own, together.sqnr, together.cosine, alone.sqnr)
    return plain if ends is None else replace(plain, before=ends[0], behind=ends[1])
