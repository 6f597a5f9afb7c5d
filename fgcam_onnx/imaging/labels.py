"""Class names: reading lists of them, and finding one by its name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fgcam_onnx.errors import OptionError, TargetError, suggest
from fgcam_onnx.files import opened

_MAX_BYTES = 4 * 2**20
_MAX_CLASSES = 1_000_000
_WNID = re.compile(r"^n\d{8}\s+(?=\S)")
_FORMS = 'a list of names, a list of [id, name] pairs, or {"0": "name", ...} (also under "id2label")'


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Read class names, in the order of the classes.

    Parameters
    ----------
    path : str or Path
        A text file with one name per line (a leading WordNet id such as ``n01440764`` is left out), or
        a ``.json`` file with a list of names, a list of ``[id, name]`` pairs, or an object from index
        to name, on its own or under ``id2label``.

    Returns
    -------
    tuple of str
        Element ``i`` names class ``i``; an empty string where a class has no name.

    Raises
    ------
    OptionError
        If the file is missing, above 4 MB, not UTF-8, or of another form.
    """
    where = Path(path)
    text = _read_text(where)
    if where.suffix.lower() == ".json":
        try:
            names = _from_json(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise OptionError(f"{where}: not a list of labels ({error}). Write {_FORMS}.") from error
    else:
        names = [_WNID.sub("", line.strip()) for line in text.rstrip().split("\n")]
    if not any(names):
        raise OptionError(f"{where}: holds no label. Write one name per line.")
    return tuple(names)


def find_label(labels: Sequence[str], text: str) -> int:
    """Find the class that a name means.

    Upper and lower case, and spaces and underscores, are taken as the same. Tried in this order: the
    whole label, one of its comma-separated synonyms, the beginning of either.

    Parameters
    ----------
    labels : sequence of str
        Element ``i`` names class ``i``.
    text : str
        The name to look for.

    Returns
    -------
    int
        The index of the class.

    Raises
    ------
    TargetError
        If no label fits (near ones are named), or several do (they are listed).
    """
    wanted = _plain(text)
    if not wanted:
        raise TargetError("The label to look for is empty. Give a name or a class index.")
    names = [(_plain(label), *map(_plain, label.split(","))) for label in labels]
    tests: list[Callable[[tuple[str, ...]], bool]] = [
        lambda forms: forms[0] == wanted,
        lambda forms: wanted in forms[1:],
        lambda forms: any(form.startswith(wanted) for form in forms),
    ]
    for fits in tests:
        hits = [index for index, forms in enumerate(names) if fits(forms)]
        if len(hits) == 1:
            return hits[0]
        if hits:
            listed = ", ".join(f"{index} ({labels[index]!r})" for index in hits[:8])
            more = f" and {len(hits) - 8} more" if len(hits) > 8 else ""
            raise TargetError(f"{text!r} fits {len(hits)} labels: {listed}{more}. Give the class index.")
    known = [part.strip() for label in labels for part in (label, *label.split(","))]
    raise TargetError(f"No label is {text!r} among {len(labels)}.{suggest(text, filter(None, known))}")


def _read_text(where: Path) -> str:
    try:
        with opened(where) as file:
            data = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OptionError(f"{where}: labels cannot be read ({reason}). Check the path.") from error
    if len(data) > _MAX_BYTES:
        raise OptionError(f"{where}: above 4 MB, so not a list of labels. Write one name per line.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OptionError(f"{where}: labels are not UTF-8 text ({error}). Save the file as UTF-8.") from error


def _from_json(content: object) -> list[str]:
    if isinstance(content, Mapping):
        inner = content.get("id2label", content)
        if isinstance(inner, Mapping):
            return _from_mapping(inner)
        content = inner
    if not isinstance(content, list):
        raise ValueError(f"found a {type(content).__name__}")
    return [_name(entry, where=index) for index, entry in enumerate(content)]


def _from_mapping(content: Mapping[str, object]) -> list[str]:
    named: dict[int, str] = {}
    for key, entry in content.items():
        if not re.fullmatch(r"[0-9]{1,7}", key) or int(key) >= _MAX_CLASSES:
            raise ValueError(f"key {key!r} is not a class index")
        if int(key) in named:
            raise ValueError(f"class {int(key)} is named twice")
        named[int(key)] = _name(entry, where=key)
    return [named.get(index, "") for index in range(max(named, default=-1) + 1)]


def _name(entry: object, *, where: object) -> str:
    if isinstance(entry, list) and len(entry) == 2 and all(isinstance(part, str) for part in entry):
        entry = entry[1]
    if not isinstance(entry, str):
        raise ValueError(f"entry {where} is not a name")
    return entry.strip()


def _plain(text: str) -> str:
    return " ".join(text.replace("_", " ").casefold().split())
