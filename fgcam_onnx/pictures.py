"""Explain picture files: read, preprocess, explain in batches, write; a bad one never loses the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .cam.fusion import check_fusion, fuse
from .cam.perturbation import softmax
from .emptiness import ZERO, emptiness
from .errors import AbsentError, FgcamError, NumericsError
from .explainer import Explainer
from .explanation import Explanation, safe_name, unused
from .imaging import Preprocess, overlay, panel, read_image, save_npy, save_png
from .targets import AnyTarget

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
        The class's probability: softmax, or sigmoid where the model ends in one.
    maps : dict of str to ndarray of shape (h, w)
        Raw map per layer.
    conservation : dict of str to float or None
    trace : list of dict
        What each operator got and handed on, in the order of the walk; empty unless it was asked for.
    """

    target: int
    label: str
    score: float
    probability: float | None
    maps: dict[str, NDArray[np.float32]]
    conservation: dict[str, float | None]
    files: list[str] = field(default_factory=list)
    trace: list[dict[str, Any]] = field(default_factory=list)

    @property
    def empty(self) -> dict[str, str]:
        """What is to be said of the maps that show nothing, by layer (`emptiness`)."""
        return {name: said for name, values in self.maps.items() if (said := emptiness(values))}

    def summary(self) -> dict[str, Any]:
        """Return everything but the maps as plain values."""
        traced = ({"trace": self.trace} if self.trace else {}) | ({"empty": self.empty} if self.empty else {})
        return traced | {
            "target": self.target,
            "label": self.label,
            "score": round(self.score, 6),
            "probability": None if self.probability is None else round(self.probability, 6),
            "conservation": self.conservation,
            "files": self.files,
        }


@dataclass(frozen=True)
class Picture:
    """What became of one picture: its explanations, or the error that stopped it."""

    path: Path
    view: Image.Image | None
    explained: list[Explained]
    error: str = ""

    def emptiness(self, *, signed: bool = False) -> str:
        """Return what is to be said of its maps that show nothing, in one line; "" where all show something.

        ``signed`` overlays show negative values, too.
        """
        return "; ".join(
            f"{said} in the map of {e.label.split(',')[0]} at {layer}"
            for e in self.explained
            for layer, said in e.empty.items()
            if said == ZERO or not signed
        )

    def summary(self) -> dict[str, Any]:
        """Return the result as plain values."""
        if self.error:
            return {"image": str(self.path), "error": self.error}
        return {"image": str(self.path), "explanations": [e.summary() for e in self.explained]}


@dataclass(frozen=True)
class _Read:
    path: Path
    view: Image.Image
    x: NDArray[Any]


def explain_pictures(
    explainer: Explainer,
    paths: Iterable[Path],
    *,
    preprocess: Preprocess,
    targets: Targets = (None,),
    top: int = 0,
    labels: Sequence[str] = (),
    batch: int = 8,
    fusion: str | None = None,
) -> Iterator[Picture]:
    """Yield one :class:`Picture` for each path, in order.

    Parameters
    ----------
    explainer : Explainer
    paths : iterable of Path
    preprocess : Preprocess
    targets : sequence of targets
        Explained for every picture.
    top : int
        Where positive, the ``top`` classes of each picture are explained instead.
    labels : sequence of str
        Class names, by index.
    batch : int
        Pictures explained at once.
    fusion : {"mean", "max", "product"}, optional
        How the maps of all layers are made one more, ``fused``, at the size of the model's input.

    Raises
    ------
    OptionError
        No such fusion.
    """
    if fusion is not None:
        check_fusion(fusion)
    waiting = iter(paths)
    while chunk := list(islice(waiting, batch)):
        read = {p: _read(p, preprocess) for p in chunk}
        good = [r for r in read.values() if isinstance(r, _Read)]
        done = _explain(explainer, good, targets, top, labels)
        for path in chunk:
            result = read[path]
            if isinstance(result, _Read):
                explained = done[path]
                if isinstance(explained, str):
                    yield Picture(path, result.view, [], explained)
                else:
                    if fusion is not None:
                        _fuse(explained, fusion, size=(result.view.height, result.view.width))
                    yield Picture(path, result.view, explained)
            else:
                yield Picture(path, None, [], result)


def _fuse(explained: Sequence[Explained], how: str, *, size: tuple[int, int]) -> None:
    for e in explained:
        e.maps["fused"] = np.asarray(fuse([m[None] for m in e.maps.values()], how, size=size)[0], np.float32)


def _read(path: Path, preprocess: Preprocess) -> _Read | str:
    try:
        image = read_image(path)
        return _Read(path, preprocess.view(image), preprocess(image))
    except FgcamError as error:
        return str(error)


def _explain(
    explainer: Explainer, read: Sequence[_Read], targets: Targets, top: int, labels: Sequence[str]
) -> dict[Path, list[Explained] | str]:
    """Explain pictures together; where one does not show the target, or its numbers go wrong, each alone."""
    if not read:
        return {}
    try:
        return dict(zip((r.path for r in read), _batch(explainer, read, targets, top, labels), strict=True))
    except (AbsentError, NumericsError) as error:
        if len(read) == 1:
            return {read[0].path: str(error)}
        return {r.path: _explain(explainer, [r], targets, top, labels)[r.path] for r in read}


def _batch(
    explainer: Explainer, read: Sequence[_Read], targets: Targets, top: int, labels: Sequence[str]
) -> list[list[Explained]]:
    x, squash = np.concatenate([r.x for r in read]), explainer.score.skipped
    results: list[list[Explained]] = [[] for _ in read]
    if not top:
        for target in targets:
            _collect(results, explainer(x, target=target), labels, squash)
        return results
    first = explainer(x)
    _collect(results, first, labels, squash)
    ranked = np.argsort(-first.scores, axis=1, kind="stable")
    for rank in range(1, min(top, ranked.shape[1])):
        _collect(results, explainer(x, target=ranked[:, rank]), labels, squash)
    return results


def _probabilities(scores: NDArray[np.float32], squash: str) -> NDArray[np.float32]:
    """Return what the model makes of its scores at its end; a softmax where it makes nothing of them."""
    if squash != "Sigmoid":
        return softmax(scores)
    return np.asarray(0.5 * (1 + np.tanh(scores / 2)), np.float32)


def _collect(results: list[list[Explained]], e: Explanation, labels: Sequence[str], squash: str) -> None:
    probabilities = _probabilities(e.scores, squash)
    for row, target in enumerate(e.target.tolist()):
        kept = {k: None if np.isnan(v[row]) else round(float(v[row]), 6) for k, v in e.conservation.items()}
        label = e.described[row] if e.described else labels[target] if target < len(labels) else str(target)
        results[row // e.each].append(
            Explained(
                target,
                label,
                float(e.score[row]),
                None if e.described else float(probabilities[row, target]),
                {k: m[row] for k, m in e.maps.items()},
                kept,
                trace=[step.summary(row) for step in e.trace],
            )
        )


def write_picture(picture: Picture, folder: Path, *, stem: str, raw: bool = False, **style: Any) -> None:
    """Write a picture's maps into ``folder`` and note the files in its explanations.

    An overlay (PNG) of each map, and a sheet of all beside the picture where there are several; with
    ``raw`` the maps themselves (NPY, float32, signed).

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    if picture.view is None:
        return
    tiles: list[tuple[str, Image.Image]] = []
    taken: set[str] = set()
    for explained in picture.explained:
        for layer, values in explained.maps.items():
            label = safe_name(explained.label.split(",")[0])
            name = unused(f"{stem}.{safe_name(layer)}.{label}", taken)
            if raw:
                explained.files.append(str(save_npy(folder / f"{name}.npy", values)))
                continue
            over = overlay(picture.view, values, **style)
            explained.files.append(str(save_png(folder / f"{name}.png", over)))
            tiles.append((f"{explained.label.split(',')[0]} at {layer}", over))
    if len(tiles) > 1:
        save_png(folder / f"{stem}.sheet.png", panel(picture.view, tiles))


def unique_stems(paths: Sequence[Path]) -> list[str]:
    """Return a file stem for each path, different also where capitals do not count."""
    taken: set[str] = set()
    return [unused(path.stem, taken) for path in paths]
