"""Where items come from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..imaging.finding import find_images


@dataclass(frozen=True)
class Item:
    """One thing to work on.

    Attributes
    ----------
    key : str
        What it is called in rows, different for every item of a run.
    path : Path
        The file it is read from.
    """

    key: str
    path: Path


def from_paths(patterns: Sequence[str | Path]) -> list[Item]:
    """Return the pictures that files, folders and patterns name, each called by its path below what all share.

    Raises
    ------
    ImageError
        Nothing is named, or a folder holds no picture.
    """
    paths = find_images(patterns)
    whole = [os.path.abspath(path) for path in paths]
    shared = os.path.commonpath([os.path.dirname(path) for path in whole])
    return [Item(Path(os.path.relpath(w, shared)).as_posix(), p) for w, p in zip(whole, paths, strict=True)]
