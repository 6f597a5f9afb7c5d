"""Where rows go."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..errors import OutputError

Row = Mapping[str, Any]
"""Plain values by column. ``item`` is the item's key, ``error`` why there is no more of it."""


class Sink(Protocol):
    """Keeps rows as they are made."""

    def write(self, rows: Sequence[Row]) -> int:
        """Keep ``rows``; return the position after them, which :meth:`rewind` takes."""
        ...

    def rewind(self, position: int) -> None:
        """Forget what was written after ``position``; 0 is the beginning."""
        ...

    def rows(self) -> list[Row]:
        """Return what is kept, in the order it was written."""
        ...


@dataclass(frozen=True)
class Lines:
    """A file with a row of JSON on each line.

    Raises
    ------
    OutputError
        It cannot be read or written.
    """

    path: Path

    def write(self, rows: Sequence[Row]) -> int:
        """Append ``rows``; the position is the file's size."""
        text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        try:
            with open(self.path, "ab") as file:
                file.write(text.encode("utf-8", "backslashreplace"))
                return file.tell()
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror})") from error

    def rewind(self, position: int) -> None:
        """Cut the file."""
        try:
            with open(self.path, "ab") as file:
                size = file.tell()
            if size < position:
                raise OutputError(f"{self.path}: has {size} bytes, {position} were written; name another folder")
            os.truncate(self.path, position)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror})") from error

    def rows(self) -> list[Row]:
        """Read the file."""
        try:
            return [json.loads(line) for line in self.path.read_text("utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise OutputError(f"{self.path}: cannot be read ({error})") from error


@dataclass(frozen=True)
class Kept:
    """A list in memory."""

    kept: list[Row]

    def write(self, rows: Sequence[Row]) -> int:
        """Append ``rows``; the position is their count."""
        self.kept.extend(rows)
        return len(self.kept)

    def rewind(self, position: int) -> None:
        """Cut the list."""
        del self.kept[position:]

    def rows(self) -> list[Row]:
        """Return the list."""
        return list(self.kept)
