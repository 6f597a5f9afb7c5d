"""The work of an evaluation: a batch of pictures into rows of metrics."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import TargetError
from ..explainer import Explainer
from ..imaging import Preprocess, read_image
from ..methods import find_method
from ..methods.sampling import like_input
from ..metrics import CONTROLS, Case, Explain, Metric, Picture, measure
from ..metrics.case import Asked
from ..metrics.grids import Floats
from ..stream import Item, Row
from .subjects import Chosen, Pool, Subject
from .truth import Regions, in_view

CONTROL = "control: "
DIGITS = 9
"""Significant digits of a number in a row."""


@dataclass(frozen=True)
class _Read:
    """A picture, what the model makes of it, and its maps."""

    item: Item
    image: Image.Image
    x: NDArray[Any]
    logits: NDArray[np.float32]
    target: int
    maps: Sequence[tuple[Subject, NDArray[np.float32]]]


@dataclass(frozen=True)
class Evaluating:
    """What an evaluation does with a batch of pictures.

    Attributes
    ----------
    pool : Pool
    chosen : Chosen
    metrics : sequence of Metric
    controls : sequence of str
    preprocess : Preprocess
        Bound to the model.
    classes : callable
        Returns the class of a picture by its key, or None for the likeliest.
    regions : Regions, optional
    labels : sequence of str
    seed, batch : int
    """

    pool: Pool
    chosen: Chosen
    metrics: Sequence[Metric]
    controls: Sequence[str]
    preprocess: Preprocess
    classes: Callable[[str], int | None]
    regions: Regions | None
    labels: Sequence[str]
    seed: int
    batch: int
    _groups: list[tuple[Explainer, list[Subject]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for subjects in self.chosen.groups().values():
            layers = list(dict.fromkeys(s.layer for s in subjects))
            self._groups.append((self.pool.explainer(subjects[0].variant, layers), subjects))
        if (head := self._first.head).dense or head.kind == "embedding":
            raise head.refusal("metrics read the probability of a class")

    @property
    def _first(self) -> Explainer:
        return self._groups[0][0]

    def __call__(self, items: Sequence[Item]) -> list[Row]:
        """Return a row for each picture and each subject and control."""
        return [row for read in self._read(items) for row in self._judged(read)]

    def maps(self, item: Item) -> tuple[Image.Image, dict[str, NDArray[np.floating]]]:
        """Return the part of a picture that the model sees, and its maps, by the row they are of."""
        (read,) = self._read([item])
        return self.preprocess.view(read.image), {label: case.raw for label, case in self._cases(read).items()}

    @property
    def relative(self) -> frozenset[str]:
        """The rows in whose maps 0 means nothing."""
        return frozenset(s.label for s in self.chosen.subjects if find_method(s.variant.method).relative)

    def _read(self, items: Sequence[Item]) -> list[_Read]:
        images = [read_image(item.path) for item in items]
        x = np.concatenate([self.preprocess(image) for image in images])
        logits = self._logits(x)
        targets = np.array([self._target(i.key, row) for i, row in zip(items, logits, strict=True)])
        found = [(explainer(x, target=targets), subjects) for explainer, subjects in self._groups]
        return [
            _Read(
                item, image, x[n], logits[n], int(targets[n]), [(s, e.maps[s.layer][n]) for e, of in found for s in of]
            )
            for n, (item, image) in enumerate(zip(items, images, strict=True))
        ]

    def _target(self, key: str, logits: NDArray[np.float32]) -> int:
        told = self.classes(key)
        if told is not None and not 0 <= told < len(logits):
            raise TargetError(f"{key}: class {told} is out of range: the model has classes 0 to {len(logits) - 1}")
        return int(logits.argmax()) if told is None else told

    def _logits(self, x: NDArray[Any]) -> NDArray[np.float32]:
        found = self._first.predict(x)
        return found.reshape(len(found), -1)

    def _probability(self, logits: NDArray[np.float32], target: int) -> NDArray[np.float32]:
        found = self._first.head.probabilities(logits)
        return (logits if found is None else found)[:, target]

    def _cases(self, read: _Read) -> dict[str, Case]:
        """Return the maps of a picture, and the controls', ready to be measured."""
        region = self.regions.of(read.item.key, read.image, read.target) if self.regions is not None else None
        seen = None if region is None else in_view(region, self.preprocess)
        seed = zlib.crc32(f"{self.seed}/{read.item.key}".encode(errors="surrogatepass"))
        picture = Picture(self._channels_first(read.x[None])[0].astype(np.float32), seen, seed)
        cases = {s.label: Case(picture, raw, self._explain(s, read, seed)) for s, raw in read.maps}
        for name in self.controls:
            control = CONTROLS[name]
            if not (control.truth and seen is None):
                cases[f"{CONTROL}{name}"] = Case(picture, control.draw(picture), _drawn(control.draw, picture))
        return cases

    def _judged(self, read: _Read) -> list[Row]:
        def predict(copies: Floats, owners: Sequence[int]) -> NDArray[np.float32]:
            return self._probability(self._logits(self._as_input(copies)), read.target)

        cases = self._cases(read)
        found = measure(list(cases.values()), self.metrics, predict=predict, batch=self.batch)
        seen = next(iter(cases.values())).region
        told = {
            "target": read.target,
            "label": self.labels[read.target] if read.target < len(self.labels) else str(read.target),
            "probability": _plain(float(self._probability(read.logits[None], read.target)[0])),
            "covers": None if seen is None else _plain(float(seen.mean())),
        }
        return [
            {"item": read.item.key, "row": label, **told, **{n: _plain(v) for n, v in values.items()}}
            for label, values in zip(cases, found, strict=True)
        ]

    def _explain(self, subject: Subject, read: _Read, seed: int) -> Explain:
        """Return what explains pictures like this one, or other classes, or by shuffled weights."""
        others = [int(c) for c in np.argsort(-read.logits, kind="stable") if c != read.target]
        classes = {"own": read.target}
        if others:
            classes |= {"next": others[0], "random": others[np.random.default_rng(seed).integers(len(others))]}

        def explain(x: Floats, asked: Asked) -> NDArray[np.float32]:
            if asked.target not in classes:
                raise TargetError("the model has a single class, and no other to compare with")
            explainer = self.pool.explainer(
                subject.variant, [subject.layer], randomised=asked.randomised, place=asked.place
            )
            given = self._as_input(x)
            return explainer(given, target=np.full(len(given), classes[asked.target])).maps[subject.layer]

        return explain

    def _channels_first(self, x: NDArray[Any]) -> NDArray[Any]:
        return np.moveaxis(x, -1, 1) if self.preprocess.layout == "NHWC" else x

    def _as_input(self, x: Floats) -> NDArray[Any]:
        """Return pictures (n, C, H, W) as the model takes them."""
        given = np.moveaxis(x, 1, -1) if self.preprocess.layout == "NHWC" else x
        dtype = np.dtype(self.preprocess.dtype or "float32")
        return given if given.dtype == dtype else like_input(given, dtype)


def _drawn(draw: Callable[[Picture], Floats], picture: Picture) -> Explain:
    """Return a control's map of other pictures; it knows nothing of classes and weights."""
    return lambda x, asked: np.stack([draw(Picture(one, picture.region, picture.seed)) for one in x])


def _plain(value: float) -> float | None:
    """Return a number with so many digits, None for NaN."""
    return None if np.isnan(value) else float(f"{value:.{DIGITS}g}")
