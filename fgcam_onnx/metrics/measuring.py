"""Run what metrics read, once for all of them, and compute them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NumericsError
from .case import Case
from .copies import Copies
from .grids import Floats
from .metric import Metric, Read
from .second import Second

Predict = Callable[[Floats, Sequence[int]], NDArray[np.floating]]
"""Takes pictures (n, C, H, W) and which of the cases' pictures each is a copy of; returns (n,) probabilities."""

Job = tuple[int, Iterator[Floats]]
Key = tuple[Any, ...]


def measure(
    cases: Sequence[Case], metrics: Sequence[Metric], *, predict: Predict, batch: int = 16
) -> list[dict[str, float]]:
    """Return every metric of every case, by the metric's name.

    Copies that several metrics read are run once for each map; those that do not depend on the map once for each
    picture, however many cases are of it.

    Parameters
    ----------
    cases : sequence of Case
    metrics : sequence of Metric
    predict : callable
        The probability of the class that is explained; see :data:`Predict`.
    batch : int
        Pictures run at once.
    """
    jobs: dict[Key, Job] = {}
    celled = [{m.cells: replace(case, cells=m.cells) for m in metrics} for case in cases]
    pictures = _numbered(cases)
    for index, by_cells in enumerate(celled):
        for metric in metrics:
            for read in metric.reads.values():
                key = _key(read, index, metric.cells, pictures[index])
                if isinstance(read, Copies) and key not in jobs:
                    jobs[key] = pictures[index], read(by_cells[metric.cells])
    found: dict[Key, Any] = dict(_probabilities(jobs, predict=predict, batch=batch))
    results = []
    for index, by_cells in enumerate(celled):
        row = {}
        for metric in metrics:
            case, known = by_cells[metric.cells], {}
            for name, read in metric.reads.items():
                key = _key(read, index, metric.cells, pictures[index])
                if isinstance(read, Second) and key not in found:
                    found[key] = _explained(read, case)
                known[name] = found[key]
            missing = any(v is None for v in known.values())
            row[metric.name] = float("nan") if missing else metric.value(case, known)
        results.append(row)
    return results


def _explained(read: Second, case: Case) -> Floats | None:
    """Return second maps; None where numbers go wrong, as they may under shuffled weights."""
    try:
        return read(case)
    except NumericsError:
        return None


def _numbered(cases: Sequence[Case]) -> list[int]:
    """Return a number for each case's picture, the index of the first case that is of it."""
    first: dict[int, int] = {}
    return [first.setdefault(id(case.picture), i) for i, case in enumerate(cases)]


def _key(read: Read, index: int, cells: int, picture: int) -> Key:
    return (read, picture) if isinstance(read, Copies) and read.common else (read, index, cells)


def _probabilities(jobs: Mapping[Key, Job], *, predict: Predict, batch: int) -> Iterator[tuple[Key, Any]]:
    """Run the copies of all jobs, in batches that go across them; yield the probabilities of each."""
    values: dict[Key, list[float]] = {key: [] for key in jobs}
    copies = ((key, owner, copy) for key, (owner, made) in jobs.items() for copy in made)
    while chunk := list(islice(copies, batch)):
        keys, owners, pictures = zip(*chunk, strict=True)
        for key, value in zip(keys, predict(np.stack(pictures), owners), strict=True):
            values[key].append(float(value))
    for key, found in values.items():
        read = key[0]
        yield key, found[0] if read.one else np.asarray(found)
