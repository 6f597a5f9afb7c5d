"""Ray Data: the same line in workers of a cluster, or of this machine. Ray is imported when it is asked for."""

from __future__ import annotations

import os
import pickle
import sys
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..defaults import METHOD
from ..errors import FgcamError, OptionError
from ..graph.model import Model
from ..imaging import Preprocess
from ..loading.loading import load
from ..pictures import Targets
from ..stream import File, Shard, Store
from .identity import bound_to, same_of
from .job import Explaining, Job, Ready, Spent, prepared
from .line import Done, Line, Progress
from .rays import QUIET, ROOM, check_device, claims, own_errors, ray_module, share_of, started, watched
from .table import Packing, Row, check_packing, table

if TYPE_CHECKING:
    from ray.data import Dataset

WAVE = 4096
"""Shards handed to Ray at once: their names lie in the driver's memory, and workers load the model once for each."""

STOP = "_stop"
"""A file that workers look for before each shard."""


class _Worker:
    """A worker: builds the session once, does shards that it is handed."""

    def __init__(self, job: Sequence[Any], store: Store) -> None:
        import ray

        self.store = store
        self.line = Line(ray.get(job[0]), store)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Do a shard, unless it stands or the run is to stop; return its record."""
        shard: Shard = pickle.loads(row["shard"])
        if self.store.read(STOP) is not None:
            return {"done": None}
        start = time.perf_counter()
        with closing(self.line([shard])) as line:
            (done,) = line
        return {"done": asdict(done) | {"taken": time.perf_counter() - start}}


class Cluster:
    """Does shards on Ray.

    Parameters
    ----------
    job : Job
    store : Store
        Which every worker can reach.
    workers : int, optional
        Default: as many as the cluster has cores or GPUs, but one core.
    address : str, optional
        Of a cluster; default one on this machine, for as long as the run takes.
    gpus : float
        GPUs for each worker.
    progress : Progress, optional

    Raises
    ------
    OptionError
        Ray is not installed, or the workers do not fit the cluster.
    """

    def __init__(
        self,
        job: Job,
        store: Store,
        *,
        workers: int | None = None,
        address: str | None = None,
        gpus: float = 0.0,
        progress: Progress | None = None,
    ) -> None:
        if "memory" in store.url.split("://")[0]:
            raise OptionError(f"{store.url}: workers are processes of their own and cannot reach it; name a folder")
        check_device(job, gpus)
        self.job, self.gpus, self.progress = job, gpus, progress
        self.store = Store(store.folder) if store.local else store
        Explaining(job if not gpus else replace(job, options={**job.options, "device": "auto"}))
        ray = ray_module()
        self.ours = not ray.is_initialized()
        if self.ours:
            started(ray, address)
        resources = ray.cluster_resources()
        self.cores = float(resources.get("CPU", 1))
        most = resources.get("GPU", 0.0) / gpus if gpus else max(1.0, self.cores - ROOM)
        self.lanes = workers or max(1, int(most))
        if gpus and self.lanes * gpus > resources.get("GPU", 0.0):
            raise OptionError(
                f"{self.lanes} workers with {gpus:g} GPUs each, but Ray has {resources.get('GPU', 0):g}: take fewer"
            )

    def __call__(self, shards: Iterable[Shard]) -> Generator[Done]:
        """Yield each shard when it is written; closing it lets workers finish the shards at hand."""
        ray = ray_module()
        self.store.remove(STOP)
        job = ray.put(self.job)
        rest = iter(shards)
        try:
            while wave := list(islice(rest, WAVE)):
                yield from self._wave(job, wave)
        finally:
            self.store.remove(STOP)
            if self.ours:
                ray.shutdown()

    def _wave(self, job: Any, shards: Sequence[Shard]) -> Generator[Done]:
        import ray.data

        worker: Any = _Worker  # built by Ray in each process
        rows = [{"shard": pickle.dumps(shard)} for shard in shards]
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            worker,
            fn_constructor_args=([job], self.store),
            **claims(self.cores, self.lanes, self.gpus),
        )
        found = dataset.iter_rows()
        with watched(self._quiet) as moved, own_errors():
            try:
                for row in found:
                    moved()
                    if row["done"] is not None:
                        yield self._done(dict(row["done"]))
            except GeneratorExit:
                self.store.write(STOP, b"")
                for _ in found:
                    moved()
                raise

    def _done(self, told: dict[str, Any]) -> Done:
        told.pop("taken", None)
        errors = {n: int(v) for n, v in told.pop("errors").items() if v}
        seconds = {n: float(v) for n, v in told.pop("seconds").items() if v is not None}
        done = Done(errors=errors, seconds=seconds, **told)
        if self.progress is not None:
            self.progress.advance(done.items, sum(errors.values()))
        return done

    def _quiet(self) -> None:
        share = share_of(self.cores, self.lanes)
        print(
            f"warning: no shard for {QUIET:.0f} s; {self.lanes} workers hold {self.lanes * share:g} of "
            f"{self.cores:g} cores. Shards may be large, or other work on the cluster leaves no room: fewer --workers",
            file=sys.stderr,
        )


def explain_dataset(
    dataset: Dataset,
    model: Model | str | Path,
    *,
    column: str = "bytes",
    id: str = "path",  # noqa: A002
    method: str = METHOD,
    preprocess: Preprocess | None = None,
    targets: Targets = (None,),
    top: int = 0,
    labels: Sequence[str] = (),
    packing: Packing = "float16",
    batch: int = 8,
    workers: int | None = None,
    gpus_per_worker: float = 0.0,
    **options: Any,
) -> Dataset:
    """Explain a Ray data set: return one of rows as :func:`explain_source` writes them, computed when it is read.

    Parameters
    ----------
    dataset : ray.data.Dataset
        With a column of pictures and one of what they are called, such as ``ray.data.read_binary_files(folder,
        include_paths=True)`` or ``ray.data.read_images(folder, include_paths=True)`` gives.
    model : Model or path
    column : str
        Bytes of picture files, or arrays (H, W, 3) of uint8.
    id : str
        What pictures are called.
    method, preprocess, targets, top, labels, packing
        As for :func:`explain_source`.
    batch : int
        Pictures explained at once.
    workers : int, optional
        Each with a session of its own; default one for each core but one, which Ray's reading tasks need.
    gpus_per_worker : float
    **options
        Of :class:`Explainer`.

    Raises
    ------
    FgcamError
        As for :func:`explain_source`.
    """
    ray = ray_module()
    check_packing(packing)
    loaded = model if isinstance(model, Model) else load(model)
    options = {"method": method, **options}
    prepare = bound_to(loaded, preprocess, options)
    job = Job(loaded, prepare, options, tuple(targets), top, tuple(labels), packing, batch)
    job = replace(job, same=same_of(job))
    check_device(job, gpus_per_worker)
    Explaining(job if not gpus_per_worker else replace(job, options={**options, "device": "auto"}))
    cores = float(ray.cluster_resources().get("CPU", 1)) if ray.is_initialized() else float(os.cpu_count() or 1)
    lanes = workers or max(1, int(cores - ROOM))
    return dataset.map_batches(
        _Rows, batch_size=batch, batch_format="numpy", fn_constructor_args=([ray.put(job)], column, id),
        **claims(cores, lanes, gpus_per_worker),
    )  # fmt: skip


class _Rows:
    """A worker of :func:`explain_dataset`."""

    def __init__(self, job: Sequence[Any], column: str, id: str) -> None:  # noqa: A002
        import ray

        self.job: Job = ray.get(job[0])
        self.column, self.id = column, id
        self.explaining = Explaining(self.job)

    def __call__(self, rows: Mapping[str, Any]) -> Any:
        """Return the rows of a batch as a table."""
        for name in (self.column, self.id):
            if name not in rows:
                raise OptionError(
                    f"the data set has no column {name!r}, but {', '.join(rows)}: say column= and id=, "
                    "and read with include_paths=True"
                )
        spent = Spent()
        ready = [
            self._ready(str(key), value, spent) for key, value in zip(rows[self.id], rows[self.column], strict=True)
        ]
        return table(self.explaining(ready, spent), self.job.packing)

    def _ready(self, key: str, value: Any, spent: Spent) -> Ready:
        item = File(key, key)
        if isinstance(value, bytes):
            return prepared(item, value, self.job, spent)
        try:
            x = self.job.preprocess(Image.fromarray(value))
            return Ready(item, np.asarray(x), view=x.placements[0].box)
        except (FgcamError, TypeError, ValueError) as error:
            return Ready(item, lost=Row(key, key, failed="prepare", error=f"{key}: {error}", same=self.job.same))
