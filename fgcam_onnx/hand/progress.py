"""Bars for long work, without asking: in a notebook, on a terminal, and nowhere else."""

from __future__ import annotations

import sys
import time
from typing import Any

PATIENCE = 1.0
"""Seconds of work before a bar is shown: what is shorter needs none."""


class Bar:
    """Shows how much of some work is done, and for how long it will go on, once it takes longer than ``PATIENCE``.

    Called with (done, total); work begins anew where fewer are done than before.
    """

    def __init__(self) -> None:
        self._start, self._last = time.monotonic(), -1
        self._shown: _Shown | None = None

    def __call__(self, done: int, total: int) -> None:
        """Take note of what is done."""
        now = time.monotonic()
        if done <= self._last or self._last < 0:
            self._start = now if self._last >= 0 else self._start
            self._end()
        self._last = done
        if self._shown is None and done < total and now - self._start > PATIENCE:
            self._shown = shown_here()
        if self._shown is not None:
            self._shown.show(done, total, now - self._start)
        if done >= total:
            self._end()
            self._last = -1

    def begin(self) -> None:
        """Count time from now on."""
        self._end()
        self._start, self._last = time.monotonic(), -1

    def _end(self) -> None:
        if self._shown is not None:
            self._shown.end()
        self._shown = None


class _Shown:
    """Where nothing can be shown."""

    def show(self, done: int, total: int, seconds: float) -> None:
        """Show how much is done."""

    def end(self) -> None:
        """Take it away."""


class _Terminal(_Shown):
    def __init__(self) -> None:
        from rich.console import Console
        from rich.errors import LiveError
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("fgcam"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress: Any = Progress(*columns, console=Console(stderr=True), transient=True)
        try:
            self._progress.start()
        except LiveError:  # something else shows its own
            self._progress = None
        self._task = None if self._progress is None else self._progress.add_task("", total=None)

    def show(self, done: int, total: int, seconds: float) -> None:
        if self._progress is not None:
            self._progress.update(self._task, completed=done, total=total)

    def end(self) -> None:
        if self._progress is not None:
            self._progress.stop()


class _Notebook(_Shown):
    """A bar of HTML's own, in a display that is changed in place."""

    def __init__(self, display: Any) -> None:
        self._handle = display({"text/plain": "", "text/html": ""}, raw=True, display_id=True)
        self._last = 0.0

    def show(self, done: int, total: int, seconds: float) -> None:
        now = time.monotonic()
        if now - self._last < 0.2 and done < total:
            return
        self._last = now
        left = f", about {seconds * (total - done) / done:.0f} s left" if done else ""
        text = f"{done} of {total}{left}"
        bar = f'<progress value="{done}" max="{total}" style="width:240px;vertical-align:middle"></progress> {text}'
        self._put(text, bar)

    def end(self) -> None:
        self._put("", "")

    def _put(self, text: str, html: str) -> None:
        if self._handle is not None:
            self._handle.update({"text/plain": text, "text/html": html}, raw=True)


def shown_here() -> _Shown:
    """Return where a bar is shown: in this notebook, on this terminal, or nowhere."""
    shell = sys.modules.get("IPython")
    current = shell.get_ipython() if shell is not None else None
    if current is not None and hasattr(current, "kernel"):
        from IPython.display import display

        return _Notebook(display)
    return _Terminal() if sys.stderr.isatty() else _Shown()
