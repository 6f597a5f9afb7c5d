"""The folder of a page: its program, exported files, sample pictures, and what it is told of them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FgcamError, ImageError, OptionError, OutputError
from ..exporter import export
from ..graph.model import Model
from ..imaging import Preprocess, make_folder, read_image, save_json, save_png
from ..imaging.writing import sha256_of
from ..methods import find_method
from ..version import __version__
from .runtime import LIBRARY, runtime_files

INDEX = "index.json"
"""Written last: a folder that has it is whole."""

FRONT, MARK = "index.html", b'<meta name="generator" content="fgcam page" />'
"""Written first, and what says in it that the folder is a page's."""

READ_BY_BROWSERS = frozenset({".jpg", ".jpeg", ".png", ".webp"})

POSITIVE = {n: n for n in ("turbo", "inferno", "viridis", "cividis")}
SIGNED = {"blue to red": "RdBu_r", "purple to orange": "PuOr_r", "pale blue to red": "coolwarm"}
"""Names on the page, and matplotlib's."""


@dataclass(frozen=True)
class Shown:
    """An exported file that the page offers.

    Attributes
    ----------
    title : str
    file : str
        Its name in the page's ``files``.
    method, what, source : str
        The method, what it does, and where it was published.
    labels : tuple of str
        Class names; empty where there are none.
    model, sha256 : str
        Name and hash of the file that it was made of; empty where it was made of none.
    notes : tuple of str
        What has to be said of everything it shows.
    """

    title: str
    file: str
    method: str
    what: str
    source: str
    labels: tuple[str, ...] = ()
    model: str = ""
    sha256: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """A folder that was written.

    Attributes
    ----------
    folder : Path
    shown : tuple of Shown
    pictures : int
        How many samples it holds.
    failed : tuple of str
        What could not be read, and why, a sentence each.
    size : int
        Bytes of all of it.
    """

    folder: Path
    shown: tuple[Shown, ...]
    pictures: int
    failed: tuple[str, ...]
    size: int


def explained(
    model: Model,
    folder: str | Path,
    *,
    method: str,
    preprocess: Preprocess,
    title: str = "",
    labels: Sequence[str] = (),
    notes: Sequence[str] = (),
    **options: Any,
) -> Shown:
    """Write ``model`` and its explanation by ``method`` into the folder of a page.

    Parameters
    ----------
    model : Model
    folder : path
        Of the page.
    method : str
        A row of ``methods.METHODS`` that is one graph.
    preprocess : Preprocess
        Bound to the model's input; the file takes pixels.
    title : str
        Default: the method's name.
    labels : sequence of str
    notes : sequence of str
    **options
        Of :func:`export`.

    Raises
    ------
    FgcamError
        The method or an option cannot be put in one graph, the folder holds something else than a page, or the file
        cannot be written.
    """
    row = find_method(method)
    claimed(folder)
    stem = model.path.stem if model.path is not None else "model"
    files = make_folder(Path(folder) / "files")
    file = f"{stem}.{method}.onnx"
    found = export(model, files / file, method=method, target="input", preprocess=preprocess, **options)
    if found.beside is not None:
        raise OutputError(f"{file}: a page holds files below 2 GB")
    hashed = sha256_of(model.path) if model.path is not None and os.path.isfile(model.path) else ""
    made_of = model.path.name if model.path is not None else ""
    return Shown(title or method, file, method, row.summary, row.source, tuple(labels), made_of, hashed, tuple(notes))


def write_page(
    folder: str | Path,
    shown: Sequence[Shown],
    pictures: Sequence[str | Path] = (),
    *,
    title: str = "What is the model looking at?",
    runtime: str | Path | None = None,
    progress: Callable[[str], None] = lambda name: None,
) -> Page:
    """Write the page beside its exported files; any web server shows it then, without a network.

    Parameters
    ----------
    folder : path
    shown : sequence of Shown
        What it offers, the first one first.
    pictures : sequence of path
        Samples; those that no browser reads are written as PNG.
    title : str
    runtime : path, optional
        Where ONNX Runtime's files for browsers are (:func:`runtime_files`).
    progress : callable
        Called with the name of each picture.

    Raises
    ------
    FgcamError
        Nothing is to be shown, the runtime is not to be had, or the folder cannot be written, or holds something else
        than a page.
    """
    if not shown:
        raise OptionError("a page needs a model that it explains")
    to = claimed(folder)
    engine = runtime_files(runtime)
    earlier = _files_told(to)
    (to / INDEX).unlink(missing_ok=True)
    for file in _static().iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    for path in engine:
        shutil.copyfile(path, make_folder(to / "runtime") / path.name)
    samples, failed = _samples(pictures, make_folder(to / "files"), progress)
    told = {
        "title": title,
        "models": [asdict(s) for s in shown],
        "pictures": samples,
        "palettes": {k: {n: palette(c) for n, c in v.items()} for k, v in (("positive", POSITIVE), ("signed", SIGNED))},
        "versions": {"fgcam_onnx": __version__, "runtime": LIBRARY},
    }
    save_json(to / INDEX, told)
    for stale in (to / "files" / name for name in earlier - _files_told(to)):
        if os.path.isfile(stale):
            stale.unlink()
    size = sum(f.stat().st_size for f in to.rglob("*") if os.path.isfile(f))
    return Page(to, tuple(shown), len(samples), tuple(failed), size)


def claimed(folder: str | Path) -> Path:
    """Make the folder of a page, or take one that is a page already.

    Raises
    ------
    OutputError
        It holds something else, or cannot be written.
    """
    to = make_folder(folder)
    try:
        front = to / FRONT
        if not any(to.iterdir()):
            front.write_bytes((_static() / FRONT).read_bytes())
        elif not _files_told(to) and not (os.path.isfile(front) and MARK in front.read_bytes()):
            raise OutputError(f"{to}: holds something else than a page of fgcam's; name an empty folder, or a new one")
    except OSError as error:
        raise OutputError(f"{to}: cannot be written ({error.strerror})") from error
    return to


def _static() -> Traversable:
    return resources.files(__package__) / "static"


def _files_told(page: Path) -> set[str]:
    """Return the names of the exported files and samples that a page shows; none where it is not whole."""
    try:
        told = json.loads((page / INDEX).read_text("utf-8"))
        return {Path(row["file"]).name for row in (*told["models"], *told["pictures"])}
    except (OSError, ValueError, LookupError, TypeError):
        return set()


def palette(name: str) -> list[list[int]]:
    """Return the 256 colours of a matplotlib colour map, 0 to 255."""
    import matplotlib

    found: list[list[int]] = matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3].tolist()
    return found


def _samples(
    pictures: Sequence[str | Path], folder: Path, progress: Callable[[str], None]
) -> tuple[list[dict[str, str]], list[str]]:
    """Copy pictures under names of ours; what is not readable is told."""
    samples: list[dict[str, str]] = []
    failed: list[str] = []
    for path in map(Path, pictures):
        progress(path.name)
        try:
            image = read_image(path)
            suffix = path.suffix.lower() if path.suffix.lower() in READ_BY_BROWSERS else ".png"
            name = f"picture-{len(samples) + 1:04d}{suffix}"
            if suffix == path.suffix.lower() and image.mode in ("RGB", "L", "RGBA"):
                shutil.copyfile(path, folder / name)
            else:
                save_png(folder / name, image)
        except (ImageError, OSError) as error:
            failed.append(str(error))
            continue
        samples.append({"file": name, "name": path.name})
    if failed and not samples:
        raise FgcamError(f"none of {len(failed)} pictures can be read: {failed[0]}")
    return samples, failed
