"""Run a work on items: in batches, in order, in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ..errors import concerns_all, reason
from .items import Item
from .journal import Journal
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


def run(
    items: Sequence[Item],
    work: Work,
    *,
    sink: Sink,
    journal: Journal | None = None,
    batch: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Do what is not done yet, and return the rows of all items; :func:`finish` leaves them in the sink."""
    finish(items, work, sink=sink, journal=journal, batch=batch, progress=progress)
    return sink.rows()


def finish(
    items: Sequence[Item],
    work: Work,
    *,
    sink: Sink,
    journal: Journal | None = None,
    batch: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Do what is not done yet.

    Batches are the same whenever the run is stopped and goes on, so that what depends on them (the last bits of a
    convolution do) is the same, too.

    Parameters
    ----------
    items : sequence of Item
    work : Work
    sink : Sink
    journal : Journal, optional
        Without one nothing is done before.
    batch : int
        Items worked on at once.
    progress : callable, optional
        Called with (done, total) after each batch.
    """
    done = journal.done if journal is not None else []
    sink.rewind(done[-1] if done else 0)
    starts = range(0, len(items), batch)
    for start in starts[len(done) :]:
        if progress is not None:
            progress(start, len(items))
        position = sink.write(_rows(work, items[start : start + batch]))
        if journal is not None:
            journal.note(position)
    if progress is not None:
        progress(len(items), len(items))


def _rows(work: Work, items: Sequence[Item]) -> list[Row]:
    try:
        return work(items)
    except Exception as error:  # whatever a picture meets, the others are done
        if concerns_all(error):
            raise
        if len(items) == 1:
            return [{"item": items[0].key, "error": reason(error)}]
        return [row for item in items for row in _rows(work, [item])]
