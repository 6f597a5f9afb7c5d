"""Run a work on items: in batches, in order, in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ..errors import AbsentError, ImageError, NumericsError
from .items import Item
from .journal import Journal
from .sinks import Row, Sink

OF_ONE = (AbsentError, ImageError, NumericsError)
"""Errors of an item, not of the run: they become its row."""


class Work(Protocol):
    """Turns a batch of items into rows."""

    def __call__(self, items: Sequence[Item], /) -> list[Row]:
        """Return the rows of ``items``, each with the ``item`` it is of.

        Raises
        ------
        AbsentError, ImageError, NumericsError
            An item cannot be done; it is tried again alone.
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
    """Do what is not done yet, and return the rows of all items.

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
    return sink.rows()


def _rows(work: Work, items: Sequence[Item]) -> list[Row]:
    try:
        return work(items)
    except OF_ONE as error:
        if len(items) == 1:
            return [{"item": items[0].key, "error": str(error)}]
        return [row for item in items for row in _rows(work, [item])]
