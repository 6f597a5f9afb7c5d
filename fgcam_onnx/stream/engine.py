"""Run a work on items: in batches, kept in order, in this process or by workers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from ..errors import concerns_all, reason
from .deaths import Marks, Trial, left_out, mark
from .hands import Engine, Hands
from .items import Item
from .journal import Journal
from .shards import Shard, cut
from .sinks import Row, Sink


class Work(Protocol):
    """Turns a batch of items into rows."""

    def __call__(self, items: Sequence[Item], /) -> list[Row]:
        """Return the rows of ``items``, each with the ``item`` it is of.

        Raises
        ------
        Exception
            Each is tried again alone; what an item then meets becomes its row, unless it concerns all items.
        """
        ...


@dataclass(frozen=True)
class Made:
    """The rows of a shard."""

    number: int
    rows: list[Row]


@dataclass(frozen=True)
class InTurn:
    """Does one shard after the other, each of them one batch.

    Attributes
    ----------
    work : Work
    marks : Marks, optional
        Where it is noted that a shard is being done, for the next process if this one dies over it.
    """

    work: Work
    marks: Marks | None = None

    def __call__(self, shards: Iterable[Shard[Item]]) -> Generator[Made]:
        """Yield the rows of each shard."""
        for shard in shards:
            yield Made(shard.number, self._rows(shard))

    def _rows(self, shard: Shard[Item]) -> list[Row]:
        if self.marks is None:
            return _rows(self.work, shard.items)
        if trial := Trial.of(self.marks, shard.number):
            rows = trial.rows(0, shard.items, do=lambda items, first: _rows(self.work, items), left=_left)
        else:
            self.marks.write(mark(shard.number), b"{}")
            rows = _rows(self.work, shard.items)
        self.marks.remove(mark(shard.number))
        return rows


def run(
    items: Sequence[Item],
    work: Work,
    *,
    sink: Sink,
    journal: Journal | None = None,
    batch: int = 8,
    hands: Hands = Hands(),  # noqa: B008  # frozen
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Do what is not done yet, and return the rows of all items; :func:`finish` leaves them in the sink."""
    finish(items, work, sink=sink, journal=journal, batch=batch, hands=hands, progress=progress)
    return sink.rows()


def finish(
    items: Sequence[Item],
    work: Work,
    *,
    sink: Sink,
    journal: Journal | None = None,
    batch: int = 8,
    hands: Hands = Hands(),  # noqa: B008  # frozen
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Do what is not done yet.

    Batches are the same whenever the run is stopped and goes on, and whoever does them, so that what depends on them
    (the last bits of a convolution do) is the same, too. Rows are kept in the order of the items.

    Parameters
    ----------
    items : sequence of Item
    work : Work
        What can be sent to workers, where ``hands`` are Ray's.
    sink : Sink
    journal : Journal, optional
        Without one nothing is done before. It is closed.
    batch : int
        Items worked on at once.
    hands : Hands
    progress : callable, optional
        Called with (done, total) after each batch.
    """
    tell = progress or (lambda done, total: None)
    with journal or nullcontext():
        done = journal.done if journal is not None else []
        sink.rewind(done[-1] if done else 0)
        first = len(done)
        tell(min(first * batch, len(items)), len(items))
        if first * batch >= len(items):
            return
        with closing(_engine_of(work, hands)(islice(cut(items, batch), first, None))) as found:
            for made in _ordered(found, first):
                position = sink.write(made.rows)
                if journal is not None:
                    journal.note(position)
                tell(min((made.number + 1) * batch, len(items)), len(items))


def _engine_of(work: Work, hands: Hands) -> Engine[Shard[Item], Made]:
    if hands.engine == "local":
        return InTurn(work)
    from .cluster import Cluster

    return Cluster(lambda marks: InTurn(work, marks), hands)


def _ordered(found: Iterable[Made], first: int) -> Iterator[Made]:
    """Yield what is made in the order of its numbers, beginning with ``first``."""
    early: dict[int, Made] = {}
    for made in found:
        early[made.number] = made
        while first in early:
            yield early.pop(first)
            first += 1


def _rows(work: Work, items: Sequence[Item]) -> list[Row]:
    try:
        return work(items)
    except Exception as error:  # whatever a picture meets, the others are done
        if concerns_all(error):
            raise
        if len(items) == 1:
            return [{"item": items[0].key, "error": reason(error)}]
        return [row for item in items for row in _rows(work, [item])]


def _left(item: Item) -> Row:
    return {"item": item.key, "error": left_out(item.key)}
