"""The page of an evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..imaging import overlay
from ..imaging.writing import save_text
from ..metrics import Metric
from ..report import Point, dots, embedded, lines, render
from ..report.plots import SERIES
from ..stream import Item
from ..version import __version__
from .results import Evaluation, Line
from .statistics import Interval
from .work import Evaluating

SIDE = 176
"""Longer side of a picture of the page, in pixels."""


def write_page(found: Evaluation, work: Evaluating, items: Mapping[str, Item], path: Path, *, pictures: int) -> Path:
    """Write the page of an evaluation as one HTML file, with ``pictures`` pictures at most.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    shown = striking(found, most=pictures)
    over_depth = len({s.variant.name for s in found.subjects}) < len(found.subjects)
    html = render(
        "evaluation.html",
        title=f"Maps of {found.about['model']}",
        about=about(found),
        verdict=verdict(found),
        notes=found.notes,
        metrics=[{**vars(m), "won_by": found.won_by(m)} for m in found.metrics],
        rows=[_row(line, found) for line in found.lines],
        differences=[_difference(line, found) for line in found.lines if line.against],
        reference=found.reference,
        pictures=len(found.items),
        over_depth=over_depth,
        plots=[
            {"name": m.name, "better": m.better, "svg": depths(found, m) if over_depth else _side_by_side(found, m)}
            for m in found.metrics
        ],
        gallery=[_shown(found, work, items[key]) for key in shown],
        values=[_values(found, key) for key in shown],
        errors=found.errors,
        made=f"Written by fgcam {__version__}, seed {found.seed}.",
    )
    return save_text(path, html)


def about(found: Evaluation) -> str:
    """Return what was evaluated, in a line."""
    count = len(found.items)
    failed = f", {len(found.errors)} could not be judged" if found.errors else ""
    maps = f"{len(found.subjects)} maps and {len(found.controls)} controls"
    return f"{count} picture{'s' * (count != 1)}{failed}; {maps}; compared with {found.reference}"


def verdict(found: Evaluation) -> str:
    """Return which maps are best by most of the metrics that no control wins, in a sentence."""
    if not found.items:
        return "No picture could be judged."
    sound = [m for m in found.metrics if not found.won_by(m)]
    best = Counter(line.label for m in sound for line in best_lines(found, m))
    if not best:
        return "No metric tells the maps that were judged from maps that know nothing of the model."
    top = max(best.values())
    names = [n for n, count in best.items() if count == top]
    shown = " and ".join(names) if len(names) < 4 else f"{len(names)} maps"
    of = f"the {len(sound)} metrics" if len(sound) > 1 else "the one metric"
    lost = len(found.metrics) - len(sound)
    beside = f" ({lost} won by one)" if lost else ""
    return f"Best by {top} of {of} that no control wins{beside}: {shown}."


def best_lines(found: Evaluation, metric: Metric) -> list[Line]:
    """Return the subjects whose mean is best by a metric."""
    judged = [line for line in found.lines if line.subject is not None and metric.name in line.values]
    means = [line.values[metric.name].mean for line in judged]
    if not means:
        return []
    best = max(means) if metric.better == "higher" else min(means)
    return [line for line, mean in zip(judged, means, strict=True) if mean == best]


def striking(found: Evaluation, *, most: int) -> list[str]:
    """Return the pictures that are highest or lowest by most of the numbers of the table, in their order."""
    votes: Counter[str] = Counter()
    for line in found.lines:
        for metric in found.metrics if line.subject is not None else ():
            values = found.values(line.label, metric.name)
            if not np.isnan(values).all():
                votes.update({found.items[int(np.nanargmin(values))], found.items[int(np.nanargmax(values))]})
    places = {key: place for place, key in enumerate(found.items)}
    chosen = sorted(votes, key=lambda key: (-votes[key], places[key]))[:most]
    return sorted(chosen, key=places.__getitem__)


def _cell(metric: Metric, value: Interval | None) -> dict[str, Any]:
    known = {"mean": None, "low": None, "high": None, "n": 0} if value is None else vars(value)
    return {"metric": metric.name, **known}


def _row(line: Line, found: Evaluation) -> dict[str, Any]:
    cells = [{**_cell(m, line.values.get(m.name)), "best": line in best_lines(found, m)} for m in found.metrics]
    return {"label": line.label, "control": line.subject is None, "cells": cells}


def _difference(line: Line, found: Evaluation) -> dict[str, Any]:
    cells = [{**_cell(m, value := line.against.get(m.name)), "verdict": verdict_of(m, value)} for m in found.metrics]
    return {"label": line.label, "control": line.subject is None, "cells": cells}


def verdict_of(metric: Metric, difference: Interval | None) -> str:
    """Return ``better`` or ``worse`` where the interval of a difference leaves 0 out, else nothing."""
    if difference is None or not difference.excludes_zero:
        return ""
    return "better" if (difference.mean > 0) == (metric.better == "higher") else "worse"


def depths(found: Evaluation, metric: Metric) -> Any:
    """Return the plot of a metric over the layers, from the input to the deepest, a line for each method."""
    layers = {s.layer: s for s in sorted(found.subjects, key=lambda s: s.depth)}
    steps = [f"{name} ({'×'.join(map(str, s.size))})" for name, s in layers.items()]
    places = {name: step for step, name in enumerate(layers)}
    series: dict[str, dict[int, Point]] = {}
    for line in found.lines:
        if line.subject is not None and metric.name in line.values:
            own = series.setdefault(line.subject.variant.name, {})
            own[places[line.subject.layer]] = _point(line.values[metric.name])
    return lines(series, steps=steps, title=f"{metric.name} over depth")


def _side_by_side(found: Evaluation, metric: Metric) -> Any:
    known = {line.label: line for line in found.lines if metric.name in line.values}
    subjects = [label for label, line in known.items() if line.subject is not None]
    kinds = dict.fromkeys(known, "control") | {label: f"s{i % SERIES}" for i, label in enumerate(subjects)}
    points = {label: _point(line.values[metric.name]) for label, line in known.items()}
    return dots(points, kinds=kinds, title=metric.name)


def _point(value: Interval) -> Point:
    return Point(value.mean, value.low, value.high)


def _shown(found: Evaluation, work: Evaluating, item: Item) -> dict[str, Any]:
    """Return a picture and the overlays of every map of it."""
    view, maps = work.maps(item)
    row = next(r for r in found.rows if r["item"] == item.key)
    overlays = {label: overlay(view, raw, relative=label in work.relative) for label, raw in maps.items()}
    covers = "" if row["covers"] is None else f", the object covers {100 * row['covers']:.0f} %"
    return {
        "name": item.key,
        "told": f"explained as {row['label']}, probability {row['probability']:.3f}{covers}",
        "picture": embedded(view, side=SIDE),
        "maps": [{"label": label, "overlay": embedded(over, side=SIDE)} for label, over in overlays.items()],
    }


def _values(found: Evaluation, key: str) -> dict[str, dict[str, float]]:
    names: Sequence[str] = [m.name for m in found.metrics]
    return {
        row["row"]: {n: float(f"{row[n]:.4g}") for n in names if row[n] is not None}
        for row in found.rows
        if row["item"] == key
    }
