"""Progress of long work, on the terminal's error stream; nothing is shown when it is not a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


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
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as self._progress:
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
