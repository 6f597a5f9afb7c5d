"""Ray Data: shards done by workers of a cluster, or of this machine. Ray is imported when it is asked for."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from ..errors import FgcamError, OptionError
from .deaths import Marks
from .hands import Engine, Hands
from .rays import QUIET, ROOM, claims, own_errors, ray_module, share_of, started, watched

WAVE = 4096
"""Shards handed to Ray at once: their names lie in the driver's memory, and workers load the model once for each."""

STOP = "_stop"
"""What workers look for before each shard."""

P = TypeVar("P")
R = TypeVar("R")
Build = Callable[[Marks], Engine[P, R]]


class _Kept:
    """Marks in a process of their own, which outlives workers and ends with the run."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def read(self, name: str) -> bytes | None:
        return self.kept.get(name)

    def write(self, name: str, content: bytes) -> None:
        self.kept[name] = content

    def remove(self, name: str) -> None:
        self.kept.pop(name, None)


@dataclass(frozen=True)
class _Board:
    """The same, asked from other processes."""

    kept: Any

    def read(self, name: str, /) -> bytes | None:
        import ray

        found: bytes | None = ray.get(self.kept.read.remote(name))
        return found

    def write(self, name: str, content: bytes, /) -> None:
        import ray

        ray.get(self.kept.write.remote(name, content))

    def remove(self, name: str, /) -> None:
        import ray

        ray.get(self.kept.remove.remote(name))


class _Worker(Generic[P, R]):
    """A worker: builds its engine once, does shards that it is handed."""

    def __init__(self, build: Sequence[Any], board: _Board, folder: str) -> None:
        import ray

        with contextlib.suppress(OSError):  # relative names mean what they mean to the driver, where it is there
            os.chdir(folder)
        self.board = board
        self.engine: Engine[P, R] = ray.get(build[0])(board)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Do a shard, unless the run is to stop; return what came of it."""
        if self.board.read(STOP) is not None:
            return {"made": b""}
        shard: P = pickle.loads(row["shard"])
        try:
            with closing(self.engine([shard])) as engine:
                (made,) = engine
        except FgcamError as error:  # Ray wraps what is raised
            return {"made": pickle.dumps(error)}
        return {"made": pickle.dumps(made)}


class Cluster(Generic[P, R]):
    """Does shards on Ray.

    Parameters
    ----------
    build : callable
        Makes the engine of a worker, of where marks are kept; sent to each.
    hands : Hands
        Workers: default as many as the cluster has cores or GPUs, but one core.
    told : callable
        Called with what each shard came to.

    Raises
    ------
    OptionError
        Ray is not installed, or the workers do not fit the cluster.
    """

    def __init__(self, build: Build[P, R], hands: Hands, *, told: Callable[[R], None] = lambda made: None) -> None:
        ray = ray_module()
        self.build, self.gpus, self.told = build, hands.gpus, told
        self.ours = not ray.is_initialized()
        if self.ours:
            started(ray, hands.address)
        resources = ray.cluster_resources()
        self.cores, there = float(resources.get("CPU", 1)), resources.get("GPU", 0.0)
        most = there / hands.gpus if hands.gpus else max(1.0, self.cores - ROOM)
        self.lanes = hands.workers or max(1, int(most))
        if self.lanes * hands.gpus > there:
            raise OptionError(f"{self.lanes} workers with {hands.gpus:g} GPUs each, but Ray has {there:g}: take fewer")

    def __call__(self, shards: Iterable[P]) -> Generator[R]:
        """Yield what came of each shard when it is done; closing it lets workers finish the shards at hand."""
        ray = ray_module()
        board = _Board(ray.remote(num_cpus=0)(_Kept).remote())
        build = ray.put(self.build)
        rest = iter(shards)
        try:
            while wave := list(islice(rest, WAVE)):
                yield from self._wave(build, board, wave)
        finally:
            if self.ours:
                ray.shutdown()

    def _wave(self, build: Any, board: _Board, shards: Sequence[P]) -> Generator[R]:
        import ray.data

        worker: Any = _Worker  # built by Ray in each process
        rows = [{"shard": pickle.dumps(shard)} for shard in shards]
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            worker,
            fn_constructor_args=([build], board, os.getcwd()),
            **claims(self.cores, self.lanes, self.gpus),
        )
        found, back = dataset.iter_rows(), 0
        with watched(self._quiet) as moved, own_errors():
            try:
                for row in found:
                    moved()
                    if row["made"]:
                        made: R | FgcamError = pickle.loads(row["made"])
                        if isinstance(made, FgcamError):
                            raise made
                        back += 1
                        self.told(made)
                        yield made
            except (GeneratorExit, FgcamError):
                board.write(STOP, b"")
                for _ in found:
                    moved()
                raise
        if back < len(rows):
            raise FgcamError(f"Ray gave {back} of {len(rows)} shards back; go on with the run to do the others")

    def _quiet(self) -> None:
        share = share_of(self.cores, self.lanes)
        print(
            f"warning: no shard for {QUIET:.0f} s; {self.lanes} workers hold {self.lanes * share:g} of "
            f"{self.cores:g} cores. Shards may be large, or other work on the cluster leaves no room: fewer workers",
            file=sys.stderr,
        )
