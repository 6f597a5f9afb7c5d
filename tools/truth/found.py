"""What ``reproduce.py`` measured of a net, and of several: means and paired differences, with intervals."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from studies import NETS

from fgcam_onnx.evaluation.statistics import Interval, interval
from fgcam_onnx.metrics import find_metric

Values = Mapping[str, float]
"""A metric by picture."""

CONTROLS = ("random pixels", "random cells", "centred gaussian", "edges", "all ones", "boxes")
OWN = "its own"
"""The place where a method has its map when no layer is named."""


@dataclass(frozen=True)
class Found:
    """Every number of a net."""

    told: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Found:
        """Read what ``reproduce.py`` wrote of a net."""
        return cls(json.loads(path.read_text()))

    @property
    def name(self) -> str:
        """What tables call it."""
        return str(self.told["net"])

    @property
    def kind(self) -> str:
        """As ``Net.kind``."""
        return str(self.told["kind"])

    @cached_property
    def cells(self) -> int:
        """Side of the cells in which it was measured."""
        return next(n.cells for n in NETS if n.name == self.name)

    @cached_property
    def places(self) -> dict[int, str]:
        """The layers that were asked, by stride, a power of two."""
        return {2 ** round(math.log2(stride)): name for name, stride in self.told["layers"].items()}

    @cached_property
    def rows(self) -> dict[str, dict[str, dict[str, float]]]:
        """Every metric by row and picture, of all studies."""
        found: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
        for study in self.told["studies"].values():
            for row, pictures in study.items():
                for picture, metrics in pictures.items():
                    found[row][picture] |= metrics
        return found

    @cached_property
    def own(self) -> dict[str, str]:
        """The rows of methods where each has its map, by method."""
        rows = (r for name in ("input", "input-where") for r in self.told["studies"].get(name, {}))
        return {row.rsplit(" at ", 1)[0]: row for row in rows}

    def label(self, method: str, place: int | str) -> str:
        """Return what the row of a method at a stride, at the input or at its own place is called."""
        if method in CONTROLS:
            return f"control: {method}"
        if place == OWN:
            return self.own.get(method, "")
        return f"{method} at {self.places.get(place, '') if isinstance(place, int) else place}"

    def values(self, method: str, place: int | str, metric: str) -> dict[str, float]:
        """Return a metric of a row by picture, left out where it is not defined."""
        key = f"{metric}{self.cells}" if metric.endswith("@") else metric
        rows = self.rows.get(self.label(method, place), {})
        return {p: float(m[key]) for p, m in rows.items() if m.get(key) is not None}

    def measured(self, method: str, place: int | str, metric: str) -> tuple[int, int]:
        """Return on how many pictures a metric was measured, and on how many it is defined."""
        key = f"{metric}{self.cells}" if metric.endswith("@") else metric
        rows = self.rows.get(self.label(method, place), {})
        asked = [m[key] for m in rows.values() if key in m]
        return len(asked), sum(v is not None for v in asked)


def sign(metric: str) -> int:
    """Return 1 where more is better, else -1."""
    return 1 if find_metric(metric.rstrip("@")).better == "higher" else -1


def less(own: Values, other: Values, metric: str) -> dict[str, float]:
    """Return how much better one row is than another, by picture that both have."""
    return {p: sign(metric) * (own[p] - other[p]) for p in own.keys() & other.keys()}


def mean(nets: Iterable[Values]) -> Interval | None:
    """Return the mean over pictures of each picture's mean over nets, with its interval: pictures are resampled."""
    found: dict[str, list[float]] = defaultdict(list)
    for values in nets:
        for picture, value in values.items():
            found[picture].append(value)
    return interval(np.array([np.mean(found[p]) for p in sorted(found)]), seed=0)


def differences(
    nets: Sequence[Found], own: tuple[str, int | str], other: tuple[str, int | str], metric: str
) -> Interval | None:
    """Return how much better a row is than another, over nets, positive for better."""
    return mean(less(n.values(*own, metric), n.values(*other, metric), metric) for n in nets)


def against_base(nets: Sequence[Found], metric: str) -> Interval | None:
    """Return how much better FG-CAM at the input is than at the deepest layer, where it is the CAM it refines."""
    return mean(
        less(n.values("fgcam", "input", metric), n.values("fgcam", max(n.places), metric), metric) for n in nets
    )


def shown(found: Interval | None, *, signed: bool = False) -> str:
    """Return a mean as tables show it; ``signed``, a difference with its interval, bold where it leaves 0 out."""
    if found is None:
        return "-"
    if not signed:
        return f"{found.mean:.3f}"
    text = f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    return f"**{text}**" if found.excludes_zero else text
