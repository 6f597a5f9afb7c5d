"""The assembly line of one process: pictures are fetched ahead, prepared and explained in lanes, and written behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from ..stream import Readable, Shard, Store, digest
from ..stream.deaths import Trial, left_out, mark
from .job import Explaining, Job, Spent, fetched, prepared, stem_of
from .table import Row, encoded

FETCHERS = 8
"""Threads that wait for files; they hold no core."""

AHEAD = 2
"""Batches fetched beyond those in the lanes."""


def part(number: int) -> str:
    """Return the name of a shard's file."""
    return f"part-{number:08d}.parquet"


@dataclass(frozen=True)
class Done:
    """A shard that stands in the data set.

    Attributes
    ----------
    number, items, rows : int
    keys : str
        What tells its pictures' names from others.
    errors : mapping of str to int
        Pictures that failed, by what at.
    seconds : mapping of str to float
        Where the time went, summed over threads.
    """

    number: int
    items: int
    rows: int
    keys: str
    errors: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


class Progress(Protocol):
    """What is told of pictures."""

    def advance(self, pictures: int, errors: int) -> None:
        """Count pictures that are done now, and how many of them failed."""
        ...

    def stood(self, pictures: int) -> None:
        """Count pictures that an earlier run did."""
        ...


@dataclass
class Line:
    """Turns shards into files of a store.

    Attributes
    ----------
    job : Job
    store : Store
    lanes : int
        Batches prepared and explained at once, each by a thread of its own.
    progress : Progress, optional
    """

    job: Job
    store: Store
    lanes: int = 1
    progress: Progress | None = None

    def __post_init__(self) -> None:
        self._explaining = Explaining(self.job)

    def __call__(self, shards: Iterable[Shard[Readable]]) -> Generator[Done]:
        """Yield each shard when it is written; closing the line drops those that are not.

        A shard that a process died over (its mark is still there) is done without reading ahead, so that what kills is
        found: first a batch, then a picture, which becomes a row that says so.
        """
        started: set[int] = set()
        pools = [ThreadPoolExecutor(n) for n in (FETCHERS, self.lanes, 1)]
        try:
            yield from self._run(shards, started, *pools)
        finally:
            for pool in pools:
                pool.shutdown(wait=True, cancel_futures=True)
            for number in started:
                self.store.remove(mark(number))

    def _run(
        self,
        shards: Iterable[Shard[Readable]],
        started: set[int],
        fetching: ThreadPoolExecutor,
        working: ThreadPoolExecutor,
        writing: ThreadPoolExecutor,
    ) -> Iterator[Done]:
        waiting: deque[_Batch] = deque()
        behind: deque[tuple[Shard[Readable], Future[Done]]] = deque()
        open_rows: list[Row] = []

        def take() -> Iterator[Done]:
            """Take the oldest batch; hand the shard that it ends to the writer, after the one before is written."""
            batch = waiting.popleft()
            rows = batch.rows.result()
            open_rows.extend(rows)
            self._told(batch.items, rows)
            if batch.last:
                yield from written(0)
                behind.append((batch.shard, writing.submit(self._write, batch.shard, list(open_rows), batch.spent)))
                open_rows.clear()

        def written(left: int) -> Iterator[Done]:
            while len(behind) > left:
                shard, future = behind.popleft()
                done = future.result()
                started.discard(shard.number)
                yield done

        for shard in shards:
            if trial := Trial.of(self.store, shard.number):
                while waiting:
                    yield from take()
                yield from written(0)
                started.add(shard.number)
                yield self._careful(shard, trial)
                continue
            self.store.write(mark(shard.number), b"{}")
            started.add(shard.number)
            spent, batches = Spent(), shard.batches(self.job.batch)
            for n, items in enumerate(batches):
                contents = [fetching.submit(fetched, item, spent) for item in items]
                rows = working.submit(self._work, shard, n, items, contents, spent)
                waiting.append(_Batch(shard, items, n == len(batches) - 1, rows, spent))
                while len(waiting) > self.lanes + AHEAD:
                    yield from take()
        while waiting:
            yield from take()
        yield from written(0)

    def _work(
        self,
        shard: Shard[Readable],
        n: int,
        items: Sequence[Readable],
        contents: Sequence[Future[bytes | Row]],
        spent: Spent,
    ) -> list[Row]:
        ready = [prepared(i, c.result(), self.job, spent) for i, c in zip(items, contents, strict=True)]
        return self._explaining(ready, spent, stems=self._stems(shard, n, items))

    def _stems(self, shard: Shard[Readable], n: int, items: Sequence[Readable], first: int = 0) -> list[str]:
        """Return what the files of pictures are called, which are in the shard's batch ``n`` from ``first`` on."""
        start = shard.first + n * self.job.batch + first
        return [stem_of(start + k, item.key) for k, item in enumerate(items)]

    def _careful(self, shard: Shard[Readable], trial: Trial) -> Done:
        """Do a shard that a process died over, without reading ahead."""
        spent = Spent()
        rows: list[Row] = []
        for n, items in enumerate(shard.batches(self.job.batch)):

            def do(items: Sequence[Readable], first: int, n: int = n) -> list[Row]:
                ready = [prepared(item, fetched(item, spent), self.job, spent) for item in items]
                return self._explaining(ready, spent, stems=self._stems(shard, n, items, first))

            found = trial.rows(n, items, do=do, left=self._left)
            rows += found
            self._told(items, found)
        return self._write(shard, rows, spent)

    def _left(self, item: Readable) -> Row:
        return Row(item.key, item.url, failed="died", error=left_out(item.key), same=self.job.same)

    def _write(self, shard: Shard[Readable], rows: Sequence[Row], spent: Spent) -> Done:
        keys = digest([item.key for item in shard.items])
        errors: dict[str, int] = {}
        for row in rows:
            if row.failed is not None:
                errors[row.failed] = errors.get(row.failed, 0) + 1
        told = {"number": shard.number, "items": len(shard.items), "rows": len(rows), "keys": keys, "errors": errors}
        with spent.on("write"):
            self.store.write(part(shard.number), encoded(rows, self.job.packing, record=told))
        self.store.remove(mark(shard.number))
        return Done(**{**told, "seconds": dict(spent.seconds)})  # type: ignore[arg-type]

    def _told(self, items: Sequence[Readable], rows: Sequence[Row]) -> None:
        if self.progress is not None:
            self.progress.advance(len(items), sum(row.failed is not None for row in rows))


@dataclass(frozen=True)
class _Batch:
    shard: Shard[Readable]
    items: Sequence[Readable]
    last: bool
    rows: Future[list[Row]]
    spent: Spent
