"""What an evaluation found."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OptionError, check_known
from ..imaging import save_json
from ..imaging.writing import save_text
from ..metrics import CONTROLS, Metric
from ..metrics.grids import Floats
from ..stream import Row
from ..version import __version__
from .statistics import Interval, interval, paired
from .subjects import Subject
from .work import CONTROL


@dataclass(frozen=True)
class Line:
    """A line of the table: a subject or a control, and its metrics.

    Attributes
    ----------
    label : str
    subject : Subject or None
        None for a control.
    values : dict of str to Interval
        Mean of each metric; one that is defined on no picture is not there.
    against : dict of str to Interval
        Mean difference to the line that is compared with, on the pictures that both have.
    """

    label: str
    subject: Subject | None
    values: dict[str, Interval]
    against: dict[str, Interval]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What an evaluation found.

    Attributes
    ----------
    rows : sequence of mapping
        For each picture and each subject and control: ``item``, ``row``, ``target``, ``label``, ``probability``,
        ``covers`` (share of the picture that the object covers) and the metrics; or ``item`` and ``error``.
    metrics : sequence of Metric
    subjects : sequence of Subject
    controls : sequence of str
    reference : str
        The line that others are compared with.
    seed : int
    about : mapping
        What was evaluated, as plain values.
    notes : sequence of str
    """

    rows: Sequence[Row]
    metrics: Sequence[Metric]
    subjects: Sequence[Subject]
    controls: Sequence[str]
    reference: str
    seed: int
    about: Mapping[str, Any]
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_known("row to compare with", self.reference, self.labels)

    @property
    def labels(self) -> list[str]:
        """What the lines are called."""
        return [s.label for s in self.subjects] + [f"{CONTROL}{c}" for c in self.controls]

    @cached_property
    def items(self) -> list[str]:
        """The pictures that were judged, in order."""
        return list(dict.fromkeys(row["item"] for row in self.rows if "error" not in row))

    @property
    def errors(self) -> dict[str, str]:
        """Why pictures could not be judged."""
        return {row["item"]: row["error"] for row in self.rows if "error" in row}

    @cached_property
    def _table(self) -> dict[tuple[str, str], Floats]:
        places = {item: i for i, item in enumerate(self.items)}
        names = [m.name for m in self.metrics]
        table = {(label, name): np.full(len(places), np.nan) for label in self.labels for name in names}
        for row in self.rows:
            if "error" not in row:
                for name in names:
                    if row[name] is not None:
                        table[row["row"], name][places[row["item"]]] = row[name]
        return table

    def values(self, label: str, metric: str) -> Floats:
        """Return a metric of a line on every picture of ``items``, NaN where it is not defined."""
        return self._table[label, metric]

    @cached_property
    def lines(self) -> list[Line]:
        """The table."""
        subjects: dict[str, Subject] = {s.label: s for s in self.subjects}
        return [Line(label, subjects.get(label), *self._compared(label)) for label in self.labels]

    def _compared(self, label: str) -> tuple[dict[str, Interval], dict[str, Interval]]:
        means, against = {}, {}
        for metric in self.metrics:
            own, other = self.values(label, metric.name), self.values(self.reference, metric.name)
            if (found := interval(own, seed=self.seed)) is not None:
                means[metric.name] = found
            if label != self.reference and (found := paired(own, other, seed=self.seed)) is not None:
                against[metric.name] = found
        return means, against

    def won_by(self, metric: Metric) -> list[str]:
        """Return the controls that are at least as good by a metric as every map that was judged.

        The boxes are left out: they know where the object is.
        """
        sign = 1 if metric.better == "higher" else -1
        best = max(
            (
                sign * line.values[metric.name].mean
                for line in self.lines
                if line.subject and metric.name in line.values
            ),
            default=math.inf,
        )
        return [
            c
            for c in self.controls
            if not CONTROLS[c].truth
            and metric.name in (means := self._line(f"{CONTROL}{c}").values)
            and sign * means[metric.name].mean >= best
        ]

    def _line(self, label: str) -> Line:
        return next(line for line in self.lines if line.label == label)

    def summary(self) -> dict[str, Any]:
        """Return everything but the single pictures as plain values."""
        return {
            "fgcam": __version__,
            **self.about,
            "pictures": len(self.items),
            "errors": self.errors,
            "compared_with": self.reference,
            "notes": list(self.notes),
            "metrics": [
                {
                    "name": m.name,
                    "summary": m.summary,
                    "better": m.better,
                    "source": m.source,
                    "cells": m.cells,
                    "won_by": self.won_by(m),
                }
                for m in self.metrics
            ],
            "rows": [_plain(line) for line in self.lines],
        }

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``evaluation.csv``, a row for each picture and map, and ``evaluation.json``; return the paths.

        Raises
        ------
        OutputError
            A file cannot be written.
        """
        folder = Path(folder)
        text = io.StringIO()
        columns = ["item", "row", "target", "label", "probability", "covers", *(m.name for m in self.metrics), "error"]
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        table = save_text(folder / "evaluation.csv", text.getvalue())
        return [table, save_json(folder / "evaluation.json", self.summary())]


def _plain(line: Line) -> dict[str, Any]:
    subject = line.subject
    told = (
        {"method": line.label.removeprefix(CONTROL), "layer": "", "control": True}
        if subject is None
        else {"method": subject.variant.name, "layer": subject.layer, "size": list(subject.size), "control": False}
    )
    return {
        "row": line.label,
        **told,
        "values": {n: v.plain() for n, v in line.values.items()},
        "difference": {n: v.plain() for n, v in line.against.items()},
    }


def check_regions(metrics: Sequence[Metric], *, given: bool) -> None:
    """Refuse metrics that need to know where the object is, where nothing tells.

    Raises
    ------
    OptionError
        Names them.
    """
    needing = [m.name for m in metrics if m.needs_region]
    if needing and not given:
        raise OptionError(f"{', '.join(needing)} need to know where the object is: pass boxes or masks")
