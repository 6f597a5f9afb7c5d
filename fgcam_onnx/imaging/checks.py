"""Checks of preprocessing values, and the last step to a dtype."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgcam_onnx.asked import size_of
from fgcam_onnx.errors import OptionError, suggest

DTYPES = ("float16", "float32", "float64", "uint8", "int8", "uint16", "int16", "uint32", "int32", "int64")
MAX_SIDE = 8192


def word(value: object, *, name: str, known: tuple[str | None, ...]) -> None:
    """Raise OptionError unless ``value`` is one of ``known``."""
    if value not in known:
        words = [each for each in known if each is not None]
        raise OptionError(
            f"Preprocessing {name} {value!r} is not known.{suggest(str(value), words)} Known: {', '.join(words)}."
        )


def cast(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the array in ``dtype``, whole numbers rounded and clipped; OptionError where it overflows."""
    if dtype.kind in "iu":
        # The largest float below max + 1: float(max) itself is out of range for 64 bit.
        top = np.nextafter(np.iinfo(dtype).max + 1.0, 0)
        values = np.clip(np.rint(values), np.iinfo(dtype).min, top)
    with np.errstate(over="ignore"):
        result = np.ascontiguousarray(values, dtype=dtype)
    if not np.isfinite(result).all():
        raise OptionError(f"Preprocessing overflows {dtype.name}. Make scale smaller or std larger.")
    return result


def dtype_name(dtype: np.dtype[Any] | str) -> str:
    """Return the numpy name of a model input's dtype; OptionError if no picture fits it."""
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = str(dtype)
    if name not in DTYPES:
        raise OptionError(f"The model's input is {name}, which no picture fits. Fits: {', '.join(DTYPES)}.")
    return name


def number(value: object, *, name: str) -> float:
    """Return a finite number as a float; OptionError for anything else."""
    # Whole numbers beyond a float's range make math.isfinite raise, hence the comparison.
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max:
        return float(value)
    raise OptionError(f"Preprocessing {name} {value!r} must be a finite number.")


def per_channel(values: object, *, name: str) -> tuple[float, ...]:
    """Return one number, or one per channel, as a tuple; OptionError for anything else."""
    listed = list(values) if isinstance(values, tuple | list) else [values]
    if len(listed) not in (1, 3):
        raise OptionError(f"Preprocessing {name} has {len(listed)} values; give one, or one per channel (3).")
    return tuple(number(value, name=name) for value in listed)


def checked_size(size: object) -> tuple[int, int]:
    """Return a size as (height, width), one whole number standing for both; OptionError otherwise."""
    try:
        whole = size_of(size, "size")
    except OptionError:
        whole = None
    if whole is None or len(whole) > 2 or max(whole) > MAX_SIDE:
        raise OptionError(f"Preprocessing size {size!r} must be (height, width), whole numbers in 1..{MAX_SIDE} each.")
    return whole[0], whole[-1]
