"""Pictures of a data set, one by one, always in the same order: folders, patterns, lists, tars, Parquet, URLs."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Protocol

from ..errors import ImageError, OptionError
from ..imaging.finding import EXTENSIONS
from ..imaging.writing import is_ours

TARS, TABLES, LISTS = (".tar",), (".parquet",), (".txt", ".lst")
GROUPS = 2
"""Row groups of Parquet kept in memory: that at hand, and the one that is read ahead."""


class Readable(Protocol):
    """A picture that is not read yet.

    Attributes
    ----------
    key : str
        What it is called in rows.
    url : str
        The file that holds it.
    """

    @property
    def key(self) -> str: ...  # noqa: D102
    @property
    def url(self) -> str: ...  # noqa: D102

    def read(self) -> bytes:
        """Return the bytes of the picture's file; raises whatever its file system does."""
        ...


@dataclass(frozen=True)
class File:
    """A picture that is a file."""

    key: str
    url: str

    def read(self) -> bytes:
        """Read the file."""
        files, path = _opened(self.url)
        found: bytes = files.cat_file(path)
        return found


@dataclass(frozen=True)
class Member:
    """A picture in a tar that is not compressed, as WebDataset writes it."""

    key: str
    url: str
    start: int
    size: int

    def read(self) -> bytes:
        """Read the part of the tar."""
        files, path = _opened(self.url)
        found: bytes = files.cat_file(path, start=self.start, end=self.start + self.size)
        if len(found) != self.size:
            raise OSError(f"{len(found)} of {self.size} bytes are there")
        return found


@dataclass(frozen=True)
class Cell:
    """A picture in a column of Parquet: bytes, or a structure with ``bytes`` as Hugging Face writes it."""

    key: str
    url: str
    group: int
    row: int
    column: str

    def read(self) -> bytes:
        """Read the row group, unless it is at hand, and return the row's bytes."""
        with _READING:
            value = _column(self.url, self.group, self.column)[self.row].as_py()
        found = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(found, bytes):
            raise OSError("the row holds no bytes")
        return found


@dataclass(frozen=True)
class Broken:
    """What is left of a file that holds pictures and cannot be read, or not from some place on."""

    key: str
    url: str
    why: str

    def read(self) -> bytes:
        """Raise why."""
        raise OSError(self.why)


_READING = threading.Lock()


@functools.lru_cache(maxsize=GROUPS)
def _column(url: str, group: int, column: str) -> Any:
    with _table(url) as table:
        return table.read_row_group(group, columns=[column]).column(0)


@dataclass(frozen=True)
class Source:
    """Pictures by name.

    Attributes
    ----------
    names : tuple of str
        Each a picture, a folder (with those below it), a pattern, a list of names (.txt), a tar, a Parquet file, or
        the URL of one. What else lies in a folder is passed over.
    column : str, optional
        Of Parquet: where the pictures are; default the only column that can hold them.
    id : str, optional
        Of Parquet: the column that says what pictures are called; default the file and the row's number.
    """

    names: tuple[str, ...]
    column: str | None = None
    id: str | None = None

    def __iter__(self) -> Iterator[Readable]:
        """Yield the pictures, always in the same order.

        Raises
        ------
        ImageError
            A name holds no picture, or cannot be opened.
        OptionError
            It cannot be told which column of a table holds pictures.
        """
        self._check_once()
        for name in self.names:
            empty = True
            for found in self._named(name):
                empty = False
                yield found
            if empty:
                raise ImageError(f"{name}: no picture in it. Looked for {', '.join((*EXTENSIONS, *TARS, *TABLES))}.")

    def _check_once(self) -> None:
        """Refuse what is named twice, or below a folder that is named, too: its pictures would stand there twice.

        Raises
        ------
        OptionError
        """
        places = [(name, os.path.join(_located(name)[1], "")) for name in self.names]
        for i, (name, place) in enumerate(places):
            for other, within in places[:i] + places[i + 1 :]:
                if place.startswith(within):
                    raise OptionError(f"{name}: its pictures are named twice, also by {other}; leave one out")

    @functools.cached_property
    def _shared(self) -> str:
        """The folder that all names lie in, as far as they share one; where there is one name, what it names."""
        opened = [_opened(name) for name in self.names]
        if len({type(files) for files, _ in opened}) > 1:
            return ""
        bases = [_base(files, path).split("/") for files, path in opened]
        return "/".join(parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, zip(*bases, strict=False)))

    def _named(self, name: str) -> Iterator[Readable]:
        try:
            files, path = _opened(name)
            if files.isdir(path):
                for below in (found for found in _walk(files, path) if not is_ours(found)):
                    yield from self._file(files, below)
            elif not files.exists(path) and _has_magic(path):
                for found in sorted(f for f in files.glob(path) if not is_ours(f)):
                    yield from self._file(files, found)
            elif path.endswith(LISTS):
                yield from self._listed(files, path)
            elif not files.exists(path):
                raise ImageError(f"{name}: no such file or folder. Check the spelling.")
            else:
                yield from self._file(files, path, said=True)
        except (OSError, ImportError, ValueError) as error:
            raise ImageError(f"{name}: cannot be opened ({error})") from error

    def _file(self, files: Any, path: str, *, said: bool = False) -> Iterator[Readable]:
        url = files.unstrip_protocol(path)
        key = path.removeprefix(self._shared).lstrip("/")
        suffix = os.path.splitext(key)[1].lower()
        if suffix in (*TARS, *TABLES):
            try:
                yield from _members(url, key) if suffix in TARS else self._cells(url, key)
            except ImageError as error:
                if said:
                    raise
                yield Broken(key, url, str(error))
        elif said or suffix in EXTENSIONS:
            yield File(key, url)

    def _listed(self, files: Any, path: str) -> Iterator[Readable]:
        """Yield what the lines of a file name, seen from its folder."""
        folder = path.rsplit("/", 1)[0]
        own = folder.removeprefix(self._shared).strip("/")
        with files.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                if name := line.strip():
                    absolute = "://" in name or name.startswith("/")
                    url = name if absolute else files.unstrip_protocol(f"{folder}/{name}")
                    yield File(name if absolute or not own else f"{own}/{name}", url)

    def _cells(self, url: str, key: str) -> Iterator[Readable]:
        with _table(url) as table:
            schema = table.schema_arrow
            column = self.column or _pictures_in(schema, url)
            for name in (column, self.id):
                if name is not None and name not in schema.names:
                    raise OptionError(f"{url}: no column {name!r}; there are {', '.join(schema.names)}")
            number = 0
            for group in range(table.num_row_groups):
                count = table.metadata.row_group(group).num_rows
                names = table.read_row_group(group, columns=[self.id]).column(0) if self.id else None
                for row in range(count):
                    yield Cell(str(names[row]) if names else f"{key}#{number}", url, group, row, column)
                    number += 1


def _has_magic(path: str) -> bool:
    return any(c in path for c in "*?[")


def _base(files: Any, path: str) -> str:
    """Return the folder that what a name means is seen from."""
    if files.isdir(path):
        return path
    while True:
        path = path.rpartition("/")[0]
        if not _has_magic(path) or files.exists(path):
            return path


def _located(url: str) -> tuple[Any, str]:
    """Return the file system of a name, and the path there."""
    import fsspec

    try:
        files, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ImageError(f"{url}: cannot be opened ({error})") from error
    return files, path


def _opened(url: str) -> tuple[Any, str]:
    """Return the file system of a name, and the path there; a pipe or device, which has no end, is refused."""
    files, path = _located(url)
    if "file" in files.protocol and os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise OSError("not a regular file")
    return files, path


def _table(url: str) -> Any:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    files, path = _opened(url)
    try:
        return ParquetFile(files.open(path, "rb"), pre_buffer=False)
    except ArrowException as error:
        raise ImageError(f"{url}: not Parquet that can be read ({error})") from error


def _walk(files: Any, folder: str) -> Iterator[str]:
    """Yield the files below a folder, by name; only one folder's names are kept at a time on each level."""
    for entry in sorted(files.ls(folder, detail=True), key=lambda found: str(found["name"])):
        if entry["type"] == "directory":
            yield from _walk(files, entry["name"])
        elif not os.path.basename(entry["name"]).startswith("."):
            yield entry["name"]


def _members(url: str, key: str) -> Iterator[Readable]:
    import tarfile

    files, path = _opened(url)
    with files.open(path, "rb") as file, _tar(file, url) as tar:
        try:
            while (member := tar.next()) is not None:
                tar.members = []  # it would keep every header
                if member.isfile() and os.path.splitext(member.name)[1].lower() in EXTENSIONS:
                    yield Member(f"{key}/{member.name}", url, member.offset_data, member.size)
        except tarfile.TarError as error:
            yield Broken(key, url, f"{error}: what follows byte {tar.offset} is left out")
            return
        file.seek(tar.offset)
        if file.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile takes a header that it cannot read for the end
            yield Broken(key, url, f"no header of a tar: what follows byte {tar.offset} is left out")


def _tar(file: Any, url: str) -> Any:
    import tarfile

    try:
        return tarfile.open(fileobj=file, mode="r:")
    except tarfile.TarError as error:
        raise ImageError(f"{url}: not a tar that can be read in any order ({error}); unpack compressed ones") from error


def _pictures_in(schema: Any, url: str) -> str:
    """Return the only column that can hold pictures."""
    import pyarrow

    def holds(kind: Any) -> bool:
        if pyarrow.types.is_struct(kind):
            return bool(kind.get_field_index("bytes") >= 0)
        return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))

    found: Sequence[str] = [field.name for field in schema if holds(field.type)]
    if len(found) != 1:
        told = f"{', '.join(found)} can" if found else "none can"
        raise OptionError(f"{url}: which column holds the pictures? Of {', '.join(schema.names)} {told}; say --column")
    return found[0]
