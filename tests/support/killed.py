"""A process that is killed at its k-th file operation, played in this one: from there on nothing reaches the disk."""

from __future__ import annotations

import builtins
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHANGING = ("mkdir", "remove", "rename", "replace", "rmdir", "truncate", "unlink")
"""Functions of ``os`` that change what is on the disk, by the path of the first argument."""


class Killed(BaseException):
    """The process is gone."""


class Deaths:
    """Counts operations on files below a folder; the process dies instead of the one at ``place``.

    An operation is anything that changes names or sizes, and the moment after a file was made or emptied and before
    it is filled. What is written to an open file reaches the disk when the next operation begins.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.place: int | None = None
        self.count = 0
        self.dead = False
        self._lock = threading.Lock()

    def at(self, place: int | None) -> None:
        """Begin anew, to die at ``place``; None for never."""
        self.place, self.count, self.dead = place, 0, False

    def step(self, path: Any) -> None:
        """Count an operation on ``path``, or die."""
        if not isinstance(path, str | os.PathLike) or not os.path.abspath(path).startswith(self.folder):
            return
        with self._lock:
            self.dead = self.dead or self.count == self.place
            if self.dead:
                raise Killed(f"{self.place}: {path}")
            self.count += 1


def install(deaths: Deaths, patch: pytest.MonkeyPatch) -> None:
    """Let every operation go by ``deaths``."""
    for name in CHANGING:
        patch.setattr(os, name, _before(getattr(os, name), deaths))

    def opened(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return opening(path, flags, *args, **kwargs)
        deaths.step(path)
        found = opening(path, flags, *args, **kwargs)
        try:
            deaths.step(path)
        except Killed:
            os.close(found)
            raise
        return found

    def filed(path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if not set(mode) & set("wax+"):
            return filing(path, mode, *args, **kwargs)
        deaths.step(path)
        found = filing(path, mode, *args, **kwargs)
        try:
            deaths.step(path)
        except Killed:
            found.close()
            raise
        return found

    opening, filing = os.open, builtins.open
    patch.setattr(os, "open", opened)
    patch.setattr(builtins, "open", filed)
    patch.setattr(io, "open", filed)


def _before(function: Callable[..., Any], deaths: Deaths) -> Callable[..., Any]:
    def stepped(path: Any, *args: Any, **kwargs: Any) -> Any:
        deaths.step(path)
        return function(path, *args, **kwargs)

    return stepped


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
