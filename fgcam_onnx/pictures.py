"""Explain picture files: read, preprocess, explain in batches, write; a bad one never loses the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cam.fusion import check_fusion, fuse
from .emptiness import NOT_POSITIVE, emptiness
from .errors import AbsentError, FgcamError, NumericsError
from .explainer import Explainer
from .explanation import Explanation, raised, unused
from .feeding import Read, joined, read_file
from .imaging import Preprocess, Seen, likenesses
from .imaging.likeness import Names
from .targets import AnyTarget

FUSED = "fused"
"""What the map made of all layers' is called."""

Targets = Sequence[AnyTarget]
"""What to explain of each picture: classes, other numbers, None for the top class."""


@dataclass(frozen=True)
class Explained:
    """One target of one picture.

    Attributes
    ----------
    target : int
        The class; -1 where it is no class.
    label : str
        Its name, or what was explained.
    score : float
        The target's logit, or the number that was explained.
    probability : float or None
        The class's probability: what the model's end makes of the score; None where it makes nothing.
    maps : dict of str to ndarray of shape (h, w)
        Raw map per layer.
    conservation : dict of str to float or None
    method : str
        How it was explained.
    relative : bool
        Whether 0 means nothing in the maps, which are then shown from their least value to their largest.
    trace : list of dict
        What each operator got and handed on, in the order of the walk; empty unless it was asked for.
    """

    target: int
    label: str
    score: float
    probability: float | None
    maps: dict[str, NDArray[np.float32]]
    conservation: dict[str, float | None]
    method: str = ""
    relative: bool = False
    files: list[str] = field(default_factory=list)
    trace: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The first of the label's names."""
        return self.label.split(",")[0]

    @property
    def empty(self) -> dict[str, str]:
        """What is to be said of the maps that show nothing, by layer (`emptiness`)."""
        found = {name: emptiness(values, relative=self.whole(name)) for name, values in self.maps.items()}
        return {name: said for name, said in found.items() if said}

    def whole(self, layer: str) -> bool:
        """Tell whether the map of a layer is shown from its least value to its largest."""
        return self.relative and layer != FUSED

    def summary(self) -> dict[str, Any]:
        """Return everything but the maps as plain values."""
        traced = ({"trace": self.trace} if self.trace else {}) | ({"empty": self.empty} if self.empty else {})
        return traced | {
            "method": self.method,
            "target": self.target,
            "label": self.label,
            "score": round(self.score, 6),
            "probability": None if self.probability is None else round(self.probability, 6),
            "conservation": self.conservation,
            "files": self.files,
        }


@dataclass(frozen=True)
class Picture:
    """What became of one picture: its explanations, or the error that stopped it.

    Attributes
    ----------
    path : Path
    seen : Seen or None
        The picture and what the model saw of it; None where it could not be read.
    explained : list of Explained
        By method, then by target.
    error : str
    sha256 : str
        Of the file.
    """

    path: Path
    seen: Seen | None
    explained: list[Explained]
    error: str = ""
    sha256: str = ""

    @property
    def likeness(self) -> dict[str, dict[Names, float]]:
        """How alike the raw maps of classes are, by what they have in common, and those of methods."""
        classes: dict[str, dict[str, NDArray[np.float32]]] = {}
        methods: dict[str, dict[str, NDArray[np.float32]]] = {}
        several = len({e.method for e in self.explained}) > 1
        for e in self.explained:
            for layer, values in e.maps.items():
                by = f"by {e.method} " if several else ""
                classes.setdefault(f"classes {by}at {layer}", {})[e.name] = values
                methods.setdefault(f"methods for {e.name}", {}).setdefault(e.method, values)
        found = {what: likenesses(maps) for what, maps in {**classes, **methods}.items()}
        return {what: pairs for what, pairs in found.items() if pairs}

    def emptiness(self, *, signed: bool = False) -> str:
        """Return what is to be said of its maps that show nothing, in one line; "" where all show something.

        ``signed`` overlays show negative values, too.
        """
        return "; ".join(
            f"{said} in the map of {e.label.split(',')[0]} at {layer}"
            for e in self.explained
            for layer, said in e.empty.items()
            if said != NOT_POSITIVE or not signed
        )

    def summary(self) -> dict[str, Any]:
        """Return the result as plain values."""
        if self.error or self.seen is None:
            return {"image": str(self.path), "error": self.error}
        alike = [
            {"of": what, "maps": list(names), "correlation": round(value, 4)}
            for what, pairs in self.likeness.items()
            for names, value in pairs.items()
        ]
        return {
            "image": str(self.path),
            "sha256": self.sha256,
            "placement": self.seen.placement.summary(),
            "explanations": [e.summary() for e in self.explained],
            **({"likeness": alike} if alike else {}),
        }


def explain_pictures(
    explainers: Sequence[Explainer],
    paths: Iterable[Path],
    *,
    preprocess: Preprocess,
    targets: Targets = (None,),
    top: int = 0,
    labels: Sequence[str] = (),
    feeds: Mapping[str, NDArray[Any]] = MappingProxyType({}),
    batch: int = 8,
    fusion: str | None = None,
) -> Iterator[Picture]:
    """Yield one :class:`Picture` for each path, in order.

    Parameters
    ----------
    explainers : sequence of Explainer
        Each of another method; all explain the same targets.
    paths : iterable of Path
    preprocess : Preprocess
    targets : sequence of targets
        Explained for every picture.
    top : int
        Where positive, the ``top`` classes of each picture are explained instead.
    labels : sequence of str
        Class names, by index.
    feeds : mapping of str to ndarray
        What further inputs take beside every picture.
    batch : int
        Pictures explained at once; all of them, where the model gives one answer for a whole bag.
    fusion : {"mean", "max", "product"}, optional
        How the maps of all layers are made one more, ``fused``, at the size of the model's input.

    Raises
    ------
    OptionError
        No such fusion.
    """
    if fusion is not None:
        check_fusion(fusion)
    paths, bag = list(paths), explainers[0].bag
    waiting = iter(paths)
    while chunk := list(islice(waiting, len(paths) if bag else batch)):
        read = {p: _read(p, explainers[0], preprocess) for p in chunk}
        good = [r for r in read.values() if isinstance(r, Read)]
        lost = next((r for r in read.values() if isinstance(r, str)), "") if bag else ""
        done = [] if lost else [_explain(e, good, targets, top, labels, feeds) for e in explainers]
        for path in chunk:
            result = read[path]
            if isinstance(result, str):
                yield Picture(path, None, [], result)
                continue
            each = [found[path] for found in done]
            failed = [why for why in each if isinstance(why, str)]
            explained = [e for found in each if not isinstance(found, str) for e in found]
            if fusion is not None:
                _fuse(explained, fusion, size=result.seen.placement.view)
            unread = f"a bag has one answer, and not all of it could be read: {lost}" if lost else ""
            error = failed[0] if failed else unread
            yield Picture(path, result.seen, [] if error else explained, error, result.sha256)


def _fuse(explained: Sequence[Explained], how: str, *, size: tuple[int, int]) -> None:
    for e in explained:
        maps = [(raised(m) if e.relative else m)[None] for m in e.maps.values()]
        e.maps[FUSED] = np.asarray(fuse(maps, how, size=size)[0], np.float32)


def _read(path: Path, explainer: Explainer, preprocess: Preprocess) -> Read | str:
    try:
        return read_file(path, explainer=explainer, preprocess=preprocess)
    except FgcamError as error:
        return str(error)


def _explain(
    explainer: Explainer,
    read: Sequence[Read],
    targets: Targets,
    top: int,
    labels: Sequence[str],
    feeds: Mapping[str, NDArray[Any]],
) -> dict[Path, list[Explained] | str]:
    """Explain pictures together; where one does not show the target, or its numbers go wrong, each alone."""
    if not read:
        return {}
    try:
        return dict(zip((r.path for r in read), _batch(explainer, read, targets, top, labels, feeds), strict=True))
    except (AbsentError, NumericsError) as error:
        if len(read) == 1 or explainer.bag:
            return {r.path: str(error) for r in read}
        return {r.path: _explain(explainer, [r], targets, top, labels, feeds)[r.path] for r in read}


def _batch(
    explainer: Explainer,
    read: Sequence[Read],
    targets: Targets,
    top: int,
    labels: Sequence[str],
    feeds: Mapping[str, NDArray[Any]],
) -> list[list[Explained]]:
    waiting = iter(explain_arrays(explainer, joined(explainer, read, feeds), targets=targets, top=top, labels=labels))
    return [[e for own in islice(waiting, len(r.x)) for e in own] for r in read]


def explain_arrays(
    explainer: Explainer,
    x: Mapping[str, NDArray[Any]],
    *,
    targets: Targets = (None,),
    top: int = 0,
    labels: Sequence[str] = (),
) -> list[list[Explained]]:
    """Return what is explained of each image of ``x``, the arrays that the model takes by name.

    Parameters
    ----------
    explainer : Explainer
    x : mapping of str to ndarray
    targets, top, labels
        As for `explain_pictures`.

    Raises
    ------
    FgcamError
        The arrays or the targets do not fit, or an image does not show what was asked for.
    """
    rows: list[list[Explained]] = [[] for _ in x[explainer.input]]
    if top and explainer.head.kind != "classes":
        raise explainer.head.refusal(f"the top {top} classes")
    if not top:
        for target in targets:
            _collect(rows, explainer(x, target=target), labels, explainer)
    else:
        first = explainer(x)
        _collect(rows, first, labels, explainer)
        ranked = np.argsort(-first.scores, axis=1, kind="stable")
        for rank in range(1, min(top, ranked.shape[1])):
            _collect(rows, explainer(x, target=ranked[:, rank]), labels, explainer)
    return rows


def _collect(rows: list[list[Explained]], e: Explanation, labels: Sequence[str], explainer: Explainer) -> None:
    """Add what was found to the explanations of each image; a bag's answer is that of each of its images."""
    head, labels = explainer.head, explainer.head.labels or labels
    probabilities = None if e.described else head.probabilities(e.scores)
    images = len(rows) * e.each
    for row in range(images):
        answer = row * len(e.target) // images
        target = int(e.target[answer])
        kept = {k: None if np.isnan(v[answer]) else round(float(v[answer]), 6) for k, v in e.conservation.items()}
        label = e.described[answer] if e.described else labels[target] if target < len(labels) else str(target)
        label = "the output" if head.kind == "number" and not e.described else label
        rows[row // e.each].append(
            Explained(
                target,
                label,
                float(e.score[answer]),
                None if probabilities is None else float(probabilities[answer, target]),
                {k: m[row * len(m) // images] for k, m in e.maps.items()},
                kept,
                explainer.method,
                e.relative[answer],
                trace=[step.summary(answer) for step in e.trace],
            )
        )


def unique_stems(paths: Sequence[Path]) -> list[str]:
    """Return a file stem for each path, different also where capitals do not count."""
    taken: set[str] = set()
    return [unused(path.stem, taken) for path in paths]
