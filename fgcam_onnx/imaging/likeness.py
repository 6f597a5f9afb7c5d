"""How alike maps are: what differs little between classes or methods is no evidence for one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgcam_onnx.imaging.resampling import resized
from fgcam_onnx.matrices import along, resize_matrix

ALIKE = 0.9
"""Maps that correlate at least so much look the same."""

Names = tuple[str, str]


def likeness(a: NDArray[Any], b: NDArray[Any]) -> float | None:
    """Return Pearson's correlation of two raw maps; the smaller is brought to the larger's size linearly.

    Returns
    -------
    float or None
        -1..1; None where a map is constant, or they have other axes.
    """
    if a.ndim != b.ndim:
        return None
    larger = a.shape if a.size >= b.size else b.shape
    first, second = (_centred(_brought(m, larger)) for m in (a, b))
    if first is None or second is None:
        return None
    return float(np.clip(first @ second, -1, 1))


def _brought(values: NDArray[Any], size: tuple[int, ...]) -> NDArray[np.float64]:
    if len(size) == 2:
        return resized(values, size=(size[0], size[1]))
    ways = [resize_matrix(n, wide) for n, wide in zip(values.shape, size, strict=True)]
    return np.asarray(along(values, dict(enumerate(ways))), np.float64)


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return a map less its mean as a vector of length 1; None where it is constant up to rounding."""
    largest = np.abs(values).max()
    if not largest:
        return None
    vector: NDArray[np.float64] = (values / largest).reshape(-1)
    vector = vector - vector.mean()
    length = np.linalg.norm(vector)
    return vector / length if length > 1e-6 else None


def likenesses(maps: Mapping[str, NDArray[Any]]) -> dict[Names, float]:
    """Return the correlation of every two maps, where there is one."""
    pairs = {(a, b): likeness(maps[a], maps[b]) for a, b in combinations(maps, 2)}
    return {names: value for names, value in pairs.items() if value is not None}


def told(found: Mapping[Names, float], *, what: str) -> list[str]:
    """Return for people how alike maps are: a line for a pair, the extremes of many, and a warning where it is much.

    Parameters
    ----------
    found : mapping of two names to a correlation
    what : str
        What the maps are of, such as ``classes at layer2``.
    """
    if not found:
        return []
    ordered = sorted(found.items(), key=lambda item: item[1])
    (least, low), (most, high) = ordered[0], ordered[-1]
    if len(ordered) <= 3:
        line = f"correlation of {what}: " + ", ".join(f"{a} and {b} {value:.2f}" for (a, b), value in found.items())
    else:
        line = f"correlation of {what}: {low:.2f} ({_pair(least)}) to {high:.2f} ({_pair(most)})"
    alike = [names for names, value in ordered if value >= ALIKE]
    if alike:
        all_do = "they" if len(ordered) == 1 else "all"
        line += f"; {all_do if len(alike) == len(ordered) else _listed(alike)} hardly differ"
    return [line]


def _pair(names: Names) -> str:
    return f"{names[0]} and {names[1]}"


def _listed(pairs: Sequence[Names]) -> str:
    shown = ", ".join(_pair(names) for names in pairs[:3])
    return f"{shown} and {len(pairs) - 3} more" if len(pairs) > 3 else shown
