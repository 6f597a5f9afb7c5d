"""What was done, in enough detail to do it again: written beside the maps, and read by ``--from``."""

from __future__ import annotations

import datetime
import json
import os
import platform
import warnings
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import OptionError
from ..version import __version__
from .options import HIRED

if TYPE_CHECKING:
    from ..graph.model import Model

PACKAGES = ("numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "pillow", "scikit-image", "scipy")
FREE = ("out", "as_json", "record", "resume", "quiet", "verbose", *HIRED)
"""Options that change nothing of the maps, and may be given beside ``--from``."""


def versions() -> dict[str, str]:
    """Return the versions that the numbers depend on."""
    found = {"fgcam-onnx": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def made_now() -> dict[str, Any]:
    """Return when, and by what, a record is written."""
    return {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "versions": versions()}


def options_given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a command as values that JSON holds."""
    return {n: _plain(v) for n, v in options.items() if n not in FREE}


def hashes(files: Iterable[Path]) -> dict[str, str]:
    """Return the SHA-256 of files, by path."""
    from ..imaging.writing import sha256_of

    return {str(path): sha256_of(path) for path in files}


def weights_beside(model: Model) -> list[Path]:
    """Return the files that hold a model's weights, where they lie beside it."""
    from ..saving.saving import sources_of

    assert model.path is not None
    own = Path(os.path.realpath(model.path))
    return [model.path.parent / path.name for path in sorted(sources_of(model) - {own})]


def read_record(path: Path, *, command: str = "explain") -> dict[str, Any]:
    """Read a record that ``fgcam COMMAND`` wrote.

    Raises
    ------
    OptionError
        It cannot be read, or is no record of a run of that command.
    """
    try:
        if not os.path.isfile(path):
            raise OSError("not a regular file" if os.path.exists(path) else "no such file")
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise OptionError(f"{path}: cannot be read as a record ({error})") from error
    needed = ("options", "files", "preprocess", "images", "model", "versions")
    if not isinstance(record, dict) or any(name not in record for name in needed):
        raise OptionError(f"{path}: not a record that fgcam {command} wrote; one has {', '.join(needed)}")
    if (other := record.get("command", "explain")) != command:
        raise OptionError(f"{path}: a record of fgcam {other}, which repeats it with --from")
    return record


def repeated(ctx: click.Context, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the recorded run, those that are ``FREE`` as given now.

    Raises
    ------
    OptionError
        Other options are given beside ``--from``, or a file is not what it was.
    """
    given = [
        p.opts[0]
        for p in ctx.command.params
        if p.name not in FREE and p.name and ctx.get_parameter_source(p.name) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise OptionError(f"--from repeats a run as it was: leave out {', '.join(given)}")
    check_files({**record["files"], **{i["image"]: i.get("sha256") for i in record["images"]}})
    now = versions()
    other = [f"{n} {v} then, {now.get(n, 'none')} now" for n, v in record["versions"].items() if now.get(n) != v]
    if other:
        warnings.warn(f"maps may differ in the last digits: {'; '.join(other)}", stacklevel=2)
    options = dict(ctx.params)
    for param in ctx.command.params:
        if param.name in record["options"] and param.name not in FREE:
            options[str(param.name)] = _typed(param, record["options"][param.name])
    return options


def check_files(files: Mapping[str, str | None]) -> None:
    """Refuse files that are gone or not what they were.

    Raises
    ------
    OptionError
        Names the file.
    """
    from ..imaging.writing import sha256_of

    for name, digest in files.items():
        if not os.path.isfile(name):
            raise OptionError(f"{name}: not there; run fgcam in the folder that the record was made in")
        if digest is not None and sha256_of(name) != digest:
            raise OptionError(f"{name}: not the file that was explained: its SHA-256 is another")


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def _typed(param: click.Parameter, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return Path(value) if isinstance(param.type, click.Path) and value is not None else value
