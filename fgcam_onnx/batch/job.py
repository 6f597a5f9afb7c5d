"""What is done with every picture: all that a worker has to know, and what it makes of a batch."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import AbsentError, FgcamError, NumericsError
from ..explainer import Explainer
from ..graph.model import Model
from ..imaging import Preprocess, Seen, Style
from ..imaging.reading import decode_image
from ..pictures import Explained, Picture, Targets, explain_arrays
from ..runtime import resolve_device
from ..stream import Hands, Readable
from ..text import safe_name
from ..written import write_picture
from .table import Packing, Row, packed

OVERLAYS = "_overlays"
"""The folder of pictures in the data set, which readers of Parquet pass over for its first letter."""


@dataclass(frozen=True)
class Job:
    """All that rows depend on, as values that can be sent to a worker.

    Attributes
    ----------
    model : Model
    preprocess : Preprocess
        Bound to the model.
    options : mapping
        Of :class:`Explainer`.
    targets, top, labels
        As for ``pictures.explain_pictures``.
    packing : {"float16", "float32", "uint8", "none"}
        How maps are kept.
    batch : int
        Pictures explained at once.
    same : mapping of str to str
        Columns in which all rows are alike.
    overlays : str, optional
        The folder that pictures are written to.
    style : Style
        How they are drawn.
    notes : tuple of str
        Written on them.
    """

    model: Model
    preprocess: Preprocess
    options: Mapping[str, Any] = field(default_factory=dict)
    targets: Targets = (None,)
    top: int = 0
    labels: Sequence[str] = ()
    packing: Packing = "float16"
    batch: int = 8
    same: Mapping[str, str] = field(default_factory=dict)
    overlays: str | None = None
    style: Style = field(default_factory=Style)
    notes: tuple[str, ...] = ()

    def explainer(self, **changed: Any) -> Explainer:
        """Build the explainer."""
        return Explainer(self.model, **{**self.options, "batch": self.batch, "threads": 1, **changed})

    def example(self) -> NDArray[Any]:
        """Return a grey picture as the model takes it."""
        return self.preprocess(Image.new("RGB", (64, 64), (120, 120, 120)))


@dataclass(frozen=True)
class Ready:
    """A picture that is ready for the model, or the row that says why not."""

    item: Readable
    x: NDArray[Any] | None = None
    sha256: str | None = None
    view: tuple[float, float, float, float] | None = None
    seen: Seen | None = None
    lost: Row | None = None


@dataclass
class Spent:
    """Seconds by what they were spent on, counted from any thread."""

    seconds: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def on(self, what: str) -> Any:
        """Count the time inside."""
        start = time.perf_counter()
        try:
            yield
        finally:
            taken = time.perf_counter() - start
            with self._lock:
                self.seconds[what] = self.seconds.get(what, 0.0) + taken


def fetched(item: Readable, spent: Spent) -> bytes | Row:
    """Return the bytes of a picture, or the row that says why not."""
    try:
        with spent.on("read"):
            return item.read()
    except Exception as error:  # file systems behind URLs raise classes of their own that share no root
        return Row(item.key, item.url, failed="read", error=f"{item.key}: cannot be read ({_said(error)})")


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def prepared(item: Readable, content: bytes | Row, job: Job, spent: Spent) -> Ready:
    """Return a picture as the model takes it."""
    if isinstance(content, Row):
        return Ready(item, lost=content)
    digest = hashlib.sha256(content).hexdigest()
    step = "decode"
    try:
        with spent.on(step):
            image = decode_image(content, name=item.key, white=job.preprocess.white)
        step = "prepare"
        with spent.on(step):
            x, seen = job.preprocess(image), None
            if job.overlays is not None:
                seen = Seen(image, job.preprocess.view(image), job.preprocess.placement(image.size))
        return Ready(item, np.asarray(x), digest, x.placements[0].box, seen)
    except FgcamError as error:
        return Ready(item, lost=Row(item.key, item.url, digest, failed=step, error=str(error), same=job.same))


class Explaining:
    """A job with its session: turns pictures into rows, from several threads at once."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.explainer = job.explainer()
        cuda = resolve_device(str(job.options.get("device", "cpu"))) == "cuda"
        self._turn: Any = threading.Lock() if cuda else contextlib.nullcontext()
        with contextlib.suppress(AbsentError, NumericsError):
            self._found(job.example())

    def __call__(self, ready: Sequence[Ready], spent: Spent, *, stems: Sequence[str] = ()) -> list[Row]:
        """Return the rows of pictures, in their order."""
        good = [r for r in ready if r.x is not None]
        found = dict(zip((id(r) for r in good), self._explained(good, spent), strict=True))
        rows: list[Row] = []
        for n, r in enumerate(ready):
            if r.lost is not None:
                rows.append(replace(r.lost, same=self.job.same))
                continue
            answer = found[id(r)]
            if isinstance(answer, str):
                told = answer if answer.startswith(r.item.key) else f"{r.item.key}: {answer}"
                rows.append(Row(r.item.key, r.item.url, r.sha256, failed="explain", error=told, same=self.job.same))
                continue
            if r.seen is not None:
                with spent.on("draw"):
                    self._drawn(r, answer, stems[n])
            rows += [row for e in answer for row in self._rows(r, e)]
        return rows

    def _explained(self, ready: Sequence[Ready], spent: Spent) -> list[list[Explained] | str]:
        """Explain pictures together; where one cannot be, each alone."""
        if not ready:
            return []
        try:
            with self._turn, spent.on("session"):
                return list(self._found(np.concatenate([r.x for r in ready if r.x is not None])))
        except (AbsentError, NumericsError) as error:
            return [str(error)] if len(ready) == 1 else [found for r in ready for found in self._explained([r], spent)]

    def _found(self, x: NDArray[Any]) -> list[list[Explained]]:
        job = self.job
        given = MappingProxyType({self.explainer.input: x})
        return explain_arrays(self.explainer, given, targets=job.targets, top=job.top, labels=job.labels)

    def _drawn(self, ready: Ready, explained: list[Explained], stem: str) -> None:
        job = self.job
        assert job.overlays is not None
        picture = Picture(Path(ready.item.key), ready.seen, explained)
        write_picture(picture, Path(job.overlays), stem=stem, style=job.style, notes=job.notes)

    def _rows(self, ready: Ready, e: Explained) -> list[Row]:
        files = dict(zip(e.maps, e.files, strict=False))
        return [
            Row(
                ready.item.key, ready.item.url, ready.sha256, e.target, e.label, e.score, e.probability, layer,
                packed(values, self.job.packing), ready.view, e.conservation.get(layer),
                f"{OVERLAYS}/{Path(files[layer]).name}" if layer in files else None, same=self.job.same,
            )
            for layer, values in e.maps.items()
        ]  # fmt: skip


def checked(job: Job, hands: Hands) -> None:
    """Build a job here before workers do, so that what does not fit is refused before they start.

    Raises
    ------
    FgcamError
    """
    hands.check_devices(str(job.options.get("device", "cpu")))
    Explaining(job if not hands.gpus else replace(job, options={**job.options, "device": "auto"}))


def stem_of(number: int, key: str) -> str:
    """Return what a picture's files are called: its number in the run, and its name."""
    return f"{number:08d}.{safe_name(Path(key).stem)}"
