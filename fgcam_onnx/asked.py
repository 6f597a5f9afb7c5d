"""What callers ask for in Python: of the kind that is wanted, or refused by what is."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from .errors import OptionError

WORDS = ("method", "base", "base_layer", "residual", "products", "start", "int8", "device", "input", "output")
COUNTS = {"batch": 1, "threads": 0}
"""Whole numbers, and the least each can be."""
FLAGS = ("denoise", "eigen_smooth", "aug_smooth", "trace", "saturation", "before_softmax")


def checked(given: Mapping[str, Any]) -> None:
    """Refuse options of an explainer that are no names, counts or flags; others in ``given`` are passed over.

    Raises
    ------
    OptionError
        Says which, and what is wanted.
    """
    for name in WORDS:
        value = given.get(name)
        if not isinstance(value, str) and (value is not None or name in ("method", "int8", "device")):
            raise OptionError(f"{name} is a name, not {value!r}")
    for name, least in COUNTS.items():
        whole_of(given[name], name, least=least)
    for name in FLAGS:
        flag_of(given[name], name)
    progress_of(given.get("progress"))


def whole(value: Any) -> int | None:
    """Return a whole number as it is; None for anything else, a truth value and an array of one included."""
    try:
        return None if isinstance(value, bool) or getattr(value, "ndim", False) else operator.index(value)
    except TypeError:
        return None


def progress_of(value: Any) -> None:
    """Refuse what cannot be told how much is done."""
    if value is not None and not callable(value):
        raise OptionError(f"progress is a function that is told (done, total), not {value!r:.60}")


def whole_of(value: Any, what: str, *, least: int, most: int | None = None) -> int:
    """Return a whole number; True is none."""
    found = whole(value)
    if found is None or found < least or (most is not None and found > most):
        limits = f"at least {least}, a whole number" if most is None else f"a whole number from {least} to {most}"
        raise OptionError(f"{what} must be {limits}, not {value!r:.60}")
    return found


def number_of(value: Any, what: str) -> float:
    """Return a number; a truth value, a text and an array are none."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise OptionError(f"{what} is a number, not {value!r:.60}")
    return float(value)


def flag_of(value: Any, what: str) -> bool:
    """Return True or False; refuse what only counts as one."""
    if not isinstance(value, bool | np.bool_):
        raise OptionError(f"{what} is True or False, not {value!r:.60}")
    return bool(value)


def names_of(value: Any, what: str) -> tuple[str, ...] | None:
    """Return one name, or several, as a tuple; None where nothing is asked for."""
    if value is None:
        return None
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Sequence) else (value,)
    if not all(isinstance(name, str) for name in names):
        raise OptionError(f"{what} are names, such as {what}='input', not {value!r}")
    return names


def size_of(value: Any, what: str) -> tuple[int, ...] | None:
    """Return a size of numbers, one for each axis or one for all, or of text such as ``224`` or ``192x256``."""
    if value is None:
        return None
    sides = value.lower().split("x") if isinstance(value, str) else value
    sides = list(sides) if isinstance(sides, list | tuple) else [sides]
    try:
        whole = [int(side) if isinstance(side, str) else side.__index__() for side in sides]
    except (AttributeError, TypeError, ValueError):
        whole = []
    if not whole or min(whole) < 1 or max(whole) >= 2**31 or any(isinstance(side, bool) for side in sides):
        raise OptionError(f"{what} is (height, width), two whole numbers above 0, or '192x256', not {value!r}")
    return tuple(whole)


def for_axes(size: tuple[int, ...], count: int, what: str) -> tuple[int, ...]:
    """Return a size of ``count`` axes: one number stands for all.

    Raises
    ------
    OptionError
        It has another number of axes.
    """
    if len(size) not in (1, count):
        axes = {1: "one axis, a length", 2: "two axes, (height, width)"}.get(count, f"{count} axes")
        raise OptionError(f"{what} is of {axes}, not {' x '.join(map(str, size))}")
    return size * count if len(size) < count else size


def path_of(value: Any, what: str) -> str | os.PathLike[str]:
    """Return a path; refuse what is none."""
    if not isinstance(value, str | os.PathLike) or isinstance(value, bytes):
        raise OptionError(f"{what} is a path, not {value!r:.60}")
    return value


def threads_of(asked: int) -> int:
    """Return how many threads there are for an operator: no more than the machine has cores."""
    return min(asked, os.cpu_count() or 1)
