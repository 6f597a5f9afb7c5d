"""Baselines: what takes the picture's place where it is to say nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..asked import for_axes, size_of
from ..errors import OptionError, check_known
from ..graph.value import Array
from ..layers.layers import Layer
from ..matrices import BLUR, along, gaussian_matrix

BLACK = "black"
"""A black picture, prepared as pictures are: known to those that prepare them."""


def mean(x: Array, layer: Layer) -> Array:
    """Return the mean of each channel, everywhere."""
    return x * 0 + x.mean(layer.spatial_axes, keepdims=True)


def blur(x: Array, layer: Layer) -> Array:
    """Return the picture smoothed by a Gaussian, mirrored at its ends."""
    sigma = BLUR * min((n for n in layer.spatial if n > 1), default=1)
    sides = zip(layer.spatial_axes, layer.spatial, strict=True)
    return along(x, {a: gaussian_matrix(n, sigma=sigma).astype(np.float32) for a, n in sides if n > 1})


MADE: dict[str, Callable[[Array, Layer], Array]] = {"blur": blur, "mean": mean}
"""Baselines that are made of the picture (N, ...) itself, an array or a value of a graph."""


def baseline_of(x: Array, layer: Layer, given: Any) -> Array:
    """Return the baseline of pictures ``x`` (N, ...): a number, or what broadcasts to their shape.

    Raises
    ------
    OptionError
        An array does not fit the input, or nobody knows how a black picture is prepared.
    """
    if isinstance(given, str) and given == BLACK:
        raise OptionError(
            "baseline 'black' is a black picture as it is prepared for the model, which an explainer of arrays does "
            "not know, nor does the command line: give its number in the model's units, or an array in Python, such as "
            "preprocess(Image.new('RGB', (224, 224)))[0]"
        )
    if isinstance(given, str):
        return MADE[given](x, layer)
    if not isinstance(given, np.ndarray):
        return given
    shape = tuple(d if isinstance(d, int) else 1 for d in x.shape[1:])
    fitting = given if given.ndim >= len(shape) else np.expand_dims(given, layer.channel_axis - 1)
    if fitting.ndim != len(shape) or any(a not in (1, b) for a, b in zip(fitting.shape, shape, strict=True)):
        raise OptionError(f"a baseline is a number or one image, {list(shape)}, not an array {list(given.shape)}")
    return fitting


def fitted_baseline(value: Any, what: str) -> Any:
    """Return a number, ``black``, ``blur`` or ``mean``, or a float32 array.

    Raises
    ------
    OptionError
        It is none of them, or not finite.
    """
    if isinstance(value, str):
        check_known(what, value, (BLACK, *MADE))
        return value
    try:
        array = np.asarray(value, np.float32)
    except (TypeError, ValueError):
        array = np.asarray(np.nan)
    if isinstance(value, bool) or not np.isfinite(array).all() or not array.size:
        raise OptionError(
            f"{what} is a finite number, an array of them, {', '.join((BLACK, *MADE))}, not {value!r:.60}"
        )
    return array if array.ndim else float(value)


def fitted_window(value: Any, what: str) -> int | tuple[int, ...]:
    """Return a length, or one for each axis, of whole numbers or text such as ``16x8``.

    Raises
    ------
    OptionError
        It is neither.
    """
    found = value if isinstance(value, int) and not isinstance(value, bool) else size_of(value, what)
    if found is None:
        raise OptionError(f"{what} is a whole number, or one for each axis, not {value!r}")
    return found[0] if isinstance(found, tuple) and len(found) == 1 else found


def lengths(given: int | tuple[int, ...], count: int, what: str) -> tuple[int, ...]:
    """Return a length for each of ``count`` axes.

    Raises
    ------
    OptionError
        There are as many of neither, or one is below 1.
    """
    found = for_axes(given if isinstance(given, tuple) else (given,), count, what)
    for one in found:
        if one < 1:
            raise OptionError(f"{what} must be at least 1, not {one}")
    return found


def told_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as plain values, for people and files: of an array its shape."""
    return {n: f"array {list(v.shape)}" if isinstance(v, np.ndarray) else v for n, v in settings.items()}


FITTED: dict[str, Callable[[Any, str], Any]] = {
    "baseline": fitted_baseline,
    "stride": fitted_window,
    "window": fitted_window,
}
"""Settings by name that may be words, arrays or sizes, and what makes of them what methods take."""
