"""Where the files of a data set are written: whole, or not at all."""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from typing import Any

from ..errors import OutputError

TEMPORARY = re.compile(r"\.(.+\.)?([0-9a-f]{8}){1,2}\.tmp")
"""Name of a file that is being written, here or by `imaging.write_atomically`; a process that was killed leaves it."""

BUCKETS = frozenset({"abfs", "az", "gcs", "gs", "oci", "oss", "s3", "s3a"})
"""Stores without folders, where making one would make a bucket of a name that was mistyped."""


@dataclass(frozen=True)
class Store:
    """A folder, on a disk or behind a URL that fsspec knows.

    On a disk a file is written under another name, brought to the disk and renamed. Object stores show an object when
    it is whole. Names that begin with ``_`` or ``.`` are not read as part of a Parquet data set.

    Raises
    ------
    OutputError
        Something cannot be written or read.
    """

    url: str

    @property
    def local(self) -> bool:
        """Whether it is on a disk of this machine."""
        return "file" in _protocols(self._place()[0])

    @property
    def shared(self) -> bool:
        """Whether other processes reach it."""
        return "memory" not in _protocols(self._place()[0])

    @property
    def folder(self) -> str:
        """Its path on its file system."""
        return self._place()[1]

    def write(self, name: str, content: bytes) -> None:
        """Make or replace a file."""
        files, folder = self._place()
        try:
            if not BUCKETS & set(_protocols(files)):
                files.makedirs(folder, exist_ok=True)
            if self.local:
                _write_whole(folder, name, content)
            else:
                files.pipe_file(f"{folder}/{name}", content)
        except OSError as error:
            raise OutputError(f"{self.url}/{name}: cannot be written ({error.strerror or error})") from error

    def read(self, name: str) -> bytes | None:
        """Return what a file holds, None where there is none."""
        files, folder = self._place()
        try:
            found: bytes = files.cat_file(f"{folder}/{name}")
            return found
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OutputError(f"{self.url}/{name}: cannot be read ({error.strerror or error})") from error

    def opened(self, name: str) -> Any:
        """Open a file for reading in any order."""
        files, folder = self._place()
        return files.open(f"{folder}/{name}", "rb")

    def names(self) -> list[str]:
        """Return the names of its files, sorted; none where it does not exist."""
        files, folder = self._place()
        files.invalidate_cache()
        try:
            return sorted(str(path).rsplit("/", 1)[-1] for path in files.ls(folder, detail=False))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise OutputError(f"{self.url}: not a folder that can be read ({error.strerror or error})") from error

    def within(self, folder: str) -> Store:
        """Return a folder of it."""
        return Store(f"{self.url}/{folder}")

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        files, folder = self._place()
        try:
            files.rm_file(f"{folder}/{name}")
        except FileNotFoundError:
            return
        except OSError as error:
            raise OutputError(f"{self.url}/{name}: cannot be removed ({error.strerror or error})") from error

    def swept(self) -> None:
        """Remove what a killed run left half written."""
        for name in self.names():
            if TEMPORARY.fullmatch(name):
                self.remove(name)

    def _place(self) -> tuple[Any, str]:
        import fsspec

        try:
            files, path = fsspec.core.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise OutputError(f"{self.url}: cannot be opened ({error})") from error
        return files, path.rstrip("/")


def _protocols(files: Any) -> tuple[str, ...]:
    return (files.protocol,) if isinstance(files.protocol, str) else tuple(files.protocol)


def _write_whole(folder: str, name: str, content: bytes) -> None:
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, os.path.join(folder, name))
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise
    if hasattr(os, "O_DIRECTORY"):
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
