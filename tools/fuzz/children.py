"""Run cases in a child that is replaced when it dies: each with limits of time and memory of its own."""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from outcomes import Outcome

SECONDS, WAIT, BYTES, CASES = 20.0, 300.0, 2 * 2**30, 400
"""Processor time, time by the clock and memory of one case, and how many a child runs before it is replaced."""

Case = tuple[str, int]
"""A class by name, and a number."""


class Child:
    """A process that judges cases one after the other; what it left in its folder goes with each."""

    def __init__(self, judge: Callable[[Case, Path], Outcome]) -> None:
        self._judge = judge
        self._folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        self._pid, self._done = 0, 0

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, case: Case) -> Outcome:
        """Return what became of ``case``: what the judge said, or how the child died of it."""
        if not self._pid or self._done >= CASES:
            self._end()
            self._start()
        os.write(self._orders, (json.dumps(case) + "\n").encode())
        self._done += 1
        line, since, spent = b"", time.monotonic(), self._spent()
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self._answers], [], [], 1.0)
            if not ready and self._spent() - spent < SECONDS and time.monotonic() - since < WAIT:
                continue
            if not ready:
                self._end()
                return Outcome("fault", f"no end within {SECONDS:g} s of processor time")
            piece = os.read(self._answers, 65536)
            if not piece:
                return Outcome("fault", f"the process died: {self._end(dying=True)}")
            line += piece
        return Outcome(**json.loads(line))

    def _spent(self) -> float:
        """Return the processor time that the child has used, in seconds."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _start(self) -> None:
        orders, self._orders = os.pipe()
        self._answers, answers = os.pipe()
        sys.stdout.flush()
        self._pid, self._done = os.fork(), 0
        if self._pid:
            os.close(orders)
            os.close(answers)
            return
        try:
            os.close(self._orders)
            os.close(self._answers)
            _serve(orders, answers, self._judge, self._folder)
        finally:
            os._exit(0)

    def _end(self, *, dying: bool = False) -> str:
        """End the child, or wait for one that is dying, and return what of."""
        if not self._pid:
            return ""
        os.close(self._orders)
        os.close(self._answers)
        if not dying:
            os.kill(self._pid, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"


def _serve(orders: int, answers: int, judge: Callable[[Case, Path], Outcome], folder: Path) -> None:
    for line in os.fdopen(orders):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        _limit_memory()
        name, number = json.loads(line)
        outcome = judge((name, number), folder)
        os.write(answers, (json.dumps(vars(outcome)) + "\n").encode(errors="replace"))


def _limit_memory() -> None:
    """Allow ``BYTES`` of addresses more than are taken now."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + BYTES, resource.RLIM_INFINITY))
