"""Preprocessing by name, from a file, or from the file beside a model."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from fgcam_onnx.errors import OptionError, suggest
from fgcam_onnx.files import opened
from fgcam_onnx.imaging import huggingface
from fgcam_onnx.imaging.preprocess import PRESETS, Preprocess

_MAX_BYTES = 2**20
_FIELDS = frozenset(field.name for field in fields(Preprocess))
_ALIASES = {"channel_order": "channels"}
_PASSED_OVER = frozenset({"y", "note", "labels"})
_KNOWN = _FIELDS | _ALIASES.keys() | _PASSED_OVER | {"preset"}
_TELLING = frozenset({"preset", "mean", "std", "crop_share", "channel_order"}) | huggingface.MARKS


def preprocess_from(spec: str | Path | Mapping[str, Any]) -> Preprocess:
    """Make a `Preprocess` from a preset's name, a file, or a mapping.

    Parameters
    ----------
    spec : str, Path or mapping
        A name in `PRESETS`; a ``.json`` or ``.toml`` file of at most 1 MB; or a mapping. A mapping (or
        file) has the fields of `Preprocess`, or has them under ``preprocess``, or is a Hugging Face
        ``preprocessor_config.json``. ``preset`` names one to start from, ``channel_order`` stands for
        ``channels``, ``scale`` may be a fraction such as ``"1/255"``, and ``y``, ``note`` and
        ``labels`` are passed over.

    Returns
    -------
    Preprocess

    Raises
    ------
    OptionError
        If the name, the file, a key or a value is not known or cannot be read.
    """
    if isinstance(spec, Mapping):
        return _from_mapping(spec, where="preprocessing")
    if isinstance(spec, str) and spec in PRESETS:
        return PRESETS[spec]
    if not isinstance(spec, str | Path):
        raise OptionError(f"Preprocessing is a preset's name, a file or a mapping, not {spec!r}.")
    path = Path(spec)
    if path.suffix.lower() not in (".json", ".toml"):
        raise OptionError(
            f"Preprocessing {str(spec)!r} is neither a preset nor a .json or .toml file."
            f"{suggest(str(spec), PRESETS)} Presets: {', '.join(PRESETS)}."
        )
    return _from_mapping(_load(path), where=str(path))


def find_sidecar(model_path: str | Path) -> Path | None:
    """Find the preprocessing file beside a model.

    Parameters
    ----------
    model_path : str or Path
        Of the model. Looked for in its folder: ``<stem>.json``, ``<stem>.toml``,
        ``preprocessor_config.json``. Files that are not about preprocessing are passed over.

    Returns
    -------
    Path or None
        For `preprocess_from` and `sidecar_labels`.

    Raises
    ------
    OptionError
        If ``<stem>.json`` or ``<stem>.toml`` has a ``preprocess`` entry that cannot be read.
    """
    model = Path(model_path)
    for name in (f"{model.stem}.json", f"{model.stem}.toml", "preprocessor_config.json"):
        path = model.parent / name
        if path == model or not os.path.isfile(path):
            continue
        try:
            content = _load(path)
        except OptionError:
            continue
        if "preprocess" in content:
            _from_mapping(content, where=str(path))
            return path
        if content and (_TELLING & content.keys() or content.keys() <= _KNOWN):
            return path
    return None


def sidecar_labels(path: str | Path) -> Path | None:
    """Return the labels file that a sidecar names under ``labels``.

    Parameters
    ----------
    path : str or Path
        Of the sidecar (see `find_sidecar`).

    Returns
    -------
    Path or None
        None where it names none.

    Raises
    ------
    OptionError
        If the sidecar cannot be read, or the labels file is not inside the sidecar's folder.
    """
    where = Path(path)
    named = _load(where).get("labels")
    if named is None:
        return None
    if not isinstance(named, str) or not named or "\0" in named:
        raise OptionError(f"{where}: labels must be the name of a file beside it, not {named!r}.")
    folder = where.parent.resolve()
    try:
        target = (folder / named).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise OptionError(f"{where}: labels {named!r:.60} is no file name ({error}).") from None
    if Path(named).is_absolute() or not target.is_relative_to(folder):
        raise OptionError(f"{where}: labels {named!r} leads out of the sidecar's folder. Put the file beside it.")
    if not os.path.isfile(target):
        raise OptionError(f"{where}: there is no labels file {named!r} beside it.")
    return target


def _load(path: Path) -> Mapping[str, Any]:
    try:
        with opened(path) as file:
            data = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OptionError(f"{path}: preprocessing cannot be read ({reason}). Check the path.") from error
    if len(data) > _MAX_BYTES:
        raise OptionError(f"{path}: above 1 MB, so not a preprocessing file.")
    try:
        text = data.decode("utf-8-sig")
        content = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OptionError(f"{path}: not valid {path.suffix[1:].upper()} ({error}).") from error
    if not isinstance(content, dict):
        raise OptionError(f"{path}: preprocessing must be a mapping, not a {type(content).__name__}.")
    return content


def _from_mapping(content: Mapping[str, Any], *, where: str) -> Preprocess:
    if "preprocess" in content:
        inner = content["preprocess"]
        if isinstance(inner, str):
            inner = {"preset": inner}
        if not isinstance(inner, Mapping) or "preprocess" in inner:
            raise OptionError(f"{where}: preprocess must be a preset's name or a mapping, not {inner!r}.")
        return _from_mapping(inner, where=where)
    if huggingface.MARKS & content.keys():
        values = huggingface.fields_from(content, where=where)
        start = Preprocess()
    else:
        values = _own_fields(content, where=where)
        start = _preset(content.get("preset", "unit"), where=where)
    try:
        return Preprocess(**{**{name: getattr(start, name) for name in _FIELDS}, **values})
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from error


def _own_fields(content: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    for key in content:
        if key not in _KNOWN:
            raise OptionError(
                f"{where}: key {key!r} is not known.{suggest(str(key), _KNOWN)} "
                f"Known: {', '.join(sorted(_KNOWN - _PASSED_OVER))}."
            )
    values: dict[str, Any] = {}
    for key, value in content.items():
        name = _ALIASES.get(key, key)
        if name in values:
            raise OptionError(f"{where}: {name} is given twice, also as {key}. Leave one out.")
        if name in _FIELDS:
            values[name] = value
    if isinstance(values.get("scale"), str):
        values["scale"] = _fraction(values["scale"], where=where)
    return values


def _preset(name: object, *, where: str) -> Preprocess:
    if not isinstance(name, str) or name not in PRESETS:
        raise OptionError(
            f"{where}: preset {name!r} is not known.{suggest(str(name), PRESETS)} Known: {', '.join(PRESETS)}."
        )
    return PRESETS[name]


def _fraction(text: str, *, where: str) -> float:
    above, _, below = text.partition("/")
    try:
        return float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        raise OptionError(f"{where}: scale {text!r} must be a number or a fraction like '1/255'.") from None
