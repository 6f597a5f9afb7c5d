"""Settings of the operators that look through windows: resizing, pooling, convolution."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from linear import Setting

Rng = np.random.Generator

COORDINATES = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
)  # fmt: skip
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
MODES: tuple[dict[str, Any], ...] = (
    *({"mode": "nearest", "nearest_mode": n} for n in NEAREST),
    *({"mode": m} for m in ("linear", "cubic")),
    {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1},
    *({"mode": m, "antialias": 1, "exclude_outside": e} for m in ("linear", "cubic") for e in (0, 1)),
)
SCALES = (0.3, 0.35, 0.5, 0.6, 0.7, 0.75, 0.9, 1.0, 1.1, 1.2, 1.25, 1.4, 1.5, 1.6, 1.75, 2.0, 2.3, 2.5, 3.0, 3.3)
SIZES = range(1, 14)
AUTO = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


def floats(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def crop(coordinates: str, rank: int, box: tuple[float, float] = (0.15, 0.9)) -> np.ndarray | None:
    """Return the box of a crop along the last axis."""
    if coordinates != "tf_crop_and_resize":
        return None
    return floats(*[0] * (rank - 1), box[0], *[1] * (rank - 1), box[1])


def resize_by_scale() -> Iterator[Setting]:
    for coordinates, mode, size, scale in itertools.product(COORDINATES, MODES, SIZES, SCALES):
        if np.float32(scale) * np.float32(size) >= 1:
            attrs = mode | {"coordinate_transformation_mode": coordinates}
            yield Setting("Resize", (1, 1, 1, size), (crop(coordinates, 4), floats(1, 1, 1, scale)), attrs)


def resize_to_size() -> Iterator[Setting]:
    for coordinates, mode, size, out in itertools.product(COORDINATES, MODES, SIZES, (*SIZES, 17, 20)):
        attrs = mode | {"coordinate_transformation_mode": coordinates}
        yield Setting("Resize", (1, 1, 1, size), (crop(coordinates, 4), None, ints(1, 1, 1, out)), attrs)


def resize_drawn(rng: Rng) -> Setting:
    """Draw a resizing of one to three axes, in any layout that the runtime may know."""
    coordinates, mode = rng.choice(COORDINATES), dict(rng.choice(MODES))
    n = int(rng.integers(1, 4))
    space = rng.integers(1, 6 if n < 3 else 4, n)
    rank = n if rng.random() < 0.3 else n + 2
    shape = [int(s) for s in space] if rank == n else [1, 2, *map(int, space)]
    over = list(range(rank - n, rank))
    if rank == 4 and rng.random() < 0.2:
        shape, over = [shape[0], *shape[2:], shape[1]], [1, 2]
    attrs: dict[str, Any] = mode | {"coordinate_transformation_mode": str(coordinates)}
    picked = over if rng.random() < 0.5 else list(range(rank))
    if picked is over:
        attrs["axes"] = picked if rng.random() < 0.5 else [a - rank for a in picked]
    roi = None
    if coordinates == "tf_crop_and_resize":
        begin, end = rng.uniform(-0.1, 0.4, rank), rng.uniform(0.6, 1.1, rank)
        inner = [begin[a] if a in over else 0 for a in picked], [end[a] if a in over else 1 for a in picked]
        roi = floats(*inner[0], *inner[1])
        attrs["extrapolation_value"] = float(rng.integers(0, 3))
    if rng.random() < 0.5:
        factors = dict(zip(over, rng.choice(SCALES if n < 3 else SCALES[:14], n), strict=True))
        return Setting("Resize", tuple(shape), (roi, floats(*(factors.get(a, 1.0) for a in picked))), attrs)
    sizes = {a: int(rng.integers(1, 9 if n < 3 else 5)) for a in over}
    attrs["keep_aspect_ratio_policy"] = str(rng.choice(["stretch", "stretch", "not_larger", "not_smaller"]))
    return Setting("Resize", tuple(shape), (roi, None, ints(*(sizes.get(a, shape[a]) for a in picked))), attrs)


def resize_of_old(rng: Rng) -> Setting:
    """Draw a Resize or Upsample of an older opset."""
    opset = int(rng.choice([7, 9, 10, 11, 13]))
    mode = str(rng.choice(["nearest", "linear"]))
    shape = (1, 2, *map(int, rng.integers(1, 6, 2)))
    factors = rng.choice(SCALES if opset >= 10 else [s for s in SCALES if s >= 1], 2)
    scales = floats(1, 1, *factors)
    if opset == 7:
        return Setting("Upsample", shape, (), {"mode": mode, "scales": scales.tolist()}, opset)
    if opset == 9:
        return Setting("Upsample", shape, (scales,), {"mode": mode}, opset)
    if opset == 10:
        return Setting("Resize", shape, (scales,), {"mode": mode}, opset)
    coordinates = str(rng.choice(COORDINATES[:-1]))
    attrs = {"mode": mode, "coordinate_transformation_mode": coordinates, "nearest_mode": str(rng.choice(NEAREST))}
    return Setting("Resize", shape, (floats(*[0, 1] * 4), scales), attrs, opset)


def pool_on_one_axis() -> Iterator[Setting]:
    """Yield every setting of a pool along one axis, for small windows."""
    for op, size, kernel, stride, dilation, ceil, auto, opset in itertools.product(
        ("AveragePool", "MaxPool", "LpPool"),
        (1, 2, 3, 5, 7, 8),
        (1, 2, 3, 4),
        (1, 2, 3),
        (1, 2),
        (0, 1),
        AUTO,
        (18, 22),
    ):
        for pads in ((0, 0), (1, 1), (0, 1), (2, 0)) if auto == "NOTSET" else ((0, 0),):
            for include in (0, 1) if op == "AveragePool" else (0,):
                attrs: dict[str, Any] = {"kernel_shape": [kernel], "strides": [stride], "auto_pad": auto}
                attrs |= {"pads": list(pads)} if any(pads) else {}
                attrs |= {"ceil_mode": 1} if ceil else {}
                attrs |= {"dilations": [dilation]} if dilation > 1 else {}
                attrs |= {"count_include_pad": 1} if include else {}
                attrs |= {"p": 1} if op == "LpPool" else {}
                yield Setting(op, (1, 1, size), (), attrs, opset, pieces=op != "AveragePool")


def pool_drawn(rng: Rng) -> Setting:
    """Draw a pool over one to three axes."""
    op = str(rng.choice(["AveragePool", "AveragePool", "MaxPool", "LpPool"]))
    n = int(rng.integers(1, 4))
    shape = (1, 2, *(int(s) for s in rng.integers(1, 7 if n < 3 else 4, n)))
    attrs = window(rng, n, largest=4)
    attrs |= {"ceil_mode": int(rng.integers(2))} if rng.random() < 0.6 else {}
    attrs |= {"count_include_pad": int(rng.integers(2))} if op == "AveragePool" else {}
    attrs |= {"p": 1} if op == "LpPool" else {}
    attrs |= {"storage_order": 1} if op == "MaxPool" and rng.random() < 0.3 else {}
    opset = int(rng.choice([7, 10, 11, 12, 18, 19, 22]))
    return Setting(op, shape, (), attrs, opset, pieces=op != "AveragePool")


def window(rng: Rng, n: int, *, largest: int) -> dict[str, Any]:
    """Draw kernel, strides, dilations and pads along ``n`` axes."""
    kernel = [int(k) for k in rng.integers(1, largest + 1, n)]
    attrs: dict[str, Any] = {"kernel_shape": kernel}
    if rng.random() < 0.7:
        attrs["strides"] = [int(s) for s in rng.integers(1, 4, n)]
    if rng.random() < 0.3:
        attrs["dilations"] = [int(d) for d in rng.integers(1, 3, n)]
    auto = str(rng.choice(AUTO))
    if auto != "NOTSET":
        attrs["auto_pad"] = auto
    elif rng.random() < 0.7:
        attrs["pads"] = [int(rng.integers(0, kernel[i % n])) for i in range(2 * n)]
    return attrs


def conv_drawn(rng: Rng) -> Setting:
    """Draw a convolution, plain or transposed, its weights being whole numbers."""
    op = str(rng.choice(["Conv", "ConvTranspose"]))
    n, group = int(rng.integers(1, 4)), int(rng.choice([1, 1, 2, 3]))
    channels = group * int(rng.integers(1, 3 if n < 3 else 2))
    if rng.random() < 0.2:
        channels = group * 8
    made = group * int(rng.integers(1, 3))
    attrs = window(rng, n, largest=3)
    space = tuple(int(s) for s in rng.integers(1, 7 if n < 3 and channels < 8 else 4, n))
    kernel = attrs["kernel_shape"]
    if op == "Conv":
        w = rng.integers(-3, 4, (made, channels // group, *kernel))
        if "pads" in attrs:
            attrs["pads"] = [p + int(rng.integers(0, 3)) * (rng.random() < 0.2) for p in attrs["pads"]]
    else:
        w = rng.integers(-3, 4, (channels, made // group, *kernel))
        larger = [
            max(s, d) for s, d in zip(attrs.get("strides", [1] * n), attrs.get("dilations", [1] * n), strict=True)
        ]
        if rng.random() < 0.4:
            attrs["output_padding"] = [int(rng.integers(0, m)) for m in larger]
        if rng.random() < 0.3:
            attrs["output_shape"] = [int(s * m + rng.integers(-1, 3)) for s, m in zip(space, larger, strict=True)]
    if group > 1:
        attrs["group"] = group
    rest: tuple[np.ndarray, ...] = (w.astype(np.float32),)
    if rng.random() < 0.3:
        rest = (*rest, rng.integers(-3, 4, made).astype(np.float32))
    return Setting(op, (1, channels, *space), rest, attrs, int(rng.choice([11, 18, 22])))


def global_pool_drawn(rng: Rng) -> Setting:
    op = str(rng.choice(["GlobalAveragePool", "GlobalMaxPool"]))
    shape = (1, 2, *(int(s) for s in rng.integers(1, 5, int(rng.integers(1, 4)))))
    return Setting(op, shape, opset=int(rng.choice([7, 18, 22])), pieces=op == "GlobalMaxPool")


GRIDS = {"pool on one axis": pool_on_one_axis, "resize by scale": resize_by_scale, "resize to size": resize_to_size}
DRAWN = {
    "conv": conv_drawn,
    "global pool": global_pool_drawn,
    "pool": pool_drawn,
    "resize": resize_drawn,
    "resize of old": resize_of_old,
}
