"""The page of an audit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..blame import Profile
from ..evaluation.statistics import Interval
from ..imaging import overlay, preprocess_from
from ..imaging.writing import save_text
from ..methods import find_method
from ..report import Point, dots, embedded, lines, render
from ..stream import Item, Row
from ..version import __version__
from .results import Audit
from .verdicts import Line
from .work import Auditing

SIDE = 224
"""Longer side of a picture of the page, in pixels."""

OUTCOMES = {"passes": "Passes", "fails": "Fails", "undecided": "Cannot be judged"}

LEAST = 0.01
"""Share of the drift below which a layer is not shown."""

LAYERS = 12
"""How many of the layers that are blamed the page shows."""

COLUMNS = ("confidence", "spearman", "ssim", "emd")
"""The measures that the table of pictures shows."""


def write_page(found: Audit, work: Auditing, items: Mapping[str, Item], path: Path, *, pictures: int) -> Path:
    """Write the page of an audit as one HTML file, the worst ``pictures`` pictures at most.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    worst = found.ranked()
    shown = worst[:pictures]
    html = render(
        "audit.html",
        title=f"{found.about['candidate']['model']} beside {found.about['reference']['model']}",
        found=found,
        headline=OUTCOMES[found.outcome],
        about=about(found),
        sides=sides(found),
        explained="the class that the reference predicts" if work.target is None else "the target that was named",
        plots=[{"measure": each.measure, "svg": _plot(each)} for each in found.lines if each.value is not None],
        profile=_profile(found.profile),
        gallery=[_shown(row, work, items[row["item"]]) for row in shown],
        columns=COLUMNS,
        table=[_row(row, rank) for rank, row in enumerate(worst)],
        made=f"Written by fgcam {__version__}, seed {found.seed}.",
    )
    return save_text(path, html)


def about(found: Audit) -> str:
    """Return what was compared, in a line."""
    count = len(found.known)
    failed = f", {len(found.errors)} could not be compared" if found.errors else ""
    return f"{count} picture{'s' * (count != 1)}{failed}; {found.about['method']}; {found.sameness.said}"


def sides(found: Audit) -> list[tuple[str, str, str]]:
    """Return what is to be said of both models, a name and two texts each."""
    a, b = found.about["reference"], found.about["candidate"]

    def prepared(side: Mapping[str, Any]) -> str:
        done = preprocess_from(side["preprocess"]).described()
        return f"{done} ({side['preprocess_from']})"

    def options(side: Mapping[str, Any]) -> str:
        return ", ".join(f"{n} {v}" for n, v in side["options"].items()) or "defaults"

    def layer(side: Mapping[str, Any]) -> str:
        return f"{side['layer']} ({'x'.join(map(str, side['size']))})"

    rows = [
        ("made by", f"{a['producer']}, opset {a['opset']}", f"{b['producer']}, opset {b['opset']}"),
        ("input", a["input"], b["input"]),
        ("pictures", prepared(a), prepared(b)),
        ("layer", layer(a), f"{layer(b)}: {found.about['layers']}"),
    ]
    return [*rows, ("run with", options(a), options(b))]


def _plot(each: Line) -> Any:
    known: dict[str, Interval | None] = {"candidate": each.value, "furthest harmless": each.floor, **each.floors}
    points = {n: Point(v.mean, v.low, v.high) for n, v in known.items() if v is not None}
    kinds = dict.fromkeys(points, "control") | {"candidate": "s1", "furthest harmless": "s0"}
    return dots(points, kinds=kinds, title=f"{each.measure.name} of the candidate and of harmless changes")


def _profile(profile: Profile | None) -> dict[str, Any] | None:
    """Return the layers that are blamed most, and what splices do over the depth of the net."""
    if profile is None:
        return None
    found = [n for n, p in enumerate(profile.depth) if p.before is not None and p.behind is not None]
    places = [profile.depth[n] for n in found]
    shown = [x for n, x in enumerate(profile.layers[:LAYERS]) if n == 0 or x.share >= LEAST]
    depths = {p.reference: n for n, p in enumerate(profile.depth)}
    marked = {
        f"blamed: {x.name}": float(np.interp(depths[x.name], found, range(len(found))))
        for x in shown[:1]
        if found and x.name in depths
    }
    series: dict[str, dict[int, Point]] = {"candidate up to here": {}, "candidate from here on": {}}
    for step, place in enumerate(places):
        for points, drift in zip(series.values(), (place.before, place.behind), strict=True):
            if drift is not None:
                points[step] = Point(drift.map, drift.map, drift.map)
    steps = [p.reference for p in places]
    return {
        "layers": shown,
        "marked": bool(marked),
        "depth": lines(series, steps=steps, title="drift of the map by where the models are joined", marked=marked)
        if steps
        else "",
    }


def _shown(row: Row, work: Auditing, item: Item) -> dict[str, Any]:
    """Return a picture and the overlays of both maps."""
    view, maps = work.maps(item)
    relative = find_method(work.reference.method).relative
    drawn = [None if m is None else embedded(overlay(view, m, relative=relative), side=SIDE) for m in maps]
    return {
        "name": item.key,
        "told": _said(row),
        "flipped": bool(row["values"]["flips"]),
        "picture": embedded(view, side=SIDE),
        "reference": drawn[0],
        "candidate": drawn[1],
        "spearman": row["values"]["spearman"],
    }


def _said(row: Row) -> str:
    a, b = row["reference"], row["candidate"]
    sure = [f"{s['probability']:.3f}" for s in (a, b) if s["probability"] is not None]
    probability = f", probability of it {' → '.join(sure)}" if len(sure) == 2 else ""
    if "top" not in a or "top" not in b:
        return f"explained as {row['label']}"
    if a["top"] == b["top"]:
        return f"{a['label']} by both{probability}"
    return f"{a['label']} → {b['label']}; explained as {row['label']}{probability}"


def _row(row: Row, rank: int) -> dict[str, Any]:
    return {
        "rank": rank + 1,
        "item": row["item"],
        "reference": row["reference"].get("label", row["label"]),
        "candidate": row["candidate"].get("label", "–"),
        "flipped": bool(row["values"]["flips"]),
        "values": [row["values"][m] for m in COLUMNS],
    }
