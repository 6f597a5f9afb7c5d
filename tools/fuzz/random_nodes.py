"""Nodes with random attributes, drawn on the tensors of a growing net."""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto, helper
from random_nets import Net, UnfitError

SMOOTH = ("Sigmoid", "Tanh", "Softplus", "Erf", "Sin", "Cos", "Atan", "Asinh", "Neg", "Identity", "Softsign", "Exp")
KINKED = ("Relu", "Abs", "Elu", "Selu", "HardSwish", "HardSigmoid", "LeakyRelu", "Celu", "ThresholdedRelu", "Shrink")
ALPHAS = ("Elu", "LeakyRelu", "Celu", "HardSigmoid", "ThresholdedRelu")


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def elementwise(net: Net) -> None:
    op = net.some(*SMOOTH, *KINKED)
    attrs = {"alpha": float(net.rng.uniform(0.1, 1.5))} if op in ALPHAS and net.rng.random() < 0.5 else {}
    net.add(op, net.pick()[0], **attrs)


def bounded(net: Net) -> None:
    """Operators that are defined in part of the line only."""
    x = net.pick()[0]
    op = net.some("Log", "Sqrt", "Reciprocal", "Asin", "Acos", "Atanh", "Acosh", "Tan")
    if op in ("Log", "Sqrt", "Reciprocal"):
        (y,) = net.add("Softplus", x)
        net.add(op, net.add("Add", y, net.constant(np.float32(0.1)))[0])
    elif op == "Acosh":
        net.add(op, net.add("Add", net.add("Softplus", x)[0], net.constant(np.float32(1.1)))[0])
    else:
        net.add(op, net.add("Mul", net.add("Tanh", x)[0], net.constant(np.float32(0.9)))[0])


def clip(net: Net) -> None:
    low, high = sorted(net.rng.uniform(-1.5, 1.5, 2))
    ends = net.some((low, high), (low, None), (None, high))
    net.add("Clip", net.pick()[0], *("" if e is None else net.constant(np.float32(e)) for e in ends))


def binary(net: Net) -> None:
    x, shape = net.pick()
    op = net.some("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Pow", "PRelu", "Mod")
    others = [n for n, s in net.shapes.items() if s == shape or (len(s) == len(shape) and all(
        a == b or 1 in (a, b) for a, b in zip(s, shape, strict=True)))]  # fmt: skip
    y = net.some(*others)
    if op in ("Pow", "PRelu", "Mod") or net.rng.random() < 0.4:
        cut = net.whole(0, len(shape))
        y = net.constant(net.rng.uniform(0.5, 2, [d if net.rng.random() < 0.6 else 1 for d in shape[cut:]]))
    if op == "Pow":
        net.add(op, net.add("Softplus", x)[0], y)
        return
    if op == "Mod":
        net.add(op, x, y, fmod=1)
        return
    if op == "Div" and y in net.shapes:
        y = net.add("Add", net.add("Softplus", y)[0], net.constant(np.float32(0.2)))[0]
    pair = (x, y) if op in ("PRelu", "Div") or net.rng.random() < 0.6 else (y, x)
    if op in ("Max", "Min", "Sum", "Mean") and net.rng.random() < 0.4:
        net.add(op, *pair, x)
        return
    net.add(op, *pair)


def window(net: Net, side: tuple[int, ...]) -> dict[str, object]:
    """Draw kernel, strides, dilations and padding."""
    kernel = [net.whole(1, min(3, s)) for s in side]
    attrs: dict[str, object] = {"kernel_shape": kernel}
    if net.rng.random() < 0.5:
        attrs["strides"] = [net.whole(1, 3) for _ in side]
    auto = net.some("NOTSET", "NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
    if auto != "NOTSET":
        attrs["auto_pad"] = auto
    elif net.rng.random() < 0.6:
        attrs["pads"] = [net.whole(0, max(0, k - 1)) for _ in range(2) for k in kernel]
    if net.rng.random() < 0.25 and auto in ("NOTSET", "VALID"):
        attrs["dilations"] = [net.whole(1, 2) for _ in side]
    return attrs


def conv(net: Net) -> None:
    x, (_, c, *side) = net.pick(4, 3)
    attrs = window(net, tuple(side))
    group = net.some(1, 1, *(g for g in range(1, c + 1) if c % g == 0))
    width = group * net.whole(1, 3)
    bias = [net.weight(width)] if net.rng.random() < 0.5 else []
    net.add("Conv", x, net.weight(width, c // group, *attrs["kernel_shape"]), *bias, group=group, **attrs)


def transposed(net: Net) -> None:
    x, (_, c, *side) = net.pick(4, 3)
    attrs = window(net, tuple(side))
    group = net.some(1, *(g for g in range(1, c + 1) if c % g == 0))
    if "strides" in attrs and net.rng.random() < 0.4:
        attrs["output_padding"] = [net.whole(0, s - 1) for s in attrs["strides"]]
    net.add("ConvTranspose", x, net.weight(c, net.whole(1, 2), *attrs["kernel_shape"]), group=group, **attrs)


def pool(net: Net) -> None:
    x, (_, _, *side) = net.pick(4, 4, 3)
    op = net.some("MaxPool", "AveragePool", "LpPool")
    attrs = window(net, tuple(side))
    if net.rng.random() < 0.4 and not (op == "LpPool" and net.opset < 18):
        attrs["ceil_mode"] = 1
    if op == "AveragePool":
        attrs["count_include_pad"] = net.whole(0, 1)
    if op == "LpPool":
        attrs["p"] = net.whole(1, 3)
    if (op == "AveragePool" and net.opset < 19) or (op == "LpPool" and net.opset < 18):
        attrs.pop("dilations", None)
    net.add(op, x, **attrs)


def whole_pool(net: Net) -> None:
    net.add(net.some("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), net.pick(4, 3)[0])


def normalized(net: Net) -> None:
    x, (_, c, *_side) = net.pick(4, 3)
    way = net.some("BatchNormalization", "InstanceNormalization", "LayerNormalization", "LRN", "Lp", "Group", "Mean")
    if way == "BatchNormalization":
        rows = [net.weight(c), net.weight(c), net.weight(c), net.constant(net.rng.uniform(0.5, 2, c))]
        net.add(way, x, *rows, epsilon=float(net.some(1e-5, 1e-3)))
    elif way == "InstanceNormalization":
        net.add(way, x, net.weight(c), net.weight(c), epsilon=1e-3)
    elif way == "LayerNormalization" and net.opset >= 17:
        shape = net.shapes[x]
        axis = net.whole(1, len(shape) - 1)
        net.add(
            way,
            x,
            net.weight(*shape[axis:]),
            net.weight(*shape[axis:]),
            axis=net.some(axis, axis - len(shape)),
            epsilon=1e-3,
        )
    elif way == "LRN":
        net.add(way, x, size=net.some(1, 2, 3), alpha=0.1, beta=0.6, bias=1.2)
    elif way == "Lp":
        net.add("LpNormalization", x, axis=net.whole(1, len(net.shapes[x]) - 1), p=net.whole(1, 2))
    elif way == "Group" and net.opset >= 21:
        groups = net.some(*(g for g in range(1, c + 1) if c % g == 0))
        net.add("GroupNormalization", x, net.weight(c), net.weight(c), num_groups=groups, epsilon=1e-3)
    else:
        net.add("MeanVarianceNormalization", x, axes=net.some([0, 2, 3], [2, 3], [1, 2, 3]))


def reduced(net: Net) -> None:
    x, shape = net.pick(3, 4)
    op = net.some(
        "ReduceMean",
        "ReduceSum",
        "ReduceMax",
        "ReduceMin",
        "ReduceL1",
        "ReduceL2",
        "ReduceSumSquare",
        "ReduceLogSumExp",
    )
    axes = sorted(int(a) for a in net.rng.permutation(np.arange(1, len(shape)))[: net.whole(1, len(shape) - 1)])
    axes = [a - len(shape) if net.rng.random() < 0.5 else a for a in axes]
    keep = {"keepdims": net.whole(0, 1)}
    if net.opset >= 18 or op == "ReduceSum":
        net.add(op, x, net.constant(ints(*axes)), **keep)
    else:
        net.add(op, x, axes=axes, **keep)


def softmaxed(net: Net) -> None:
    x, shape = net.pick(2, 3, 4)
    net.add(net.some("Softmax", "LogSoftmax"), x, axis=net.whole(-1, len(shape) - 1) or 1)


def reshaped(net: Net) -> None:
    x, shape = net.pick(2, 3, 4)
    way = net.whole(0, 5)
    if way == 0:
        net.add("Transpose", x, perm=[0, *(int(a) for a in net.rng.permutation(np.arange(1, len(shape))))])
    elif way == 1:
        net.add("Reshape", x, net.constant(ints(0, 0, -1)))
    elif way == 2:
        net.add("Flatten", x, axis=net.some(1, 1 - len(shape)))
    elif way == 3:
        net.add("Unsqueeze", x, net.constant(ints(net.whole(1, len(shape)))))
    elif way == 4:
        side = [d for d in (2, 3, 4) if math.prod(shape[1:]) % d == 0]
        net.add("Reshape", x, net.constant(ints(shape[0], -1, net.some(1, *side))))
    else:
        net.add(net.some("DepthToSpace", "SpaceToDepth"), x, blocksize=2)


def cut(net: Net) -> None:
    x, shape = net.pick(2, 3, 4)
    axis = net.whole(1, len(shape) - 1)
    size, way = shape[axis], net.whole(0, 4)
    if way == 0:
        step = net.some(1, 1, 2, -1)
        ends = (net.whole(0, size - 1), net.whole(1, size + 2)) if step > 0 else (-1, -size - 1)
        net.add("Slice", x, *(net.constant(ints(v)) for v in (*ends, axis, step)))
    elif way == 1:
        picked = net.rng.integers(-size, size, net.whole(1, 4))
        net.add("Gather", x, net.constant(picked if net.rng.random() < 0.7 else picked[0]), axis=axis)
    elif way == 2 and size > 1:
        first = net.whole(1, size - 1)
        net.add("Split", x, net.constant(ints(first, size - first)), axis=axis, outputs=2)
    elif way == 3:
        net.add("TopK", x, net.constant(ints(net.whole(1, size))), axis=axis, largest=net.whole(0, 1), outputs=2)
    else:
        indices = net.rng.integers(-size, size, shape)
        net.add("GatherElements", x, net.constant(indices), axis=axis)


def padded(net: Net) -> None:
    x, shape = net.pick(3, 4)
    mode = net.some("constant", "constant", "reflect", "edge")
    pads = [net.whole(0, min(2, d - 1)) if i > 0 else 0 for _ in range(2) for i, d in enumerate(shape)]
    if mode == "constant" and net.rng.random() < 0.2:
        pads[-1] = -1
    rest = [net.constant(np.float32(net.rng.uniform(-1, 1)))] if mode == "constant" and net.rng.random() < 0.5 else []
    net.add("Pad", x, net.constant(ints(*pads)), *rest, mode=mode)


def resized(net: Net) -> None:
    x, shape = net.pick(4)
    mode = net.some("nearest", "linear", "cubic")
    attrs = {
        "mode": mode,
        "coordinate_transformation_mode": net.some("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"),
    }
    if mode == "nearest":
        attrs["nearest_mode"] = net.some("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
    if net.rng.random() < 0.5:
        scales = [1.0, 1.0, *(float(net.rng.choice([0.5, 0.7, 1.0, 1.5, 2.0])) for _ in range(2))]
        net.add("Resize", x, "", net.constant(np.array(scales, np.float32)), **attrs)
    else:
        sizes = [*shape[:2], net.whole(1, 9), net.whole(1, 9)]
        net.add("Resize", x, "", "", net.constant(ints(*sizes)), **attrs)


def joined(net: Net) -> None:
    x, shape = net.pick(2, 3, 4)
    axis = net.whole(1, len(shape) - 1)
    fitting = [n for n, s in net.shapes.items() if len(s) == len(shape) and all(
        a == b for i, (a, b) in enumerate(zip(s, shape, strict=True)) if i != axis)]  # fmt: skip
    net.add("Concat", x, net.some(*fitting), axis=net.some(axis, axis - len(shape)))


def multiplied(net: Net) -> None:
    x, shape = net.pick(2, 3, 4)
    way = net.whole(0, 3)
    if way == 0:
        net.add("MatMul", x, net.weight(shape[-1], net.whole(1, 5)))
    elif way == 1 and len(shape) == 2:
        flags = {"transB": net.whole(0, 1), "alpha": float(net.some(1.0, 0.5)), "beta": float(net.some(1.0, 2.0))}
        width = net.whole(1, 5)
        sides = (width, shape[1]) if flags["transB"] else (shape[1], width)
        net.add("Gemm", x, net.weight(*sides), *net.some([], [net.weight(width)], [net.weight(1, 1)]), **flags)
    elif way == 2 and len(shape) >= 3:
        perm = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
        product = net.add("MatMul", x, net.add("Transpose", x, perm=perm)[0])[0]
        net.add("MatMul", net.add("Softmax", product, axis=-1)[0], x)
    else:
        letters = "abcd"[: len(shape)]
        other = net.weight(shape[-1], net.whole(1, 4))
        net.add("Einsum", x, other, equation=f"{letters},{letters[-1]}z->{letters[:-1]}z")


def chosen(net: Net) -> None:
    x, shape = net.pick()
    way = net.whole(0, 3)
    if way == 0:
        mask = net.constant(net.rng.random(shape) < 0.5)
        net.add("Where", mask, x, net.constant(net.rng.standard_normal(shape)))
    elif way == 1:
        net.add("Expand", x, net.constant(ints(*[1] * len(shape))))
    elif way == 2:
        net.add("Tile", x, net.constant(ints(1, *(net.whole(1, 2) for _ in shape[1:]))))
    else:
        net.add(
            "CumSum",
            x,
            net.constant(np.array(net.whole(1, len(shape) - 1))),
            exclusive=net.whole(0, 1),
            reverse=net.whole(0, 1),
        )


def rounded(net: Net) -> None:
    """There and back: casts, and a quantizer with its inverse."""
    x = net.pick()[0]
    name, back = f"t{len(net.nodes)}_there", f"t{len(net.nodes)}_back"
    if net.rng.random() < 0.5:
        net.nodes += [
            helper.make_node("Cast", [x], [name], to=TensorProto.FLOAT16),
            helper.make_node("Cast", [name], [back], to=TensorProto.FLOAT),
        ]
    else:
        given = [net.constant(np.float32(0.05)), net.constant(np.uint8(128))]
        net.nodes += [
            helper.make_node("QuantizeLinear", [x, *given], [name]),
            helper.make_node("DequantizeLinear", [name, *given], [back]),
        ]
    net.shapes[back] = net.shapes[x]


def recurrent(net: Net) -> None:
    x, (batch, steps, width) = net.pick(3)
    if batch != 2 or steps > 12:
        raise UnfitError
    op, hidden = net.some("LSTM", "GRU", "RNN"), net.whole(1, 3)
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    (turned,) = net.add("Transpose", x, perm=[1, 0, 2])
    attrs = {"linear_before_reset": net.whole(0, 1)} if op == "GRU" else {}
    (y,) = net.add(
        op,
        turned,
        net.weight(1, gates * hidden, width),
        net.weight(1, gates * hidden, hidden),
        hidden_size=hidden,
        **attrs,
    )
    net.add("Transpose", y, perm=[2, 0, 1, 3])


DRAWN = {
    f.__name__: f
    for f in (
        binary, bounded, chosen, clip, conv, cut, elementwise, joined, multiplied, normalized, padded, pool, recurrent,
        reduced, reshaped, resized, rounded, softmaxed, transposed, whole_pool,
    )
}  # fmt: skip
"""Kinds of nodes, by name."""
