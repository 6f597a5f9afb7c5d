"""Class names: those that a model has with it, and whether names fit an output."""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import OptionError
from ..graph.model import Model

BACKGROUND = ("background", "__background__", "_background_", "no object", "no-object", "no_object")
MOST_BYTES = 4 * 2**20


def metadata_of(model: Model) -> dict[str, str]:
    """Return what the file says of itself, by key."""
    return {p.key: p.value for p in model.proto.metadata_props}


def own_labels(model: Model) -> tuple[str, ...]:
    """Return the class names that the file holds, or that ``config.json`` beside it does; empty where none does.

    Ultralytics writes them under ``names`` in the file, Hugging Face as ``id2label`` beside it.
    """
    told = metadata_of(model)
    for key in ("names", "id2label", "labels", "classes"):
        if key in told and (found := _listed(_parsed(told[key]))):
            return found
    beside = model.path.with_name("config.json") if model.path is not None else None
    if beside is None or not os.path.isfile(beside) or beside.stat().st_size > MOST_BYTES:
        return ()
    try:
        content = json.loads(beside.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return ()
    return _listed(content.get("id2label")) if isinstance(content, dict) else ()


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text) if len(text) < MOST_BYTES else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _listed(names: Any) -> tuple[str, ...]:
    """Return names given as a list, or by index; empty where they are neither."""
    if isinstance(names, Mapping):
        try:
            by_index = {int(k): str(v) for k, v in names.items()}
        except (TypeError, ValueError):
            return ()
        if not by_index or min(by_index) < 0 or max(by_index) > 10**6:
            return ()
        return tuple(by_index.get(i, "") for i in range(max(by_index) + 1))
    if isinstance(names, list | tuple) and names and all(isinstance(n, str) for n in names):
        return tuple(names)
    return ()


def background_of(labels: Sequence[str]) -> int | None:
    """Return the class that is no object, where a name says so."""
    return next((i for i, n in enumerate(labels) if n.strip().casefold() in BACKGROUND), None)


def fitted_labels(labels: Sequence[str], count: int, *, places: bool = False) -> tuple[tuple[str, ...], str]:
    """Return the names of ``count`` classes, and what is to be said of them.

    A first name ``background`` that is one too many is left out. ``places`` is whether the output has places, of which
    a class that is no object can be named.

    Raises
    ------
    OptionError
        Not as many names as classes.
    """
    if len(labels) == count:
        return tuple(labels), ""
    if len(labels) == count + 1 and background_of(labels[:1]) == 0:
        return tuple(labels[1:]), f"the first of {len(labels)} labels, {labels[0]!r}, is left out: {count} classes"
    few = f" Where the first class is no object, let the list begin with {BACKGROUND[0]}"
    few += ", or say background= (--background first or last)." if places else "."
    few = "" if len(labels) > count else few
    raise OptionError(
        f"{len(labels)} labels for {count} classes: every name could be of another class. Give the list that the model "
        f"was trained with, a name for each class.{few}"
    )
