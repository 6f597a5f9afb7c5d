"""Progress of long work, on the error stream: bars on a terminal; of work without an end in sight, lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .saying import console, say


class Meter:
    """A bar for pictures, and one for the masks of the picture at hand."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet or not sys.stderr.isatty()
        self._progress: Any = None
        self._masks: Any = None

    @contextmanager
    def pictures(self, total: int) -> Iterator[Callable[[], None]]:
        """Show how many of ``total`` pictures are done; yields the function that counts one."""
        if self._quiet:
            yield lambda: None
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console(err=True), transient=True) as self._progress:
            task = self._progress.add_task("pictures", total=total)
            yield lambda: self._progress.advance(task)
        self._progress = None

    @contextmanager
    def batches(self) -> Iterator[Callable[[int, int], None]]:
        """Show pictures that are done in batches; yields the function that takes how many are done, and of how many."""
        with self.pictures(0) as advance:

            def show(done: int, total: int) -> None:
                if self._progress is None:
                    return
                task = self._progress.tasks[0].id
                self._progress.update(task, total=total, completed=done)

            yield show
        del advance

    def masks(self, done: int, total: int) -> None:
        """Show how many of ``total`` masked runs are done."""
        if self._progress is None:
            return
        if self._masks is None:
            self._masks = self._progress.add_task("masked runs", total=total)
        self._progress.update(self._masks, completed=done, total=total)


EVERY = 30.0
"""Seconds between two lines in a log."""


class Counter:
    """Pictures of a data set: a bar with rate, errors and time left on a terminal, a line now and then in a log.

    ``total`` may become known while it counts.
    """

    def __init__(self) -> None:
        self.done = self.errors = 0
        self.total: int | None = None
        self.before = 0
        self._start = self._last = time.monotonic()
        self._progress: Any = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it inside."""
        if not sys.stderr.isatty():
            yield
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("pictures"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]:.1f}/s"),
            TextColumn("{task.fields[errors]} errors"), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=console(err=True), transient=True) as self._progress:
            self._progress.add_task("pictures", total=None, rate=0.0, errors=0)
            yield
        self._progress = None

    def stood(self, pictures: int) -> None:
        """Count pictures that an earlier run did."""
        self.before += pictures

    def advance(self, pictures: int, errors: int) -> None:
        """Count pictures, and how many of them failed."""
        self.done += pictures
        self.errors += errors
        now, there = time.monotonic(), self.before + self.done
        rate = self.done / max(now - self._start, 1e-9)
        if self._progress is not None:
            task = self._progress.tasks[0].id
            self._progress.update(task, completed=there, total=self.total, rate=rate, errors=self.errors)
        elif not sys.stderr.isatty() and now - self._last >= EVERY:
            self._last = now
            of, left = "", ""
            if self.total is not None:
                of, left = f" of {self.total}", f", {_clock(max(0, self.total - there) / rate)} left"
            say(f"{there}{of} pictures, {rate:.1f}/s, {self.errors} errors{left}", err=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
