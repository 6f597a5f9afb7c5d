"""Operators that onnx's interpreter refuses, computes in float32, or gets wrong, written plainly."""

from __future__ import annotations

import itertools
import math

import numpy as np
from onnx.reference.op_run import OpRun


class ConvTranspose(OpRun):
    """The interpreter's own raises for groups, and for an output shape without auto_pad."""

    op_domain = ""

    def _run(
        self, X, W, B=None, auto_pad=None, dilations=None, group=None, kernel_shape=None,
        output_padding=None, output_shape=None, pads=None, strides=None,
    ):  # fmt: skip
        n, group = X.ndim - 2, group or 1
        stride, dilation = strides or [1] * n, dilations or [1] * n
        extra, kernel = output_padding or [0] * n, W.shape[2:]
        full = [
            s * (i - 1) + e + (k - 1) * d + 1
            for s, i, e, k, d in zip(stride, X.shape[2:], extra, kernel, dilation, strict=True)
        ]
        same = auto_pad in ("SAME_UPPER", "SAME_LOWER")
        if same and output_shape is None:
            output_shape = [i * s for i, s in zip(X.shape[2:], stride, strict=True)]
        if output_shape is not None:
            total = [f - o for f, o in zip(full, output_shape, strict=True)]
            begin = [t // 2 if auto_pad == "SAME_UPPER" else t - t // 2 for t in total]
            end = [t - b for t, b in zip(total, begin, strict=True)]
        else:
            begin, end = (pads or [0] * 2 * n)[:n], (pads or [0] * 2 * n)[n:]
        x = X.reshape(X.shape[0], group, -1, *X.shape[2:])
        w = W.reshape(group, -1, *W.shape[1:])
        y = np.zeros((X.shape[0], group, W.shape[1], *full), X.dtype)
        for at in itertools.product(*map(range, kernel)):
            where = tuple(
                slice(k * d, k * d + s * (i - 1) + 1, s)
                for k, d, s, i in zip(at, dilation, stride, X.shape[2:], strict=True)
            )
            y[(..., *where)] += np.einsum("ngc...,gco->ngo...", x, w[(..., *at)])
        y = y.reshape(X.shape[0], -1, *full)
        kept = tuple(slice(max(0, b), f - max(0, e)) for b, f, e in zip(begin, full, end, strict=True))
        y = y[(..., *kept)]
        y = np.pad(y, [(0, 0), (0, 0), *((max(0, -b), max(0, -e)) for b, e in zip(begin, end, strict=True))])
        return (y if B is None else y + B.reshape(-1, *[1] * n),)


class Erf(OpRun):
    """The interpreter's own returns float32."""

    op_domain = ""

    def _run(self, x):
        return (_erf(x),)


class GatherElements(OpRun):
    """The interpreter's own wants as many indices as elements along every other axis."""

    op_domain = ""

    def _run(self, x, indices, axis=None):
        y = np.empty(indices.shape, x.dtype)
        for at in np.ndindex(indices.shape):
            y[at] = x[(*at[: axis % x.ndim], indices[at], *at[axis % x.ndim + 1 :])]
        return (y,)


class Gelu(OpRun):
    """The interpreter expands it, with its own Erf."""

    op_domain = ""

    def _run(self, x, approximate=None):
        if approximate == "tanh":
            return (0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),)
        return (0.5 * x * (1 + _erf(x / math.sqrt(2))),)


class GridSample(OpRun):
    """The interpreter's own computes places in float32."""

    op_domain = ""

    def _run(self, x, grid, align_corners=None, mode=None, padding_mode=None):
        height, width = x.shape[2:]
        size = np.array([width, height], grid.dtype)
        at = (grid + 1) / 2 * (size - 1) if align_corners else ((grid + 1) * size - 1) / 2
        at = np.clip(at, 0, size - 1) if padding_mode == "border" else at
        low = np.floor(at).astype(int)
        y = np.zeros((*x.shape[:2], *grid.shape[1:3]), x.dtype)
        for n, i, j in np.ndindex(grid.shape[:3]):
            for right, down in itertools.product((0, 1), repeat=2):
                column, row = low[n, i, j] + (right, down)
                if 0 <= column < width and 0 <= row < height:
                    part = at[n, i, j] - low[n, i, j]
                    weight = (part[0] if right else 1 - part[0]) * (part[1] if down else 1 - part[1])
                    y[n, :, i, j] += weight * x[n, :, row, column]
        return (y,)


class GlobalMaxPool(OpRun):
    """The interpreter's own loses an axis where there is not exactly two of space."""

    op_domain = ""

    def _run(self, x):
        return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)


class GroupNormalization(OpRun):
    """The interpreter expands it, and computes its statistics in float32."""

    op_domain = ""

    def _run(self, x, scale, bias, epsilon=None, num_groups=None, stash_type=None):
        grouped = x.reshape(x.shape[0], num_groups, -1)
        hat = (grouped - grouped.mean(2, keepdims=True)) / np.sqrt(grouped.var(2, keepdims=True) + epsilon)
        channels = (-1, *[1] * (x.ndim - 2))
        return (hat.reshape(x.shape) * scale.reshape(channels) + bias.reshape(channels),)


class LRN(OpRun):
    """The interpreter's own loops over the batch instead of the channels."""

    op_domain = ""

    def _run(self, x, alpha=None, beta=None, bias=None, size=None):
        total = np.zeros_like(x)
        for c in range(x.shape[1]):
            first, last = max(0, c - (size - 1) // 2), c + size // 2 + 1
            total[:, c] = (x[:, first:last] ** 2).sum(axis=1)
        return (x / (bias + alpha / size * total) ** beta,)


class LpNormalization(OpRun):
    """The interpreter's own forgets the absolute value where p is 1."""

    op_domain = ""

    def _run(self, x, axis=None, p=None):
        norm = np.linalg.norm(x, ord=p, axis=axis, keepdims=True)
        return (np.divide(x, norm, out=np.zeros_like(x), where=norm != 0),)


class MaxPool(OpRun):
    """The interpreter's own errs with asymmetric pads, and where strides are left out."""

    op_domain = ""

    def _run(
        self, x, auto_pad=None, ceil_mode=None, dilations=None, kernel_shape=None, pads=None,
        storage_order=None, strides=None,
    ):  # fmt: skip
        n, space = x.ndim - 2, x.shape[2:]
        stride, dilation, pad = strides or [1] * n, dilations or [1] * n, list(pads or [0] * 2 * n)
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            both = [(math.ceil(i / s) - 1) * s + k - i for i, s, k in zip(space, stride, kernel_shape, strict=True)]
            begin = [b // 2 if auto_pad == "SAME_UPPER" else (b + 1) // 2 for b in both]
            pad = [*begin, *(b - a for a, b in zip(begin, both, strict=True))]
        reach = [(k - 1) * d + 1 for k, d in zip(kernel_shape, dilation, strict=True)]
        rounded = math.ceil if ceil_mode else math.floor
        out = [rounded((space[a] + pad[a] + pad[n + a] - reach[a]) / stride[a]) + 1 for a in range(n)]
        out = [o - ((o - 1) * stride[a] >= space[a] + pad[a]) for a, o in enumerate(out)]
        need = [(o - 1) * s + r for o, s, r in zip(out, stride, reach, strict=True)]
        ends = [max(0, need[a] - pad[a] - space[a]) for a in range(n)]
        widths = [(0, 0), (0, 0), *zip(pad[:n], ends, strict=True)]
        wide = np.pad(x, widths, constant_values=-np.inf)
        places = np.pad(np.arange(x.size).reshape(x.shape), widths, constant_values=-1)
        spans = [
            (
                ...,
                *(
                    slice(k * d, k * d + (o - 1) * s + 1, s)
                    for k, d, o, s in zip(at, dilation, out, stride, strict=True)
                ),
            )
            for at in itertools.product(*map(range, kernel_shape))
        ]
        seen = np.stack([wide[at] for at in spans])
        first = seen.argmax(axis=0)[None]
        y = np.take_along_axis(seen, first, 0)[0]
        where = np.take_along_axis(np.stack([places[at] for at in spans]), first, 0)[0]
        return (y, where) if len(self.output) > 1 else (y,)


class Pad(OpRun):
    """The interpreter's own refuses negative pads."""

    op_domain = ""

    def _run(self, x, pads, value=None, axes=None, mode=None):
        axes = range(x.ndim) if axes is None else axes
        widths = np.zeros((x.ndim, 2), int)
        for i, a in enumerate(axes):
            widths[a] = pads[i], pads[len(pads) // 2 + i]
        fill = {"constant_values": value.item() if value is not None else 0} if mode == "constant" else {}
        wide = np.pad(x, np.maximum(widths, 0), mode, **fill)
        return (wide[tuple(slice(max(0, -b), d - max(0, -e)) for (b, e), d in zip(widths, wide.shape, strict=True))],)


class RoiAlign(OpRun):
    """The interpreter's own computes in float32."""

    op_domain = ""

    def _run(
        self, x, rois, images, coordinate_transformation_mode=None, mode=None, output_height=None, output_width=None,
        sampling_ratio=None, spatial_scale=None,
    ):  # fmt: skip
        assert mode == "avg"
        half = coordinate_transformation_mode == "half_pixel"
        height, width = x.shape[2:]
        y = np.zeros((len(rois), x.shape[1], output_height, output_width), x.dtype)
        for k, (x0, y0, x1, y1) in enumerate(rois * spatial_scale - 0.5 * half):
            tall, wide = (y1 - y0, x1 - x0) if half else (max(y1 - y0, 1), max(x1 - x0, 1))
            for i, j in np.ndindex(output_height, output_width):
                for a, b in np.ndindex(sampling_ratio, sampling_ratio):
                    down = y0 + tall / output_height * (i + (a + 0.5) / sampling_ratio)
                    across = x0 + wide / output_width * (j + (b + 0.5) / sampling_ratio)
                    if not (-1 <= down <= height and -1 <= across <= width):
                        continue
                    down, across = min(max(down, 0), height - 1), min(max(across, 0), width - 1)
                    top, left = int(down), int(across)
                    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
                    low, part = down - top, across - left
                    y[k, :, i, j] += (
                        (1 - low) * (1 - part) * x[images[k], :, top, left]
                        + (1 - low) * part * x[images[k], :, top, right]
                        + low * (1 - part) * x[images[k], :, bottom, left]
                        + low * part * x[images[k], :, bottom, right]
                    ) / sampling_ratio**2
        return (y,)


class ScatterElements(OpRun):
    """The interpreter's own wants as many indices as elements along every other axis."""

    op_domain = ""

    def _run(self, x, indices, updates, axis=None, reduction=None):
        y = x.copy()
        into = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}.get(reduction)
        for at in np.ndindex(indices.shape):
            to = (*at[: axis % x.ndim], indices[at], *at[axis % x.ndim + 1 :])
            y[to] = updates[at] if into is None else into(y[to], updates[at])
        return (y,)


def _erf(x):
    return np.vectorize(math.erf, otypes=[x.dtype])(x)


NEW_OPS = [
    ConvTranspose,
    Erf,
    GatherElements,
    Gelu,
    GlobalMaxPool,
    GridSample,
    GroupNormalization,
    LRN,
    LpNormalization,
    MaxPool,
    Pad,
    RoiAlign,
    ScatterElements,
]
