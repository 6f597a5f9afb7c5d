"""Results to files: whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fgcam_onnx.errors import OutputError
from fgcam_onnx.files import opened

TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")
"""Name of a file that is being written; a process that was killed leaves it."""


def swept(folder: str | Path) -> None:
    """Remove what killed processes left half written in a folder."""
    for path in Path(folder).iterdir():
        if TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def write_atomically(path: str | Path, write: Callable[[BinaryIO], None]) -> Path:
    """Write a file so that it appears whole, or the old one stays as it was.

    Parameters
    ----------
    path : str or Path
        The file to make or replace; its folders are made. A link is followed.
    write : callable
        Gets a binary file open for writing (and seeking) and fills it.

    Returns
    -------
    Path
        The path as given.

    Raises
    ------
    OutputError
        If the folder or the file cannot be written. Other errors of ``write`` pass through; in both
        cases nothing is left behind.
    """
    target = _target(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _fill_and_replace(target, write=write)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{path}: cannot be written ({reason}). Name a folder you may write to.") from error
    return Path(path)


def _target(path: str | Path) -> Path:
    """Return the file that a path names, links followed; refuse what is none and cannot become one."""
    if "\0" in str(path):
        raise OutputError(f"{str(path)!r}: a file name cannot hold a null character.")
    target = Path(os.path.realpath(path))
    if os.path.exists(target) and not os.path.isfile(target):
        raise OutputError(f"{path}: not a regular file, so it cannot be replaced. Name a file to write.")
    return target


def check_writable(path: str | Path) -> None:
    """Refuse a file that could not be written later; leaves nothing, not even its folder.

    Raises
    ------
    OutputError
        What is in the way.
    """
    target = _target(path)
    folder = next(p for p in target.parents if os.path.lexists(p))
    try:
        probe = folder / f".{secrets.token_hex(8)}.tmp"
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{path}: cannot be written ({reason}). Name a folder you may write to.") from error


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits.

    Raises
    ------
    OutputError
        If it cannot be read.
    """
    try:
        with opened(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror or error}), so it cannot be recorded.") from error


def make_folder(path: str | Path) -> Path:
    """Make a folder and those above it, where they are not there.

    Raises
    ------
    OutputError
        If it cannot be made, or is a file.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path}: not a folder and cannot be made one ({reason}). Name another.") from None
    return Path(path)


MARK = b"tEXtSoftware\0fgcam_onnx"
"""What stands before the pixels of a PNG file that shows a map."""


def save_png(path: str | Path, image: Image.Image, *, ours: bool = False) -> Path:
    """Write a picture as a PNG file, whatever the extension says; see `write_atomically`.

    ``ours`` marks it as one that shows a map: in folders and patterns it is then no picture to explain.
    """
    told = PngInfo()
    if ours:
        told.add_text("Software", "fgcam_onnx")
    return write_atomically(path, lambda file: image.save(file, format="PNG", pnginfo=told))


def save_moving(path: str | Path, pictures: Sequence[Image.Image], *, rate: float = 6.0) -> Path:
    """Write pictures as one animated PNG, ``rate`` of them a second, which browsers play; see `write_atomically`."""
    told = PngInfo()
    told.add_text("Software", "fgcam_onnx")
    first, *rest = pictures
    options: dict[str, Any] = {"save_all": True, "append_images": rest, "duration": 1000 / rate, "loop": 0}
    return write_atomically(path, lambda file: first.save(file, format="PNG", pnginfo=told, **options))


def is_ours(path: str | Path) -> bool:
    """Tell whether a file is a picture of a map, written by `save_png`."""
    try:
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as file:
            return MARK in file.read(256)
    except OSError:
        return False


def save_npy(path: str | Path, array: NDArray[Any]) -> Path:
    """Write an array of numbers as a ``.npy`` file that loads without pickle; see `write_atomically`.

    Parameters
    ----------
    path : str or Path
        The file; no extension is added.
    array : ndarray
        Any shape, any dtype but object.

    Raises
    ------
    OutputError
        If the array holds Python objects, or the file cannot be written.
    """
    values = np.asarray(array)
    if values.dtype.hasobject:
        raise OutputError(f"{path}: an array of Python objects is not written. Convert it to numbers first.")
    return write_atomically(path, lambda file: np.save(file, values, allow_pickle=False))


def save_json(path: str | Path, obj: object) -> Path:
    """Write an object as indented UTF-8 JSON; see `write_atomically`.

    Parameters
    ----------
    path : str or Path
        The file.
    obj : object
        What `json` can write, and numpy numbers, arrays and paths besides. No NaN and no infinity.

    Raises
    ------
    OutputError
        If the object cannot be written as JSON, or the file cannot be written.
    """
    try:
        text = json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
        data = (text + "\n").encode("utf-8", "backslashreplace")
    except (TypeError, ValueError, RecursionError) as error:
        raise OutputError(f"{path}: the result cannot be written as JSON ({error}).") from error
    return save_bytes(path, data)


def save_text(path: str | Path, text: str) -> Path:
    """Write a text as UTF-8, what has no form in it escaped; see `write_atomically`."""
    return save_bytes(path, text.encode("utf-8", "backslashreplace"))


def save_bytes(path: str | Path, content: bytes) -> Path:
    """Write bytes; see `write_atomically`."""

    def write(file: BinaryIO) -> None:
        file.write(content)

    return write_atomically(path, write)


def _fill_and_replace(target: Path, *, write: Callable[[BinaryIO], None]) -> None:
    # Not tempfile: its files are readable by the owner alone, and a replaced file would stay so.
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            write(file)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
