"""``explanations.json``: what was explained, written as it is made."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO

from ..emptiness import NOT_POSITIVE
from ..errors import OutputError
from ..imaging.writing import write_atomically
from ..stream import Item, Journal, Row, Work, finish
from .record import made_now
from .saying import say

HEAD, LAST, TAIL = b' "images": [\n', b" ]\n", b"\n ]\n}\n"
"""What stands before and behind the pictures; each of them is a line of its own."""

JOURNAL = "explanations.journal"
"""What says how far a run got; it is there only while one is not finished."""

ABOUT = "the run is not finished; the same command goes on with it"


@dataclass(frozen=True)
class Recorded:
    """A sink that is a file of JSON all the time, its pictures growing: `finish` adds what is known at the end.

    Attributes
    ----------
    path : Path
    told : mapping
        What is known of the run before it begins.

    Raises
    ------
    OutputError
        The file cannot be written or read.
    """

    path: Path
    told: Mapping[str, Any]

    def write(self, rows: Sequence[Row]) -> int:
        """Append ``rows`` in one write, the end of the file included; the position is where the next one goes."""
        try:
            with open(self.path, "r+b") as file:
                place = file.seek(-len(TAIL), os.SEEK_END)
                first = _ends_with(file, HEAD)
                lines = b",\n".join(_encoded(_image(row)) for row in rows)
                added = lines if first else b",\n" + lines
                file.seek(place)
                file.write(added + TAIL)
                return place + len(added)
        except OSError as error:
            raise self._refused("written", error) from error

    def rewind(self, position: int) -> None:
        """Cut the file behind ``position``; 0 begins it anew."""
        try:
            if not position:
                write_atomically(self.path, lambda file: _fill(file, {**self.told, "unfinished": ABOUT}, []))
                return
            size = self.path.stat().st_size
            if size < position:
                raise OutputError(f"{self.path}: has {size} bytes, {position} were written; delete it to begin anew")
            with open(self.path, "r+b") as file:
                file.seek(position)
                file.write(TAIL)
                file.truncate()
        except OSError as error:
            raise self._refused("written", error) from error

    def rows(self) -> list[Row]:
        """Return all pictures."""
        return list(self.each())

    def each(self) -> Iterator[dict[str, Any]]:
        """Yield the pictures one by one."""
        for line in self._lines():
            yield json.loads(line)

    @property
    def finished(self) -> bool:
        """Whether what is known at the end stands in it."""
        try:
            with open(self.path, "rb") as file:
                head = b"".join(takewhile(lambda line: line != HEAD, file))
        except OSError as error:
            raise self._refused("read", error) from error
        return b'"unfinished"' not in head

    def finish(self, told: Mapping[str, Any]) -> Path:
        """Write the file anew, with ``told`` before its pictures."""
        return write_atomically(self.path, lambda file: _fill(file, told, self._lines()))

    def _lines(self) -> Iterator[bytes]:
        """Yield what stands of each picture."""
        try:
            with open(self.path, "rb") as file:
                for line in file:
                    if line == HEAD:
                        break
                for line in file:
                    if line == LAST:
                        break
                    if line.strip():
                        yield line.rstrip(b"\n").removesuffix(b",")
        except (OSError, ValueError) as error:
            raise self._refused("read", error) from error

    def _refused(self, what: str, error: Exception) -> OutputError:
        return OutputError(f"{self.path}: cannot be {what} ({getattr(error, 'strerror', None) or error})")


def _image(row: Row) -> dict[str, Any]:
    return {"image": row["item"], **{name: value for name, value in row.items() if name != "item"}}


def _encoded(value: Mapping[str, Any], *, indent: int | None = None) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    return text.encode("utf-8", "backslashreplace")


def _ends_with(file: BinaryIO, end: bytes) -> bool:
    """Tell whether ``end`` stands before where ``file`` is."""
    place = file.tell()
    file.seek(place - len(end))
    return file.read(len(end)) == end


def _fill(file: BinaryIO, told: Mapping[str, Any], lines: Iterable[bytes]) -> None:
    file.write(_encoded(told, indent=1).removesuffix(b"\n}") + b",\n" + HEAD)
    for i, line in enumerate(lines):
        file.write((b",\n" if i else b"") + line)
    file.write(TAIL)


@dataclass(frozen=True)
class Run:
    """A folder being explained, which goes on where it stopped.

    Attributes
    ----------
    folder : Path
    told : mapping
        What the run is, but for its pictures: all that the maps depend on.
    items : sequence of Item
    batch : int
        Pictures explained at once.
    """

    folder: Path
    told: Mapping[str, Any]
    items: Sequence[Item]
    batch: int

    def finished(self, work: Work, *, progress: Callable[[int, int], None]) -> Recorded:
        """Explain what is not explained yet, and write down what was; the journal is gone when all is done.

        Raises
        ------
        OptionError
            Another run stands unfinished in the folder.
        OutputError
            Something cannot be written.
        """
        made = made_now()
        record = Recorded(self.folder / "explanations.json", {**self.told, **made})
        path = self.folder / JOURNAL
        journal = Journal.of(path, {**self.told, "versions": made["versions"], "pictures": self._pictures()})
        before = min(len(journal.done) * self.batch, len(self.items))
        if before:
            say(f"note: going on behind {before} of {len(self.items)} pictures, which an earlier run did", err=True)
        if before == len(self.items) and record.finished:  # it was killed behind that
            path.unlink(missing_ok=True)
            return record
        try:
            with ended():
                finish(self.items, work, sink=record, journal=journal, batch=self.batch, progress=progress)
        except KeyboardInterrupt:
            done = min(len(journal.done) * self.batch, len(self.items))
            say(f"stopped behind {done} of {len(self.items)} pictures; the same command goes on", err=True)
            raise
        layers = {name for row in record.each() for e in row.get("explanations", ()) for name in e["layers"]}
        record.finish({**self.told, "layers": sorted(layers), **made})
        path.unlink(missing_ok=True)
        return record

    def _pictures(self) -> str:
        sizes = [[i.key, i.path.stat().st_size if os.path.isfile(i.path) else 0] for i in self.items]
        return hashlib.sha256(repr(sizes).encode()).hexdigest()


@contextmanager
def ended() -> Iterator[None]:
    """Inside, a request to terminate is Ctrl-C: what is being written is finished or taken away."""

    def asked(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, asked)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def emptiness_of(row: Mapping[str, Any], *, signed: bool) -> str:
    """Return what is to be said of a picture's maps that show nothing, in one line; "" where all show something.

    ``signed`` overlays show negative values, too.
    """
    return "; ".join(
        f"{said} in the map of {e['label'].split(',')[0]} at {layer}"
        for e in row.get("explanations", ())
        for layer, said in e.get("empty", {}).items()
        if said != NOT_POSITIVE or not signed
    )
