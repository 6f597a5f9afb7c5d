"""Settings of the operators that move, reduce and combine elements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from linear import Setting
from settings_windows import Rng, ints


def shape_of(rng: Rng, low: int = 1, high: int = 4, *, rank: int | None = None) -> tuple[int, ...]:
    """Draw a shape of few elements."""
    return tuple(int(d) for d in rng.integers(low, high + 1, rank or int(rng.integers(1, 5))))


def some_axes(rng: Rng, rank: int, *, most: int | None = None) -> list[int]:
    """Draw axes, some of them counted from the end."""
    count = int(rng.integers(1, (most or rank) + 1))
    return [int(a) - rank * int(rng.integers(2)) for a in rng.permutation(rank)[:count]]


def whole(rng: Rng, *shape: int) -> np.ndarray:
    return rng.integers(-3, 4, shape).astype(np.float32)


def pad(rng: Rng) -> Setting:
    shape = shape_of(rng)
    mode = str(rng.choice(["constant", "reflect", "edge", "wrap"]))
    over = some_axes(rng, len(shape)) if rng.random() < 0.5 else list(range(len(shape)))
    largest = [shape[a] - 1 if mode == "reflect" else 3 for a in over]
    low = -1 if rng.random() < 0.4 else 0
    pads = [
        int(rng.integers(max(low, -(shape[a] // 2)), m + 1))
        for _ in range(2)
        for a, m in zip(over, largest, strict=True)
    ]
    value = np.array(float(rng.integers(3)), np.float32) if rng.random() < 0.4 else None
    axes = ints(*over) if over != list(range(len(shape))) else None
    return Setting("Pad", shape, (ints(*pads), value, axes), {"mode": mode})


def pad_of_old(rng: Rng) -> Setting:
    shape = shape_of(rng, 2)
    mode = str(rng.choice(["constant", "reflect", "edge"]))
    pads = [int(p) for p in rng.integers(0, 2, 2 * len(shape))]
    if rng.random() < 0.5:
        return Setting("Pad", shape, (), {"mode": mode, "pads": pads, "value": 0.5}, 7)
    return Setting("Pad", shape, (ints(*pads),), {"mode": mode}, 11)


def cut(rng: Rng) -> Setting:
    shape = shape_of(rng, 1, 6)
    over = some_axes(rng, len(shape))
    steps = [int(rng.choice([1, 1, 2, 3, -1, -2])) for _ in over]
    ends = (np.iinfo(np.int64).min, np.iinfo(np.int64).max)
    starts = [int(rng.integers(-shape[a] - 1, shape[a] + 2)) for a in over]
    stops = [
        ends[s > 0] if rng.random() < 0.3 else int(rng.integers(-shape[a] - 1, shape[a] + 2))
        for a, s in zip(over, steps, strict=True)
    ]
    if rng.random() < 0.2:
        plain = sorted({a % len(shape) for a in over})
        attrs = {
            "axes": plain,
            "starts": starts[: len(plain)],
            "ends": [min(s, 2**31 - 1) for s in stops[: len(plain)]],
        }
        return Setting("Slice", shape, (), attrs, 9)
    return Setting("Slice", shape, (ints(*starts), ints(*stops), ints(*over), ints(*steps)))


def gather(rng: Rng) -> Setting:
    shape = shape_of(rng)
    axis = some_axes(rng, len(shape), most=1)[0]
    picked = rng.integers(-shape[axis], shape[axis], shape_of(rng, 1, 3, rank=int(rng.integers(0, 3)) or None)[:2])
    if rng.random() < 0.2:
        picked = np.asarray(picked.ravel()[0])
    return Setting("Gather", shape, (picked.astype(rng.choice([np.int32, np.int64])),), {"axis": axis})


def gather_elements(rng: Rng) -> Setting:
    shape = shape_of(rng)
    axis = some_axes(rng, len(shape), most=1)[0]
    wanted = [int(rng.integers(1, d + 1)) for d in shape]
    wanted[axis] = int(rng.integers(1, 5))
    return Setting("GatherElements", shape, (rng.integers(-shape[axis], shape[axis], wanted),), {"axis": axis})


def gather_nd(rng: Rng) -> Setting:
    shape = shape_of(rng)
    batch = int(rng.integers(0, len(shape)))
    depth = int(rng.integers(1, len(shape) - batch + 1))
    sizes = shape[batch : batch + depth]
    outer = (*shape[:batch], int(rng.integers(1, 4)))
    picked = np.stack([rng.integers(-d, d, outer) for d in sizes], axis=-1)
    return Setting("GatherND", shape, (picked,), {"batch_dims": batch})


def scatter_elements(rng: Rng) -> Setting:
    shape = shape_of(rng)
    axis = some_axes(rng, len(shape), most=1)[0]
    wanted = [int(rng.integers(1, d + 1)) for d in shape]
    places = np.argsort(
        rng.random((*wanted[: axis % len(shape)], shape[axis], *wanted[axis % len(shape) + 1 :])), axis=axis
    )
    indices = np.take(places, range(wanted[axis]), axis=axis)
    attrs = {"axis": axis} | ({"reduction": "add"} if rng.random() < 0.4 else {})
    if rng.random() < 0.5:
        return Setting("ScatterElements", shape, (indices, whole(rng, *indices.shape)), attrs)
    return Setting("ScatterElements", indices.shape, (whole(rng, *shape), indices), attrs, before=2)


def scatter_nd(rng: Rng) -> Setting:
    shape = shape_of(rng)
    depth = int(rng.integers(1, len(shape) + 1))
    cells = rng.permutation(int(np.prod(shape[:depth])))[: int(rng.integers(1, 4))]
    indices = np.stack(np.unravel_index(cells, shape[:depth]), axis=-1).astype(np.int64)
    updates = (len(cells), *shape[depth:])
    attrs = {"reduction": "add"} if rng.random() < 0.4 else {}
    if rng.random() < 0.5:
        return Setting("ScatterND", shape, (indices, whole(rng, *updates)), attrs)
    return Setting("ScatterND", updates, (whole(rng, *shape), indices), attrs, before=2)


def blocks(rng: Rng) -> Setting:
    b, c = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    space = shape_of(rng, 1, 2, rank=2)
    if rng.random() < 0.6:
        mode = {"mode": str(rng.choice(["DCR", "CRD"]))} if rng.random() < 0.7 else {}
        return Setting("DepthToSpace", (1, c * b * b, *space), (), {"blocksize": b} | mode, int(rng.choice([13, 18])))
    return Setting(
        "SpaceToDepth", (1, c, space[0] * b, space[1] * b), (), {"blocksize": b}, int(rng.choice([7, 13, 18]))
    )


def reduction(rng: Rng) -> Setting:
    """Draw a reduction; an axis may be named twice, once from the front and once from the end."""
    op = str(rng.choice(["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1"]))
    shape = shape_of(rng)
    attrs: dict[str, Any] = {"keepdims": int(rng.integers(2))} if rng.random() < 0.7 else {}
    axes: list[int] | None = some_axes(rng, len(shape)) if rng.random() < 0.8 else None
    if axes and rng.random() < 0.3:
        axes.append(axes[0] % len(shape) - (len(shape) if rng.random() < 0.5 else 0))
    opset = int(rng.choice([7, 11, 13, 18, 20]))
    pieces = op not in ("ReduceMean", "ReduceSum")
    if opset >= 18 or (op == "ReduceSum" and opset == 13):
        noop = {"noop_with_empty_axes": int(rng.integers(2))} if rng.random() < 0.5 else {}
        given = (None,) if axes is None else (ints(*axes) if rng.random() < 0.9 else ints(),)
        return Setting(op, shape, given if given[0] is not None else (), attrs | noop, opset, pieces=pieces)
    return Setting(op, shape, (), attrs | ({"axes": axes} if axes else {}), opset, pieces=pieces)


def cumulated(rng: Rng) -> Setting:
    shape = shape_of(rng)
    axis = np.array(some_axes(rng, len(shape), most=1)[0])
    attrs = {k: 1 for k in ("exclusive", "reverse") if rng.random() < 0.5}
    return Setting("CumSum", shape, (axis,), attrs)


def rearranged(rng: Rng) -> Setting:
    shape = shape_of(rng)
    rank, opset = len(shape), int(rng.choice([13, 18, 21]))
    axis = some_axes(rng, rank, most=1)[0]
    ones = [int(a) - rank * int(rng.integers(2)) for a in range(rank) if shape[a] == 1]
    tiled = ints(*rng.integers(1, 4, rank))
    options: list[Callable[[], Setting]] = [
        lambda: Setting("Transpose", shape, (), {"perm": [int(a) for a in rng.permutation(rank)]}, opset),
        lambda: Setting("Transpose", shape, (), {}, opset),
        lambda: Setting("Flatten", shape, (), {"axis": axis}, opset),
        lambda: Setting("Reshape", shape, (ints(-1, shape[-1]),), {}, opset),
        lambda: Setting("Reshape", shape, (ints(*[0] * rank, 1),), {}, opset),
        lambda: Setting("Squeeze", shape, (ints(*ones),) if ones else (), {}, opset),
        lambda: Setting("Unsqueeze", shape, (ints(*some_axes(rng, rank + 2, most=2)),), {}, opset),
        lambda: Setting("Expand", shape, (ints(2, *(d if rng.random() < 0.5 else 1 for d in shape)),), {}, opset),
        lambda: Setting("Expand", (1, *shape), (ints(3, *[1] * rank),), {}, opset),
        lambda: Setting("Tile", shape, (tiled,), {}, opset),
        lambda: Setting("Split", (4, *shape), (ints(1, 3),), {"axis": int(rng.choice([0, -rank - 1]))}, 13, outputs=2),
        lambda: Setting("Split", (5, *shape), (), {"num_outputs": 2}, 18, outputs=2),
        lambda: Setting(
            "Trilu", (2, 3, 4), (np.array(int(rng.integers(-3, 5))),), {"upper": int(rng.integers(2))}, opset
        ),
        lambda: Setting("Concat", shape, (whole(rng, *shape),), {"axis": axis}, opset, before=int(rng.integers(2))),
        lambda: Setting("Identity", shape, (), {}, opset),
    ]
    return options[int(rng.integers(len(options)))]()


def combined(rng: Rng) -> Setting:
    """Draw an operator of two operands, one of them constant and perhaps broadcast; or one that is linear in pieces."""
    shape, opset = shape_of(rng), int(rng.choice([14, 18, 21]))
    other = tuple(d if rng.random() < 0.6 else 1 for d in shape)[int(rng.integers(len(shape))) :]
    before = int(rng.integers(2))
    a, n = whole(rng, *other) + np.float32(0.25), int(rng.integers(1, 4))
    op = str(
        rng.choice(
            ["Add", "Sub", "Mul", "Div", "Sum", "Mean", "Max", "Min", "Where", "Clip", "Relu", "LeakyRelu", "PRelu"]
        )
    )
    options: Mapping[str, Callable[[], Setting]] = {
        "Div": lambda: Setting("Div", shape, (a,), {}, opset),
        "Max": lambda: Setting("Max", shape, (a,), {}, opset, pieces=True, before=before),
        "Min": lambda: Setting("Min", shape, (a,), {}, opset, pieces=True, before=before),
        "Where": lambda: Setting("Where", shape, (a > 0, a), {}, opset, before=1 + before),
        "Clip": lambda: Setting("Clip", shape, (np.float32(-n), np.float32(n)), {}, opset, pieces=True),
        "Relu": lambda: Setting("Relu", shape, (), {}, opset, pieces=True),
        "LeakyRelu": lambda: Setting("LeakyRelu", shape, (), {"alpha": 0.25}, opset, pieces=True),
        "PRelu": lambda: Setting("PRelu", shape, (a,), {}, opset, pieces=True),
    }
    return options[op]() if op in options else Setting(op, shape, (a,), {}, opset, before=before)


def multiplied(rng: Rng) -> Setting:
    op = str(rng.choice(["Gemm", "MatMul", "Einsum", "BatchNormalization", "TopK", "Col2Im", "Dropout"]))
    m, k, n = (int(d) for d in rng.integers(1, 5, 3))
    before = int(rng.integers(2))
    if op == "Gemm":
        ta, tb = (int(t) for t in rng.integers(0, 2, 2))
        sides = [
            (k, m) if ta else (m, k),
            (n, k) if tb else (k, n),
            [(m, n), (n,), (1, n), (m, 1), ()][int(rng.integers(5))],
        ]
        before = int(rng.integers(3))
        rest = [whole(rng, *s) for s in sides]
        rest.pop(before)
        attrs = {"transA": ta, "transB": tb, "alpha": 0.5, "beta": 2.0}
        return Setting("Gemm", tuple(sides[before]), tuple(rest), attrs, before=before)
    if op == "MatMul":
        stacks: tuple[tuple[int, ...], ...] = ((), (2,), (2, 1), (1, 3))
        left, right = ((*stacks[int(rng.integers(4))], *end) for end in ((m, k), (k, n)))
        if rng.random() < 0.3:
            left, right = ((k,), right) if rng.random() < 0.5 else (left, (k,))
        pair = [left, right]
        return Setting("MatMul", pair.pop(before), (whole(rng, *pair[0]),), before=before)
    if op == "Einsum":
        equation, *sides = [
            ("ij,jk->ik", (m, k), (k, n)), ("bij,bjk->bik", (2, m, k), (2, k, n)), ("ij,ij->i", (m, k), (m, k)),
            ("...ij,jk->...ik", (2, m, k), (k, n)), ("ij,kj", (m, k), (n, k)), ("i,j->ij", (m,), (n,)),
            ("ij,kl->jl", (m, k), (n, 2)),
        ][int(rng.integers(7))]  # fmt: skip
        shape = sides.pop(before)
        return Setting("Einsum", shape, (whole(rng, *sides[0]),), {"equation": equation}, before=before)
    if op == "BatchNormalization":
        scale = [whole(rng, k) for _ in range(3)] + [rng.integers(1, 5, k).astype(np.float32)]
        return Setting(op, (2, k, *shape_of(rng)[:2]), tuple(scale), {"epsilon": 0.25})
    if op == "TopK":
        shape = shape_of(rng)
        axis = some_axes(rng, len(shape), most=1)[0]
        attrs = {"axis": axis, "largest": int(rng.integers(2))}
        return Setting("TopK", shape, (ints(rng.integers(1, shape[axis] + 1)),), attrs, outputs=2, pieces=True)
    if op == "Col2Im":
        kernel, image = rng.integers(1, 3, 2), rng.integers(3, 6, 2)
        stride, dilation, pads = rng.integers(1, 3, 2), rng.integers(1, 3, 2), rng.integers(0, 2, 4)
        count = [
            (image[a] + pads[a] + pads[2 + a] - dilation[a] * (kernel[a] - 1) - 1) // stride[a] + 1 for a in (0, 1)
        ]
        attrs = {"strides": stride.tolist(), "dilations": dilation.tolist(), "pads": pads.tolist()}
        shape = (1, int(2 * kernel.prod()), int(np.prod(count)))
        return Setting(op, shape, (ints(*image), ints(*kernel)), attrs)
    return Setting("Dropout", (m, k), (np.array(0.5, np.float32),), {}, 13)


DRAWN: Mapping[str, Callable[[Rng], Setting]] = {
    "blocks": blocks, "combined": combined, "cumulated": cumulated, "gather": gather,
    "gather elements": gather_elements, "gather nd": gather_nd, "multiplied": multiplied, "pad": pad,
    "pad of old": pad_of_old, "rearranged": rearranged, "reduction": reduction,
    "scatter elements": scatter_elements, "scatter nd": scatter_nd, "slice": cut,
}  # fmt: skip
