"""The work of an audit: a batch of pictures into rows that compare two models on them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import AbsentError
from ..explanation import Explanation
from ..imaging import read_image
from ..stream import Item, Row
from ..targets import AnyTarget
from .asked import Asked
from .harmless import Change
from .measures import MEASURES, NONE, Seen
from .placed import laid
from .sides import Side

DIGITS = 7
"""Significant digits of a number in a row."""


@dataclass(frozen=True, eq=False)
class Auditing:
    """What an audit does with a batch of pictures.

    Attributes
    ----------
    reference, candidate : Side
    offset : int
        What is added to a class of the reference to have the candidate's.
    target : target, optional
        What is explained; None for the class that the reference finds likeliest.
    changes : sequence of Change
        The harmless ones.
    asked : Asked, optional
        Metrics of each map.
    labels : sequence of str
    seed : int
    """

    reference: Side
    candidate: Side
    offset: int
    target: AnyTarget
    changes: Sequence[Change]
    asked: Asked | None
    labels: Sequence[str]
    seed: int
    _optimized: dict[str, Side] = field(default_factory=dict)

    def __call__(self, items: Sequence[Item]) -> list[Row]:
        """Return a row for each picture."""
        images = [read_image(item.path) for item in items]
        own, target = self._of_reference(self.reference.prepared(images))
        other = self._of_candidate(self.candidate.prepared(images), target)
        reference = self._seen(self.reference, own, images)
        candidate = self._seen(self.candidate, other, images) or [_missing(seen) for seen in reference]
        views = [self.reference.preprocess.view(image) for image in images]
        floors = {c.name: self._changed(c, views, items, target) for c in self.changes}
        return [
            {
                "item": item.key,
                "target": int(own.target[n]),
                "label": own.described[n] if own.described else self._named(int(own.target[n])),
                "reference": self._told(reference[n], 0),
                "candidate": self._told(candidate[n], self.offset),
                "values": _compared(reference[n], candidate[n]),
                "floor": {name: _compared(reference[n], seen[n]) for name, seen in floors.items()},
                **self._metrics(item, images[n], n, own, other),
            }
            for n, item in enumerate(items)
        ]

    def maps(self, item: Item) -> tuple[Image.Image, list[NDArray[np.floating] | None]]:
        """Return what the reference sees of a picture, and the maps of both there."""
        image = read_image(item.path)
        own, target = self._of_reference(self.reference.prepared([image]))
        try:
            other = self._of_candidate(self.candidate.prepared([image]), target)
        except AbsentError:
            other = None
        seen = [self._seen(self.reference, own, [image]), self._seen(self.candidate, other, [image])]
        return self.reference.preprocess.view(image), [s[0].map if s else None for s in seen]

    def _of_reference(self, x: NDArray[Any]) -> tuple[Explanation, AnyTarget]:
        """Return the reference's explanation, and what is to be explained of others."""
        if self.target is not None or not self.shared:
            return self.reference.explainer(x, target=self.target), self.target
        found = self.reference.explainer(x)
        first, last = self.shared
        top = first + found.scores[:, first:last].argmax(1)
        return (found if (top == found.target).all() else self.reference.explainer(x, target=top)), top

    def _of_candidate(self, x: NDArray[Any], target: AnyTarget) -> Explanation | None:
        """Return the candidate's explanation; None where a single picture does not show what is explained."""
        moved = target + self.offset if isinstance(target, int | np.ndarray) else target
        try:
            return self.candidate.explainer(x, target=moved)
        except AbsentError:
            if len(x) > 1:
                raise
            return None

    @property
    def shared(self) -> tuple[int, int] | None:
        """The first class that both have, as the reference counts, and the one behind the last; None without."""
        if "classes" not in (self.reference.explainer.head.kind, self.candidate.explainer.head.kind):
            return None
        return max(0, -self.offset), min(self.reference.classes, self.candidate.classes - self.offset)

    def _changed(
        self, change: Change, views: Sequence[Image.Image], items: Sequence[Item], target: AnyTarget
    ) -> list[Seen]:
        side = self.reference
        if change.optimization != "all":
            side = self._optimized.setdefault(change.optimization, side.optimized(change.optimization))
        drawn = [change.picture(view, self._seed(item)) for view, item in zip(views, items, strict=True)]
        try:
            found = side.explainer(side.prepared(drawn), target=target)
        except AbsentError:
            if len(items) > 1:
                raise
            return [_missing(Seen(np.zeros(1), NONE, NONE, None, views[0].size))]
        return self._seen(side, found, drawn)

    def _seen(self, side: Side, found: Explanation | None, images: Sequence[Image.Image]) -> list[Seen]:
        if found is None:
            return []
        maps = next(iter(found.maps.values()))
        scores, probabilities = self._scores(side, found)
        return [
            Seen(
                scores[n],
                float(probabilities[n]),
                float(side.real(found.score[n])) if self.shared else float(found.score[n]),
                laid(
                    maps[n].astype(np.float64),
                    of=side.preprocess.placement(image.size),
                    over=self.reference.preprocess.placement(image.size),
                ),
                self.reference.preprocess.size or (0, 0),
            )
            for n, image in enumerate(images)
        ]

    def _scores(self, side: Side, found: Explanation) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return the scores of shared classes (N, K, ...), and the probability of what is explained (N,)."""
        head, count = side.explainer.head, len(found.score)
        if self.shared is not None:
            move = self.offset if side is self.candidate else 0
            first, last = self.shared
            made = head.probabilities(side.real(found.scores))
            rows = np.arange(count)
            own = np.full(count, NONE) if made is None or (found.target < 0).any() else made[rows, found.target]
            return side.real(found.scores)[:, first + move : last + move], own
        if head.kind == "map" and head.axis is not None and found.scores.shape[1:] == (int(np.prod(head.answer)),):
            return np.moveaxis(found.scores.reshape(count, *head.answer), head.axis + 1, 1), np.full(count, NONE)
        return found.score.reshape(-1, 1), np.full(count, NONE)

    def _told(self, seen: Seen, move: int) -> dict[str, Any]:
        told: dict[str, Any] = {"score": _plain(seen.score), "probability": _plain(seen.probability)}
        if self.shared is not None and seen.map is not None:
            top = int(seen.top) + self.shared[0]
            told |= {"top": top, "label": self._named(top)}
        return told

    def _metrics(
        self, item: Item, image: Image.Image, n: int, own: Explanation, other: Explanation | None
    ) -> dict[str, Any]:
        if self.asked is None:
            return {}
        found = []
        for side, explanation in ((self.reference, own), (self.candidate, other)):
            if explanation is None:
                found.append([NONE] * len(self.asked.metrics))
                continue
            raw, x = next(iter(explanation.maps.values()))[n], side.prepared([image])[0]
            known: dict[str, Any] = {"key": item.key, "image": image, "x": x, "seed": self._seed(item)}
            found.append(self.asked.of(side, raw, target=int(explanation.target[n]), **known))
        names = [m.name for m in self.asked.metrics]
        return {"metrics": {m: [_plain(a), _plain(b)] for m, a, b in zip(names, *found, strict=True)}}

    def _named(self, target: int) -> str:
        return self.labels[target].split(",")[0] if 0 <= target < len(self.labels) else str(target)

    def _seed(self, item: Item) -> int:
        return zlib.crc32(f"{self.seed}/{item.key}".encode(errors="surrogatepass"))


def _missing(reference: Seen) -> Seen:
    """Return what is seen where a run does not show what was explained."""
    return Seen(reference.scores, NONE, NONE, None, reference.view)


def _compared(reference: Seen, other: Seen) -> Mapping[str, float | None]:
    return {m.name: _plain(m.formula(reference, other)) for m in MEASURES.values()}


def _plain(value: float) -> float | None:
    """Return a number with so many digits, None for NaN."""
    return None if np.isnan(value) else float(f"{value:.{DIGITS}g}")
