"""Which pictures the files, folders and patterns on a command line name."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from fgcam_onnx.errors import ImageError
from fgcam_onnx.imaging.writing import is_ours

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
        by extension, sorted by name), or a glob (``**`` goes down; files with a picture's extension). Overlays and
        sheets that this package wrote are passed over in folders and globs.

    Returns
    -------
    list of Path
        In the order given, each file once.

    Raises
    ------
    ImageError
        If nothing is given, or a folder or glob holds no picture or cannot be read.
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


def _check_readable(pattern: str) -> None:
    """Raise OSError where a folder that ``**`` goes down to cannot be listed: glob passes over it in silence."""

    def refuse(error: OSError) -> None:
        raise error

    parts = Path(pattern).parts
    for root in glob.glob(str(Path(*parts[: parts.index("**")]))):
        for _, folders, _ in os.walk(root, onerror=refuse):
            folders[:] = [name for name in folders if not name.startswith(".")]


def _matches(pattern: str) -> list[Path]:
    try:
        if os.path.isdir(pattern):
            names = [Path(pattern, name) for name in os.listdir(pattern)]
        elif os.path.lexists(pattern) or not glob.has_magic(pattern):
            return [Path(pattern)]
        else:
            names = [Path(name) for name in glob.glob(pattern, recursive=True)]
            if "**" in Path(pattern).parts:
                _check_readable(pattern)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        if isinstance(error, OSError) and error.filename not in (None, pattern):
            why = f"{why}: {error.filename}"
        raise ImageError(f"{pattern}: cannot be read ({why}). Check its permissions, or name the pictures.") from error
    files = sorted(path for path in names if os.path.isfile(path))
    pictures = [path for path in files if path.suffix.lower() in EXTENSIONS]
    theirs = [path for path in pictures if not is_ours(path)]
    if not theirs:
        others = [
            f"{n} {what}"
            for n, what in (
                (len(files) - len(pictures), "other files were passed over by their extension"),
                (len(pictures), "pictures are maps that fgcam drew"),
            )
            if n
        ]
        passed = f" ({', '.join(others)})" if others else ""
        raise ImageError(f"No picture matches {pattern!r}{passed}. Extensions looked for: {', '.join(EXTENSIONS)}.")
    return theirs
