"""A data set of Ray's, explained when it is read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from ..stream import File, Hands
from ..stream.rays import ROOM, claims, ray_module
from .identity import bound_to, same_of
from .job import Explaining, Job, Ready, Spent, checked, prepared
from .table import Packing, Row, check_packing, table

if TYPE_CHECKING:
    from ray.data import Dataset


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
    checked(job, Hands("ray", workers, gpus=gpus_per_worker))
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
