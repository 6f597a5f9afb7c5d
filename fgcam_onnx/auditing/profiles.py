"""Where in the net a drift comes from: what an audit wants to know of it, whoever finds it out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from ..explainer import Explainer
from ..targets import AnyTarget

DIGITS = 6
"""Significant digits of a number of a profile."""


class Drift(Protocol):
    """How far a prediction and a map are from the reference's; 0 where nothing changed."""

    @property
    def prediction(self) -> float: ...  # noqa: D102
    @property
    def map(self) -> float: ...  # noqa: D102


class Point(Protocol):
    """A place in the depth of the net: a tensor of both models, how alike it is, and what splices there do.

    ``before``: the candidate runs up to here and the reference behind; ``behind``: the reverse; None where not spliced.
    """

    @property
    def reference(self) -> str: ...  # noqa: D102
    @property
    def sqnr(self) -> float: ...  # noqa: D102
    @property
    def cosine(self) -> float: ...  # noqa: D102
    @property
    def before(self) -> Drift | None: ...  # noqa: D102
    @property
    def behind(self) -> Drift | None: ...  # noqa: D102


class Blamed(Protocol):
    """A layer, its share of the drift, 0 to 1, and what is odd about it."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def share(self) -> float: ...  # noqa: D102
    @property
    def oddities(self) -> Sequence[str]: ...  # noqa: D102


class Profile(Protocol):
    """The layers, the most guilty first, and the depth of the net from the input to the output."""

    @property
    def layers(self) -> Sequence[Blamed]: ...  # noqa: D102
    @property
    def depth(self) -> Sequence[Point]: ...  # noqa: D102


class Blame(Protocol):
    """Finds a profile of two models on prepared pictures, each (1, ...) as its model takes them."""

    def __call__(
        self,
        reference: Explainer,
        candidate: Explainer,
        /,
        *,
        pictures: Sequence[NDArray[Any]],
        candidate_pictures: Sequence[NDArray[Any]],
        target: AnyTarget,
        offset: int,
    ) -> Profile:
        """Return the profile."""
        ...


def plain(profile: Profile) -> dict[str, Any]:
    """Return a profile as plain values."""
    layers = [{"name": x.name, "share": _short(x.share), "oddities": list(x.oddities)} for x in profile.layers]
    depth = [
        {
            "name": p.reference,
            "sqnr": _short(p.sqnr),
            "cosine": _short(p.cosine),
            "before": _drift(p.before),
            "behind": _drift(p.behind),
        }
        for p in profile.depth
    ]
    return {"layers": layers, "depth": depth}


def _drift(drift: Drift | None) -> dict[str, float] | None:
    return None if drift is None else {"prediction": _short(drift.prediction), "map": _short(drift.map)}


def _short(value: float) -> float:
    """Return a number of so many digits; a signal without noise has as many decibels as JSON can say."""
    return float(f"{min(max(value, -1e9), 1e9):.{DIGITS}g}")
