"""VJPs of the operators that multiply by weights: Conv, ConvTranspose, Gemm, MatMul, Einsum."""

from __future__ import annotations

import string
from collections.abc import Sequence

import numpy as np

from ..graph.value import Array, Value
from .rule import EachInput, Rules, static

FEW_CHANNELS = 8
"""Below this many channels a blocked convolution kernel does not pay, and ConvTranspose is as fast."""


def conv_x(
    g: Value,
    y: Value,
    x: Value,
    w: Value,
    b: Value | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Value:
    """Return the adjoint of a convolution.

    With stride 1 it is a convolution with the kernel flipped and its channels swapped, which runtimes
    compute faster than ConvTranspose; else ConvTranspose, padded to the size of ``x``.
    """
    size, out, kernel = _space(x), _space(g), _space(w)
    n = len(size)
    stride, dilation = list(strides or [1] * n), list(dilations or [1] * n)
    pad = list(pads or [0] * 2 * n)
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    (channels,) = static(x.shape[1:2])
    swappable = all(s == 1 for s in stride) and all(p <= reach[i % n] for i, p in enumerate(pad))
    if swappable and (channels >= FEW_CHANNELS or group > 1):
        mirrored = [reach[i % n] - p for i, p in enumerate(pad)]
        flipped = flip_kernel(w, group=group)
        return g.emitter.emit("Conv", g, flipped, pads=mirrored, dilations=dilation, group=group)
    covered = [(o - 1) * s + r + 1 for o, s, r in zip(out, stride, reach, strict=True)]
    missing = [i + pad[a] + pad[n + a] - covered[a] for a, i in enumerate(size)]
    if any(m < 0 or m >= max(stride[a], dilation[a]) for a, m in enumerate(missing)):
        return _conv_x_cropped(g, w, size, covered, pad, stride, dilation, group)
    return g.emitter.emit(
        "ConvTranspose",
        g,
        w,
        pads=pad,
        strides=stride,
        dilations=dilation,
        group=group,
        output_padding=missing,
    )


def _conv_x_cropped(
    g: Value,
    w: Value,
    size: Sequence[int],
    covered: Sequence[int],
    pad: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    group: int,
) -> Value:
    """Return the adjoint where the last window leaves out more than ``output_padding`` can say."""
    n = len(size)
    full = g.emitter.emit("ConvTranspose", g, w, strides=list(stride), dilations=list(dilation), group=group)
    begin = [-p for p in pad[:n]]
    end = [i + pad[a] - covered[a] for a, i in enumerate(size)]
    return g.emitter.emit("Pad", full, g.emitter.ints([0, 0, *begin, 0, 0, *end]))


def conv_w(
    g: Value,
    y: Value,
    x: Value,
    w: Value,
    b: Value | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Value:
    """Return the convolution of ``x`` with ``g``: batch and channels, stride and dilation change places."""
    per_group, *kernel = static(w.shape[1:])
    batch, _, *space = x.shape
    stacked = x.reshape((batch, group, per_group, *space)).transpose((2, 1, 0, *range(3, 3 + len(space))))
    over = batch * group if isinstance(batch, int) else None
    e = g.emitter
    wide = e.emit(
        "Conv",
        e.reshape(stacked, (per_group, over, *space)),
        swapped_front(g),
        pads=pads,
        strides=dilations,
        dilations=strides,
        group=group,
    )
    axes = list(range(2, 2 + len(kernel)))
    return swapped_front(e.emit("Slice", wide, e.ints([0] * len(axes)), e.ints(kernel), e.ints(axes)))


def swapped_front(x: Value) -> Value:
    """Swap the first two axes."""
    return x.transpose((1, 0, *range(2, x.rank)))


def flip_kernel(w: Value, *, group: int) -> Value:
    """Mirror a kernel in space and swap its channels within each group."""
    out, per_group, *space = static(w.shape)
    e = w.emitter
    n = len(space)
    if group > 1:
        split = w.reshape((group, out // group, per_group, *space)).transpose((0, 2, 1, *range(3, 3 + n)))
        w = split.reshape((group * per_group, out // group, *space))
    else:
        w = w.transpose((1, 0, *range(2, 2 + n)))
    if all(k == 1 for k in space):
        return w
    axes = list(range(2, 2 + n))
    last, first = e.ints([-1] * n), e.ints([np.iinfo(np.int64).min] * n)
    return e.emit("Slice", w, last, first, e.ints(axes), last)


def _space(x: Value) -> list[int]:
    """Return the spatial sizes of ``x``."""
    return static(x.shape[2:])


def conv_transpose_x(
    g: Value,
    y: Value,
    x: Value,
    w: Value,
    b: Value | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Value:
    """Return the adjoint of a transposed convolution: the convolution with the same kernel."""
    g, around = _given_to_conv(
        g, x, w, auto_pad=auto_pad, dilations=dilations, output_padding=output_padding,
        output_shape=output_shape, pads=pads, strides=strides,
    )  # fmt: skip
    return g.emitter.emit("Conv", g, w, pads=around, strides=strides, dilations=dilations, group=group)


def _given_to_conv(
    g: Value,
    x: Value,
    w: Value,
    *,
    auto_pad: str,
    dilations: Sequence[int] | None,
    output_padding: Sequence[int] | None,
    output_shape: Sequence[int] | None,
    pads: Sequence[int] | None,
    strides: Sequence[int] | None,
) -> tuple[Value, list[int]]:
    """Return ``g`` without what no element of ``x`` reached, and the pads that make it as large as ``x``."""
    size, out, kernel = _space(x), _space(g), _space(w)
    n = len(size)
    stride, dilation = list(strides or [1] * n), list(dilations or [1] * n)
    total = [
        (i - 1) * s + d * (k - 1) + 1 - o for i, s, d, k, o in zip(size, stride, dilation, kernel, out, strict=True)
    ]
    if output_shape is not None or auto_pad not in ("NOTSET", "VALID"):
        shared = [max(0, t + p) for t, p in zip(total, output_padding or [0] * n, strict=True)]
        begin = [t // 2 if auto_pad == "SAME_UPPER" else t - t // 2 for t in shared]
    else:
        begin = list((pads or [0] * 2 * n)[:n]) if auto_pad == "NOTSET" else [0] * n
    end = [t - p for t, p in zip(total, begin, strict=True)]
    beyond = [min(0, p) for p in end]
    if any(beyond):
        g = g.emitter.emit("Pad", g, g.emitter.ints([0] * (4 + n) + beyond))
        end = [max(0, p) for p in end]
    return g, [*begin, *end]


def conv_transpose_w(
    g: Value,
    y: Value,
    x: Value,
    w: Value,
    b: Value | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Value:
    """Return what a convolution of ``g`` to ``x`` would give its kernel."""
    g, around = _given_to_conv(
        g, x, w, auto_pad=auto_pad, dilations=dilations, output_padding=output_padding,
        output_shape=output_shape, pads=pads, strides=strides,
    )  # fmt: skip
    return conv_w(x, y, g, w, dilations=dilations, group=group, pads=around, strides=strides)


def conv_bias(g: Value, *_: Array, **__: object) -> Value:
    """Sum ``g`` over the batch and space."""
    return g.sum([0, *range(2, g.rank)])


def gemm_a(
    g: Value, y: Value, a: Value, b: Value, c: Value | None = None,
    *, alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0,
) -> Value:  # fmt: skip
    """Return ``alpha * g @ B'^T``, transposed where A is."""
    e = g.emitter
    if transA:
        return e.emit("Gemm", b, g, alpha=alpha, transA=transB, transB=1)
    return e.emit("Gemm", g, b, alpha=alpha, transB=int(not transB))


def gemm_b(
    g: Value, y: Value, a: Value, b: Value, c: Value | None = None,
    *, alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0,
) -> Value:  # fmt: skip
    """Return ``alpha * A'^T @ g``, transposed where B is."""
    e = g.emitter
    if transB:
        return e.emit("Gemm", g, a, alpha=alpha, transA=1, transB=transA)
    return e.emit("Gemm", a, g, alpha=alpha, transA=int(not transA))


def gemm_c(
    g: Value, y: Value, a: Value, b: Value, c: Value,
    *, alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0,
) -> Value:  # fmt: skip
    """Return ``beta * g``; the caller sums broadcast axes away."""
    return g * beta


def matmul_a(g: Value, y: Value, a: Value, b: Value) -> Value:
    """Return ``g @ b^T``, vectors taken as matrices of one row or column."""
    e = g.emitter
    if b.rank == 1:
        return e.emit("Unsqueeze", g, e.ints([-1])) * b
    if a.rank == 1:
        return e.emit("Squeeze", e.emit("Unsqueeze", g, e.ints([-2])) @ swapped(b), e.ints([-2]))
    return g @ swapped(b)


def matmul_b(g: Value, y: Value, a: Value, b: Value) -> Value:
    """Return ``a^T @ g``, vectors taken as matrices of one row or column."""
    e = g.emitter
    if a.rank == 1:
        return e.emit("Unsqueeze", a, e.ints([-1])) * e.emit("Unsqueeze", g, e.ints([-2])) if b.rank > 1 else g * a
    if b.rank == 1:
        return e.emit("Squeeze", swapped(a) @ e.emit("Unsqueeze", g, e.ints([-1])), e.ints([-1]))
    return swapped(a) @ g


def swapped(x: Value) -> Value:
    """Swap the last two axes."""
    order = list(range(x.rank))
    order[-2:] = [order[-1], order[-2]]
    return x.transpose(order)


def einsum(i: int, g: Value, y: Value, *xs: Value, equation: str) -> Value:
    """Contract ``g`` with the other operands; indices that only operand ``i`` has are broadcast.

    An index that operand ``i`` repeats stands for a diagonal: each repetition gets a letter of its own,
    tied to the first by an identity matrix.
    """
    terms, result = spelled_out(equation, [x.rank for x in xs])
    e = g.emitter
    others = [(t, x) for k, (t, x) in enumerate(zip(terms, xs, strict=True)) if k != i]
    mine = ""
    free = (c for c in string.ascii_letters if c not in "".join([*terms, result]))
    for c, size in zip(terms[i], xs[i].shape, strict=True):
        mine += next(free) if c in mine else c
        if mine[-1] != c:
            others.append((c + mine[-1], e.constant(np.eye(*static([size]), dtype=g.dtype))))
    available = set(result).union(*(t for t, _ in others))
    kept = "".join(c for c in mine if c in available)
    spec = ",".join([result, *(t for t, _ in others)]) + "->" + kept
    ct = e.emit("Einsum", g, *(x for _, x in others), equation=spec)
    lost = [a for a, c in enumerate(mine) if c not in available]
    if lost:
        ct = e.expand_like(e.emit("Unsqueeze", ct, e.ints(lost)), xs[i])
    return ct


def spelled_out(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """Return the operands' and the result's letters, an ellipsis spelled out and the result made explicit."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    free = [c for c in string.ascii_letters if c not in equation]
    width = max((r - len(t) + 3 for t, r in zip(terms, ranks, strict=True) if "..." in t), default=0)
    dots = "".join(free[:width])
    spelled = [
        t.replace("...", dots[width - (r - len(t) + 3) :] if "..." in t else "")
        for t, r in zip(terms, ranks, strict=True)
    ]
    if not arrow:
        joined = "".join(terms).replace(".", "")
        right = ("..." if "..." in left else "") + "".join(sorted(c for c in set(joined) if joined.count(c) == 1))
    return spelled, right.replace("...", dots)


RULES: Rules = {
    "Conv": (conv_x, conv_w, conv_bias),
    "ConvTranspose": (conv_transpose_x, conv_transpose_w, conv_bias),
    "Einsum": EachInput(einsum),
    "Gemm": (gemm_a, gemm_b, gemm_c),
    "MatMul": (matmul_a, matmul_b),
}
