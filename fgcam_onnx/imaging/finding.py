"""Which pictures the files, folders and patterns on a command line name."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from fgcam_onnx.errors import ImageError

EXTENSIONS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".gif", ".webp", ".avif",
    ".tif", ".tiff", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga",
)  # fmt: skip


def find_images(patterns: Sequence[str | Path]) -> list[Path]:
    """List the pictures that files, folders and glob patterns name.

    Parameters
    ----------
    patterns : sequence of str or Path
        Each a file (kept as it is, even when it does not exist), a folder (the pictures directly in it,
        by extension, sorted by name), or a glob (``**`` goes down; files with a picture's extension).

    Returns
    -------
    list of Path
        In the order given, each file once.

    Raises
    ------
    ImageError
        If nothing is given, or a folder or glob holds no picture.
    """
    if isinstance(patterns, str | Path):
        patterns = [patterns]
    if not patterns:
        raise ImageError("No picture was given. Name a file, a folder or a pattern such as 'photos/*.jpg'.")
    found: dict[str, Path] = {}
    for pattern in patterns:
        for path in _matches(str(pattern)):
            found.setdefault(os.path.abspath(path), path)
    return list(found.values())


def _matches(pattern: str) -> list[Path]:
    if os.path.isdir(pattern):
        names = [Path(pattern, name) for name in os.listdir(pattern)]
    elif os.path.lexists(pattern) or not glob.has_magic(pattern):
        return [Path(pattern)]
    else:
        names = [Path(name) for name in glob.glob(pattern, recursive=True)]
    files = sorted(path for path in names if path.is_file())
    pictures = [path for path in files if path.suffix.lower() in EXTENSIONS]
    if not pictures:
        passed = f" ({len(files)} other files were passed over by their extension)" if files else ""
        raise ImageError(f"No picture matches {pattern!r}{passed}. Extensions looked for: {', '.join(EXTENSIONS)}.")
    return pictures
