"""Explain a data set."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..defaults import METHOD
from ..errors import OptionError
from ..graph.model import Model
from ..imaging import Preprocess, Style
from ..loading.loading import load
from ..pictures import Targets
from ..stream import Engine, Hands, Readable, Shard, Source, Store
from .identity import bound_to, identity_of, same_of
from .job import OVERLAYS, Job, checked
from .line import Done, Line, Progress
from .manifest import Kept, alone, recorded
from .summary import Summary
from .table import Packing, check_packing
from .tuning import tuned

if TYPE_CHECKING:
    from onnx import ModelProto


def explain_source(
    model: Model | ModelProto | str | Path,
    source: Source | str | Sequence[str],
    *,
    sink: str | Path,
    method: str = METHOD,
    preprocess: Preprocess | None = None,
    targets: Targets = (None,),
    top: int = 0,
    labels: Sequence[str] = (),
    packing: Packing = "float16",
    batch: int | None = None,
    shard: int = 256,
    limit: int | None = None,
    resume: bool = False,
    max_errors: int | None = None,
    overlays: Style | None = None,
    notes: tuple[str, ...] = (),
    engine: str = "local",
    workers: int | None = None,
    address: str | None = None,
    gpus_per_worker: float = 0.0,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
    **options: Any,
) -> Summary:
    """Explain every picture of a source; write a row for each picture, target and layer as a Parquet data set.

    Rows are written in shards that appear whole. A run that was killed goes on with ``resume``, and each picture
    stands there once; maps are the same to the bit, whichever engine made them.

    Parameters
    ----------
    model : Model, ModelProto or path
    source : Source, str or sequence of str
        Pictures, folders, patterns, lists, tars, Parquet files, or URLs of them.
    sink : str or Path
        A folder, or a URL that fsspec knows.
    method : str
        A row of ``methods.METHODS``.
    preprocess : Preprocess, optional
        Default: what the file beside the model says.
    targets : sequence of targets
        What to explain of every picture; None for the top class.
    top : int
        Where positive, the ``top`` classes of each picture instead.
    labels : sequence of str
        Class names.
    packing : {"float16", "float32", "uint8", "none"}
        How maps are kept.
    batch : int, optional
        Pictures explained at once; default as measured on the session.
    shard : int
        Pictures in a file.
    limit : int, optional
        Only the first so many pictures.
    resume : bool
        Go on with what is in the sink.
    max_errors : int, optional
        Stop when more pictures than that have failed.
    overlays : Style, optional
        Also write pictures with their maps over them, drawn like this, into the sink's ``_overlays``.
    notes : tuple of str
        Written on those pictures.
    engine : {"local", "ray"}
    workers : int, optional
        Batches explained at once, by threads or Ray's workers; default one for each core.
    address : str, optional
        Of a Ray cluster; default one on this machine.
    gpus_per_worker : float
        Of Ray's workers.
    progress : Progress, optional
        Told of pictures as they are done.
    stop : callable
        Asked after each shard whether to stop there.
    **options
        Of :class:`Explainer`.

    Raises
    ------
    FgcamError
        A name or option is not known or does not fit, the sink holds another run, or it cannot be written. What one
        picture cannot is an ``error`` in its row.
    """
    check_packing(packing)
    hands = Hands(engine, None if engine == "local" else workers, address, gpus_per_worker)
    for name, number in {"batch": batch, "shard": shard, "limit": limit, "workers": workers}.items():
        if number is not None and number < 1:
            raise OptionError(f"{name} is {number}; it is at least 1")
    if "threads" in options:
        raise OptionError("pictures are explained side by side, each by one thread: say how many with workers")
    loaded = model if isinstance(model, Model) else load(model)
    names = (source,) if isinstance(source, str) else source
    pictures = names if isinstance(names, Source) else Source(tuple(map(str, names)))
    store = Store(str(sink))
    if hands.engine == "ray" and not store.shared:
        raise OptionError(f"{store.url}: workers are processes of their own and cannot reach it; name a folder")
    if overlays is not None and not store.local:
        raise OptionError(f"{store.url}: overlays are written to a folder on a disk; leave them out, or name one")
    options = {"method": method, **options}
    job = Job(
        loaded, bound_to(loaded, preprocess, options), options, tuple(targets), top, tuple(labels), packing,
        overlays=None if overlays is None else os.path.join(store.folder, OVERLAYS),
        style=overlays or Style(), notes=notes,
    )  # fmt: skip
    with alone(store):
        first = recorded(store) if resume else None
        job = replace(job, batch=batch or (first or {}).get("batch") or tuned(job), same=same_of(job))
        run, lanes = _engine(job, store, hands, workers, progress=progress)
        kept = Kept.of(store, identity_of(job, shard), resume=resume)
        shards = kept.open_shards(pictures, shard, limit=limit, progress=progress)
        return _driven(kept, run(shards), Summary(lanes=lanes, batch=job.batch), max_errors=max_errors, stop=stop)


def _engine(
    job: Job, store: Store, hands: Hands, lanes: int | None, *, progress: Progress | None
) -> tuple[Engine[Shard[Readable], Done], int]:
    """Return what does shards, and how many batches it does at once."""
    if hands.engine == "local":
        lanes = lanes or os.cpu_count() or 1
        return Line(job, store, lanes, progress), lanes
    from ..stream.cluster import Cluster

    checked(job, hands)

    def told(done: Done) -> None:
        if progress is not None:
            progress.advance(done.items, sum(done.errors.values()))

    there = Store(store.folder) if store.local else store
    found = Cluster(lambda marks: Line(job, there), hands, told=told)
    return found, found.lanes


def _driven(
    kept: Kept, done: Generator[Done], summary: Summary, *, max_errors: int | None, stop: Callable[[], bool]
) -> Summary:
    start = time.perf_counter()
    standing: list[Done] = []
    # readers' threads silence Pillow's warnings each for itself, which only this outer frame puts back in order
    with warnings.catch_warnings(), closing(done):
        for found in done:
            standing.append(found)
            summary.add(found)
            if max_errors is not None and summary.failed > max_errors:
                summary.stopped = f"more than {max_errors} pictures failed"
                break
            if stop():
                summary.stopped = "it was interrupted"
                break
    for found in kept.earlier:
        summary.add(found, earlier=True)
    summary.seconds = time.perf_counter() - start
    kept.sweep()
    kept.note(sorted([*standing, *kept.earlier], key=lambda d: d.number), complete=not summary.stopped)
    return summary
