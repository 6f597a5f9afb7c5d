"""Explain picture files: read, preprocess, explain in batches, write; a bad one never loses the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cam.fusion import check_fusion, fuse
from .emptiness import emptiness
from .errors import concerns_all, reason
from .explainer import Explainer
from .explanation import Explanation
from .feeding import Read, joined, read_file
from .imaging import Preprocess, Sampled, Seen, likenesses
from .imaging.likeness import Names
from .maps import raised
from .targets import AnyTarget
from .text import STEM, unused

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
    maps : dict of str to ndarray of shape (h, w), or of other axes
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
    def told(self) -> str:
        """How sure the model is of it."""
        return f"score {self.score:.4g}" if self.probability is None else f"probability {self.probability:.3f}"

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
            "layers": list(self.maps),
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
    seen : Seen, Sampled or None
        The picture and what the model saw of it, or what is no picture; None where it could not be read.
    explained : list of Explained
        By method, then by target.
    error : str
    sha256 : str
        Of the file.
    """

    path: Path
    seen: Seen | Sampled | None
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
            **self.seen.summary(),
            "explanations": [e.summary() for e in self.explained],
            **({"likeness": alike} if alike else {}),
        }


def explain_pictures(
    explainers: Sequence[Explainer],
    paths: Sequence[Path],
    *,
    preprocess: Preprocess,
    targets: Targets = (None,),
    top: int = 0,
    labels: Sequence[str] = (),
    feeds: Mapping[str, NDArray[Any]] = MappingProxyType({}),
    fusion: str | None = None,
) -> list[Picture]:
    """Return one :class:`Picture` for each path, all explained at once; those that cannot be read say so.

    Parameters
    ----------
    explainers : sequence of Explainer
        Each of another method; all explain the same targets.
    paths : sequence of Path
        Where the model gives one answer for a whole bag, all its images.
    preprocess : Preprocess
    targets : sequence of targets
        Explained for every picture.
    top : int
        Where positive, the ``top`` classes of each picture are explained instead.
    labels : sequence of str
        Class names, by index.
    feeds : mapping of str to ndarray
        What further inputs take beside every picture.
    fusion : {"mean", "max", "product"}, optional
        How the maps of all layers are made one more, ``fused``, at the size of the model's input.

    Raises
    ------
    OptionError
        No such fusion.
    Exception
        What stops one picture stops all of them: explain each alone to know which. A bag's is the error of each.
    """
    if fusion is not None:
        check_fusion(fusion)
    read = {p: _read(p, explainers[0], preprocess) for p in paths}
    good = [r for r in read.values() if isinstance(r, Read)]
    unread = next((r for r in read.values() if isinstance(r, str)), "")
    bag, done, stopped = explainers[0].bag, [], ""
    if bag and unread:
        stopped = f"a bag has one answer, and not all of it could be read: {unread}"
    else:
        try:
            done = [_explain(e, good, targets, top, labels, feeds) for e in explainers]
        except Exception as error:
            if not bag or concerns_all(error):
                raise
            stopped = reason(error)
    pictures = []
    for path, result in read.items():
        if isinstance(result, str) or stopped:
            seen, digest = (None, "") if isinstance(result, str) else (result.seen, result.sha256)
            pictures.append(Picture(path, seen, [], result if isinstance(result, str) else stopped, digest))
            continue
        explained = [e for found in done for e in found[path]]
        if fusion is not None:
            _fuse(explained, fusion, size=result.seen.size)
        pictures.append(Picture(path, result.seen, explained, "", result.sha256))
    return pictures


def _fuse(explained: Sequence[Explained], how: str, *, size: tuple[int, ...]) -> None:
    for e in explained:
        maps = [(raised(m) if e.relative else m)[None] for m in e.maps.values()]
        e.maps[FUSED] = np.asarray(fuse(maps, how, size=size)[0], np.float32)


def _read(path: Path, explainer: Explainer, preprocess: Preprocess) -> Read | str:
    try:
        return read_file(path, explainer=explainer, preprocess=preprocess)
    except Exception as error:  # whatever a stranger's file does
        return reason(error)


def _explain(
    explainer: Explainer,
    read: Sequence[Read],
    targets: Targets,
    top: int,
    labels: Sequence[str],
    feeds: Mapping[str, NDArray[Any]],
) -> dict[Path, list[Explained]]:
    """Explain pictures together."""
    if not read:
        return {}
    return dict(zip((r.path for r in read), _batch(explainer, read, targets, top, labels, feeds), strict=True))


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
                {k: _of_image(m, row, images) for k, m in e.maps.items()},
                kept,
                explainer.method,
                e.relative[answer],
                trace=[step.summary(answer) for step in e.trace],
            )
        )


def _of_image(maps: NDArray[np.float32], row: int, images: int) -> NDArray[np.float32]:
    """Return the map of an image; frames that the graph folds into the batch are slices of one."""
    each = len(maps) // images
    return maps[row * each : (row + 1) * each] if each > 1 else maps[row * len(maps) // images]


def unique_stems(paths: Sequence[Path]) -> list[str]:
    """Return a file stem for each path, different also where capitals do not count."""
    taken: set[str] = set()
    return [unused(path.stem, taken, room=STEM) for path in paths]
