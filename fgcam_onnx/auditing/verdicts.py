"""Verdicts: whether a candidate drifts beyond the floor, or beyond the caller's own thresholds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ..errors import OptionError, check_known
from ..evaluation.statistics import Interval, interval
from ..metrics import Metric
from ..metrics.grids import Floats
from .measures import MEASURES, Measure

FEWEST = 8
"""Of fewer pictures nothing is judged: drifts that all have one sign come about by chance (2 / 2^n) more often than
1 in 80, which four measures that decide make 1 in 20."""

COARSE = "not surely within the floor"
UNSURE = "neither surely beyond the floor nor within"

LIKELY = 2.05
"""How many times the pictures with which an interval would just reach what is allowed: with these it does in four of
five cases, ((1.96 + 0.84) / 1.96)^2."""

MOST = 5000
"""More pictures than these are not asked for."""

Outcome = Literal["passes", "fails", "undecided"]


@dataclass(frozen=True)
class Verdict:
    """What is to be said of a candidate by one measure.

    Attributes
    ----------
    measure : str
    outcome : {"passes", "fails", "undecided"}
    reason : str
        In a sentence.
    threshold : float, optional
        The caller's own; None where the floor decides.
    pictures : int, optional
        Where it is undecided, about how many would decide it.
    likelier : {"passes", "fails"}, optional
        Where it is undecided, on which side of what is allowed the mean lies.
    """

    measure: str
    outcome: Outcome
    reason: str
    threshold: float | None = None
    pictures: int | None = None
    likelier: Outcome | None = None


@dataclass(frozen=True)
class Line:
    """What all pictures say of one measure.

    Attributes
    ----------
    measure : Measure
    value : Interval, optional
        Of the candidate; None where it is defined on no picture.
    floors : mapping of str to Interval
        Of each harmless change.
    floor : Interval, optional
        Of the harmless change that moves each picture furthest.
    beyond : Interval, optional
        How much further than that the candidate is, picture by picture.
    verdict : Verdict, optional
        None where the measure decides nothing.
    limit : float, optional
        The threshold, or what is allowed beyond the floor, where it decides.
    """

    measure: Measure
    value: Interval | None
    floors: Mapping[str, Interval]
    floor: Interval | None
    beyond: Interval | None
    verdict: Verdict | None
    limit: float | None = None

    def plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        known = {"value": self.value, "floor": self.floor, "beyond": self.beyond}
        m = self.measure
        return {
            **{n: getattr(m, n) for n in ("name", "summary", "better", "unit", "source")},
            "limit": self.limit,
            **{n: None if v is None else v.plain() for n, v in known.items()},
            "floors": {n: v.plain() for n, v in self.floors.items()},
            "verdict": None if self.verdict is None else vars(self.verdict),
        }


@dataclass(frozen=True)
class Thresholds:
    """Where the caller draws the line, by the name of a measure or a metric; nothing: where the floor does.

    Attributes
    ----------
    under, over : mapping of str to float
        The candidate fails where a mean is under, or over.
    metrics : sequence of Metric
        That were asked for, and can be named beside the measures.
    """

    under: Mapping[str, float] = field(default_factory=dict)
    over: Mapping[str, float] = field(default_factory=dict)
    metrics: Sequence[Metric] = ()

    def __post_init__(self) -> None:
        better = {n: m.better for n, m in MEASURES.items()} | {m.name: m.better for m in self.metrics}
        for given, way, other in ((self.under, "higher", "fail_over"), (self.over, "lower", "fail_under")):
            for name, value in given.items():
                check_known("measure", name, better)
                if better[name] != way:
                    raise OptionError(f"{name} is better {better[name]}: say {other} (--{other.replace('_', '-')})")
                if not np.isfinite(value):
                    raise OptionError(f"{name}={value}: a threshold is a number")

    @property
    def given(self) -> dict[str, float]:
        """All of them by name."""
        return {**self.under, **self.over}

    def verdict(self, name: str, value: Interval | None) -> Verdict | None:
        """Return the verdict on a mean; None where there is no threshold."""
        if name not in self.given:
            return None
        limit = self.given[name]
        if value is None or value.n < FEWEST:
            return Verdict(name, "undecided", _few(value), limit)
        side = "under" if name in self.under else "over"
        wrong = value.mean < limit if side == "under" else value.mean > limit
        said = f"{name} is {value.mean:.4g}, {side if wrong else f'not {side}'} the threshold {limit:g}"
        return Verdict(name, "fails" if wrong else "passes", said, limit)


def line(measure: Measure, values: Floats, floors: Mapping[str, Floats], *, thresholds: Thresholds, seed: int) -> Line:
    """Return what a measure of all pictures says.

    Parameters
    ----------
    measure : Measure
    values : ndarray of shape (n,)
        NaN where it is not defined.
    floors : mapping of str to ndarray of shape (n,)
        By harmless change.
    thresholds : Thresholds
    seed : int
        Of the bootstrap.
    """
    value = interval(values, seed=seed)
    each = {n: found for n, f in floors.items() if (found := interval(f, seed=seed)) is not None}
    floor = beyond = None
    if floors:
        drifts = np.stack([measure.drift(f) for f in floors.values()])
        furthest = np.where(np.isnan(drifts).all(0), np.nan, np.fmax.reduce(drifts, axis=0))
        floor = interval(1 - furthest if measure.better == "higher" else furthest, seed=seed)
        beyond = interval(measure.drift(values) - furthest, seed=seed)
    told = Line(measure, value, each, floor, beyond, thresholds.verdict(measure.name, value))
    if told.verdict is not None:
        return replace(told, limit=told.verdict.threshold)
    if thresholds.given or measure.allowed is None or not floors:
        return told
    own = _beyond_floor(measure, beyond, measure.allowed)
    return told if own is None else replace(told, verdict=own, limit=measure.allowed)


def settled(lines: Sequence[Line]) -> list[Line]:
    """Return the lines, each that is unsure decided by a finer measure of the same, if that is surely within.

    A top class changes or it does not, so that its share is known to a few in a hundred only of hundreds of pictures;
    the probability is known of fifty. A share whose mean lies beyond what is allowed stays undecided.
    """
    passing = {x.measure.name for x in lines if x.verdict is not None and x.verdict.outcome == "passes"}

    def one(each: Line) -> Line:
        own, finer = each.verdict, each.measure.finer
        if own is None or own.likelier != "passes" or finer not in passing:
            return each
        said = own.reason.replace(UNSURE, f"{COARSE}, as {finer} is")
        return replace(each, verdict=Verdict(own.measure, "passes", said))

    return [one(each) for each in lines]


def _beyond_floor(measure: Measure, beyond: Interval | None, allowed: float) -> Verdict | None:
    if beyond is None and measure.of == "prediction":
        return None
    if beyond is None or beyond.n < FEWEST:
        return Verdict(measure.name, "undecided", _few(beyond))
    reach = f"{measure.name} by {beyond.mean:.3g} [{beyond.low:.3g}, {beyond.high:.3g}], {allowed:.3g} allowed"
    if beyond.low > allowed:
        return Verdict(measure.name, "fails", f"beyond the floor: {reach}")
    if beyond.high <= allowed:
        return Verdict(measure.name, "passes", f"within the floor: {reach}")
    said = f"{UNSURE}: {reach}"
    likelier: Outcome = "fails" if beyond.mean > allowed else "passes"
    return Verdict(measure.name, "undecided", said, pictures=_needed(beyond, allowed), likelier=likelier)


def _needed(beyond: Interval, allowed: float) -> int | None:
    """Return with how many pictures an interval probably leaves out what is allowed; None where that is too many."""
    gap = beyond.mean - allowed
    arm = beyond.mean - beyond.low if gap > 0 else beyond.high - beyond.mean
    count = LIKELY * beyond.n * (arm / gap) ** 2 if gap else np.inf
    return _rounded(count) if count <= MOST else None


def _rounded(count: float) -> int:
    """Return a number of pictures rounded up to its first two digits."""
    unit = int(10 ** max(0, len(str(int(count))) - 2))
    return math.ceil(count / unit) * unit


def told_of_more(verdicts: Sequence[Verdict]) -> str:
    """Return how many pictures would decide what is undecided, in a sentence; nothing where nothing was judged.

    One measure surely beyond the floor is enough for a failure; for a pass all have to be within.
    """
    open_ = [v for v in verdicts if v.outcome == "undecided" and v.likelier is not None]
    if not open_:
        return ""
    failing = [v.pictures for v in open_ if v.likelier == "fails" and v.pictures is not None]
    others = [v.pictures for v in open_]
    if failing:
        count = min(failing)
    elif None in others:
        return f"It lies at what is allowed: {MOST:,} pictures would hardly tell"
    else:
        count = max(p for p in others if p is not None)
    return f"About {count:,} pictures like these would probably tell"


def _few(found: Interval | None) -> str:
    count = 0 if found is None else found.n
    return f"too few pictures to judge: {count}, at least {FEWEST} are needed"


def whole(verdicts: Sequence[Verdict]) -> Outcome:
    """Return what several verdicts come to: one that fails is enough, else one that is undecided."""
    outcomes = {v.outcome for v in verdicts}
    if "fails" in outcomes:
        return "fails"
    return "undecided" if "undecided" in outcomes or not outcomes else "passes"
