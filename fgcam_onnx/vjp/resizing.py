"""VJP of Resize."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FgcamError
from ..graph.value import Value
from .rule import Rules, static
from .separable import apply_along, identity


def resize_x(
    g: Value,
    y: Value,
    x: Value,
    roi: Value | None = None,
    scales: Value | None = None,
    sizes: Value | None = None,
    *,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Value:
    """Apply the transposed interpolation along each axis that changes; equal sizes are what runtimes copy."""
    if x.shape == y.shape and None not in x.shape:
        return g
    over = [a % x.rank for a in axes] if axes is not None else list(range(x.rank))
    for name, parameter in (("scales", scales), ("roi", roi)):
        if parameter is not None and parameter.constant is None:
            raise FgcamError(f"a Resize with computed {name} has no gradient rule")
    given, box = (p.constant.ravel() if p is not None and p.constant is not None else None for p in (scales, roi))
    ratios = {a: float(given[i]) for i, a in enumerate(over)} if given is not None and given.size else {}
    cropped = roi is not None and coordinate_transformation_mode == "tf_crop_and_resize"
    box = box if cropped else None
    leading = _leading(x, over, sizes, keep_aspect_ratio_policy)
    attrs = {
        "antialias": antialias or None,
        "coordinate_transformation_mode": coordinate_transformation_mode,
        "cubic_coeff_a": cubic_coeff_a,
        "exclude_outside": exclude_outside or None,
        "mode": mode,
        "nearest_mode": nearest_mode,
    }
    if leading is not None:
        attrs["keep_aspect_ratio_policy"] = keep_aspect_ratio_policy
    # where channels come last, ONNX Runtime interpolates cubically by another kernel
    first = 1 if x.rank == 4 and (x.shape[1] != y.shape[1] or ratios.get(1, 1.0) != 1) else 2
    if first == 1 and cropped and (mode == "cubic" or antialias):
        raise FgcamError(
            "a Resize to a crop, cubic or antialiased, of a tensor with its channels last has no gradient rule: "
            "ONNX Runtime puts extrapolation_value in places that are not outside"
        )
    matrices = {}
    for i, a in enumerate(over):
        kept = x.shape[a] == y.shape[a] or not (isinstance(x.shape[a], int) or isinstance(y.shape[a], int))
        if kept and ratios.get(a, 1.0) == 1.0 and (leading is None or leading[0] == leading[1]):
            continue
        ends = (float(box[i]), float(box[len(over) + i])) if box is not None and box.size else None
        wanted = int(sizes.constant.ravel()[i]) if leading is not None and sizes is not None else None  # type: ignore[union-attr]
        matrices[a] = _resized(
            g, static([x.shape[a], y.shape[a]]), first, ends, ratios.get(a), leading=leading, wanted=wanted, **attrs
        )
    return apply_along(g, matrices)


def _leading(x: Value, over: Sequence[int], sizes: Value | None, policy: str) -> tuple[int, int] | None:
    """Return from what size to what size the axis goes whose scale is that of all; None where each has its own."""
    if policy == "stretch" or sizes is None:
        return None
    if sizes.constant is None:
        raise FgcamError(f"a Resize with computed sizes and keep_aspect_ratio_policy={policy!r} has no gradient rule")
    ends = [(size, int(w)) for size, w in zip(static([x.shape[a] for a in over]), sizes.constant.ravel(), strict=True)]
    return (min if policy == "not_larger" else max)(ends, key=lambda end: end[1] / end[0])


def _resized(
    g: Value,
    sizes: Sequence[int],
    first: int,
    ends: tuple[float, float] | None,
    ratio: float | None,
    *,
    leading: tuple[int, int] | None,
    wanted: int | None,
    **attrs: Any,
) -> Value:
    """Return the (size, out) matrix of Resize along one axis.

    It is the second of two of four, from ``first`` on. The one before it changes its size, too, since nothing is done
    where no size changes, or has the scale that the policy gives to all.
    """
    e, (size, out) = g.emitter, sizes
    high, higher = leading or (1, 2)

    def placed(pair: Sequence[float], around: Sequence[float], dtype: type) -> NDArray[Any]:
        return np.array([*around[:first], *pair, *around[first:]], dtype)

    units = identity(g, size, out, height=high)
    if first == 1:
        units = units.transpose([0, 2, 3, 1])
    roi = scales = new = None
    if leading:
        attrs["axes"] = [first, first + 1]
    if ends is not None:
        around = [] if leading else [0, 0]
        box = [placed((0, ends[0]), around, np.float32), placed((1, ends[1]), [1] * len(around), np.float32)]
        roi = e.constant(np.concatenate(box))
    if ratio is not None:
        scales = e.constant(placed((2, ratio), (1, 1), np.float32))
    elif leading and wanted is not None:
        new = e.ints([higher, wanted])
    else:
        new = e.constant(placed((higher, out), (size, 1), np.int64))
    tried = e.emit("Resize", units, roi, scales, new, **attrs)
    middle = static(tried.shape[first : first + 1])[0] // 2
    return e.emit("Gather", tried, e.ints([middle]), axis=first).reshape((size, out))


RULES: Rules = {"Resize": (resize_x,)}
