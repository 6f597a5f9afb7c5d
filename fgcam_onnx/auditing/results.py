"""What an audit found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..blame import Mended, Profile
from ..evaluation.statistics import Interval, interval, paired
from ..imaging import save_json
from ..imaging.writing import save_bytes
from ..metrics import Metric
from ..metrics.grids import Floats
from ..stream import Row
from ..version import __version__
from .harmless import Change
from .junit import junit
from .measures import MEASURES
from .profiles import plain, plain_mended
from .sameness import Sameness
from .verdicts import COARSE, Line, Outcome, Thresholds, Verdict, line, settled, told_of_more, whole


@dataclass(frozen=True)
class Judged:
    """A metric of both sides' maps: the means, and how much the candidate's is higher, picture by picture."""

    metric: Metric
    reference: Interval | None
    candidate: Interval | None
    difference: Interval | None
    verdict: Verdict | None

    def plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        names = ("reference", "candidate", "difference")
        found = {n: None if (v := getattr(self, n)) is None else v.plain() for n in names}
        verdict = None if self.verdict is None else vars(self.verdict)
        return {"name": self.metric.name, "better": self.metric.better, **found, "verdict": verdict}


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes
    ----------
    rows : sequence of mapping
        For each picture: ``item``, ``target``, ``label``, ``reference`` and ``candidate`` (score, probability, top
        class), ``values`` by measure, ``floor`` by harmless change and measure, ``metrics``; or ``item`` and ``error``.
    changes : sequence of Change
        The harmless ones.
    metrics : sequence of Metric
    thresholds : Thresholds
    sameness : Sameness
        Whether the two files are one net.
    view : (int, int)
        Height and width of what the reference sees.
    seed : int
    about : mapping
        What was audited, as plain values.
    notes : sequence of str
    profile : Profile, optional
        Which layers are to blame, where that was asked for.
    mended : Mended, optional
        What came of mending, where that was asked for and there was something to mend.
    """

    rows: Sequence[Row]
    changes: Sequence[Change]
    metrics: Sequence[Metric]
    thresholds: Thresholds
    sameness: Sameness
    view: tuple[int, int]
    seed: int
    about: Mapping[str, Any]
    notes: Sequence[str] = ()
    profile: Profile | None = None
    mended: Mended | None = None

    @cached_property
    def known(self) -> list[Row]:
        """The rows of the pictures that could be compared."""
        return [row for row in self.rows if "error" not in row]

    @property
    def errors(self) -> dict[str, str]:
        """Why pictures could not be compared."""
        return {row["item"]: row["error"] for row in self.rows if "error" in row}

    def values(self, measure: str, change: str = "") -> Floats:
        """Return a measure of the candidate, or of a harmless change, on every picture; NaN where it is not defined."""
        found = [(row["floor"][change] if change else row["values"])[measure] for row in self.known]
        return np.array([np.nan if v is None else v for v in found], np.float64)

    @cached_property
    def lines(self) -> list[Line]:
        """What each measure says."""
        found = [
            line(
                m,
                self.values(m.name),
                {c.name: self.values(m.name, c.name) for c in self.changes},
                thresholds=self.thresholds,
                seed=self.seed,
            )
            for m in MEASURES.values()
        ]
        return settled(found)

    @cached_property
    def judged(self) -> list[Judged]:
        """What each metric says."""
        found = []
        for metric in self.metrics:
            a, b = (
                np.array([np.nan if (v := row["metrics"][metric.name][n]) is None else v for row in self.known], float)
                for n in (0, 1)
            )
            value = interval(b, seed=self.seed)
            verdict = self.thresholds.verdict(metric.name, value)
            difference = paired(b, a, seed=self.seed)
            found.append(Judged(metric, interval(a, seed=self.seed), value, difference, verdict))
        return found

    @property
    def verdicts(self) -> list[Verdict]:
        """The verdicts of all measures and metrics that decide."""
        every = [each.verdict for each in self.lines] + [each.verdict for each in self.judged]
        return [verdict for verdict in every if verdict is not None]

    @property
    def outcome(self) -> Outcome:
        """Whether the candidate passes, fails or cannot be judged."""
        return whole(self.verdicts)

    @property
    def reason(self) -> str:
        """Why, in a sentence or two."""
        deciding = [v for v in self.verdicts if v.outcome == self.outcome]
        if self.outcome == "passes":
            within = "not beyond the thresholds" if self.thresholds.given else "surely within what the floor allows"
            coarse = [v for v in deciding if COARSE in v.reason]
            sure = ", ".join(v.measure for v in deciding if v not in coarse)
            return f"{sure}: {within}.{''.join(f' {v.reason[0].upper()}{v.reason[1:]}.' for v in coarse)}"
        if not deciding:
            return "No picture could be compared."
        told = "; ".join(dict.fromkeys(v.reason for v in deciding))
        more = told_of_more(self.verdicts) if self.outcome == "undecided" else ""
        return f"{told[0].upper()}{told[1:]}.{f' {more}.' if more else ''}"

    def ranked(self) -> list[Row]:
        """Return the pictures from the one with the largest drift: another class first, then the least alike map."""

        def drift(row: Row) -> tuple[float, float]:
            like = row["values"]["spearman"]
            return -(row["values"]["flips"] or 0.0), -2.0 if like is None else like

        return sorted(self.known, key=drift)

    def summary(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "fgcam": __version__,
            "outcome": self.outcome,
            "reason": self.reason,
            **self.about,
            "one_net": vars(self.sameness),
            "pictures": len(self.known),
            "errors": self.errors,
            "notes": list(self.notes),
            "thresholds": {"fail_under": dict(self.thresholds.under), "fail_over": dict(self.thresholds.over)},
            "floor": {c.name: c.summary for c in self.changes},
            "measures": [each.plain() for each in self.lines],
            "metrics": [each.plain() for each in self.judged],
            **({} if self.profile is None else {"profile": plain(self.profile)}),
            **({} if self.mended is None else {"mended": plain_mended(self.mended)}),
            "rows": list(self.rows),
        }

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``audit.json`` and ``audit.xml`` (JUnit); return the paths.

        Raises
        ------
        OutputError
            A file cannot be written.
        """
        models = {side: self.about[side]["model"] for side in ("reference", "candidate")}
        text = junit(self.verdicts, errors=self.errors, models=models)
        folder = Path(folder)
        return [save_json(folder / "audit.json", self.summary()), save_bytes(folder / "audit.xml", text)]
