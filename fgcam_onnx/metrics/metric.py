"""What a metric is: a row with its name, what it says, its source, its formula and what that reads."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from ..errors import OptionError
from .case import Case
from .copies import Copies, Squares
from .second import Second

Read = Copies | Second
Reads = Mapping[str, Read]


@dataclass(frozen=True)
class Metric:
    """A row of the table.

    Attributes
    ----------
    name, summary, source : str
        What it measures, in a line, and where it was published.
    better : {"higher", "lower"}
    formula : callable
        Takes what it names: what :class:`Case` has (``map``, ``positive``, ``ranks``, ``order``, ``region``), what is
        in ``reads``, and the fields of that (``shares``).
    reads : mapping
        Copies of the picture whose probabilities it takes, and second maps.
    cells : int
        Side of the cells that maps are averaged over first; 1 for none.
    """

    name: str
    summary: str
    better: Literal["higher", "lower"]
    source: str
    formula: Callable[..., float]
    reads: Reads = field(default_factory=dict)
    cells: int = 1

    @property
    def parameters(self) -> tuple[str, ...]:
        """What the formula takes."""
        return tuple(n for n, p in inspect.signature(self.formula).parameters.items() if p.default is p.empty)

    @property
    def needs_region(self) -> bool:
        """Whether it needs to know where the object is."""
        return "region" in self.parameters

    @property
    def asks(self) -> bool:
        """Whether it needs other maps than the one it judges."""
        return any(isinstance(r, Second) for r in self.reads.values())

    @property
    def runs(self) -> int:
        """How many copies of a picture the model is run on."""
        return sum(r.runs for r in self.reads.values() if isinstance(r, Copies))

    def at(self, cells: int) -> Metric:
        """Return the metric for maps averaged over cells of ``cells`` pixels, ``name@cells``.

        Raises
        ------
        OptionError
            ``cells`` is below 1.
        """
        if cells < 1:
            raise OptionError(f"cells are of 1 pixel at least, not {cells}")
        plain = self.name.split("@")[0]
        return replace(self, name=plain if cells == 1 else f"{plain}@{cells}", cells=cells)

    def having(self, **settings: Any) -> Metric:
        """Return the metric with other settings of what it reads, such as ``shares`` or ``count``.

        Raises
        ------
        OptionError
            Nothing it reads has such a setting.
        """
        for name in settings:
            if not any(name in _settings(r) for r in self.reads.values()):
                known = sorted({n for r in self.reads.values() for n in _settings(r)})
                raise OptionError(f"{self.name} has no setting {name!r}; it has {', '.join(known) or 'none'}")
        changed = {
            n: replace(r, **{s: v for s, v in settings.items() if s in _settings(r)})  # type: ignore[type-var]
            for n, r in self.reads.items()
        }
        return replace(self, reads=changed)

    def value(self, case: Case, found: Mapping[str, Any]) -> float:
        """Return the metric of a case, given what was found of what it reads; NaN where it is not defined."""
        if self.needs_region and case.region is None:
            return float("nan")
        return float(self.formula(**{name: self._known(name, case, found) for name in self.parameters}))

    def _known(self, name: str, case: Case, found: Mapping[str, Any]) -> Any:
        if name in self.reads:
            return found[name]
        for read in self.reads.values():
            if name in _settings(read):
                return getattr(read, name)
            if name == "squares" and isinstance(read, Squares):
                return read.places(case.picture)
        return getattr(case, name)


def _settings(read: Any) -> set[str]:
    return {f.name for f in fields(read)}
