"""Small nets of one architecture with weights of one's choice, written as different exporters do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
LAYERS = ("conv0", "conv1", "conv2", "conv3", "dense")
Weights = Mapping[str, tuple[Array, Array]]


def weights(seed: int) -> dict[str, tuple[Array, Array]]:
    """Return weight and bias of each layer."""
    rng = np.random.default_rng(seed)
    inner = dict.fromkeys(("conv1", "conv2"), (8, 8, 3, 3))
    shapes = {"conv0": (8, 3, 3, 3), **inner, "conv3": (12, 8, 3, 3), "dense": (12, 6)}

    def drawn(shape: tuple[int, ...], channels: int) -> tuple[Array, Array]:
        spread = 1.4 / np.sqrt(np.prod(shape) / channels)
        return rng.normal(0, spread, shape).astype(np.float32), rng.normal(0, 0.2, channels).astype(np.float32)

    return {n: drawn(s, s[-1] if n == "dense" else s[0]) for n, s in shapes.items()}


def mixed(first: Weights, second: Weights, taken: Iterable[str]) -> dict[str, tuple[Array, Array]]:
    """Return the weights of ``first`` with those of the layers ``taken`` from ``second``."""
    return {**first, **{n: second[n] for n in taken}}


def net(of: Weights, *, prefix: str = "", nhwc: bool = False, batch: int | str = "N", opset: int = 18) -> ModelProto:
    """Return conv0, relu, [conv1, relu, conv2] + skip, relu, conv3, relu, mean, dense; ``nhwc`` is how it takes x."""
    constants: dict[str, Array] = {}
    nodes: list[NodeProto] = []

    def add(op: str, inputs: list[str], output: str, **attrs: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [prefix + output], name=f"{prefix}{output}_{op}", **attrs))
        return prefix + output

    def conv(x: str, name: str, *, relu: bool, strides: int = 1) -> str:
        constants[f"{prefix}{name}.w"], constants[f"{prefix}{name}.b"] = of[name]
        read = [x, f"{prefix}{name}.w", f"{prefix}{name}.b"]
        y = add("Conv", read, name, pads=[1, 1, 1, 1], strides=[strides] * 2)
        return add("Relu", [y], f"{name}.relu") if relu else y

    x = "x"
    if nhwc:
        x = add("Transpose", [x], "nchw", perm=[0, 3, 1, 2])
    a = conv(x, "conv0", relu=True)
    b = conv(conv(a, "conv1", relu=True), "conv2", relu=False)
    c = add("Relu", [add("Add", [b, a], "sum")], "sum.relu")
    d = conv(c, "conv3", relu=True, strides=2)
    if nhwc:
        d = add("Transpose", [d], "nhwc", perm=[0, 2, 3, 1])
        constants["axes"] = np.array([1, 2], np.int64)
        e = add("ReduceMean", [d, "axes"], "mean", keepdims=0)
        constants[f"{prefix}dense.w"], constants[f"{prefix}dense.b"] = of["dense"]
        add("Add", [add("MatMul", [e, f"{prefix}dense.w"], "product"), f"{prefix}dense.b"], "logits")
    else:
        e = add("Flatten", [add("GlobalAveragePool", [d], "mean")], "flat")
        constants[f"{prefix}dense.w"], constants[f"{prefix}dense.b"] = of["dense"][0].T.copy(), of["dense"][1]
        add("Gemm", [e, f"{prefix}dense.w", f"{prefix}dense.b"], "logits", transB=1)
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 12, 12, 3] if nhwc else [batch, 3, 12, 12])],
        [helper.make_tensor_value_info(f"{prefix}logits", TensorProto.FLOAT, [batch, 6])],
        [numpy_helper.from_array(a, n) for n, a in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def pictures(count: int = 3, seed: int = 9) -> Array:
    """Return smooth pictures, (N, 3, 12, 12)."""
    rough = np.random.default_rng(seed).normal(0, 1, (count, 3, 4, 4))
    return rough.repeat(3, 2).repeat(3, 3).astype(np.float32)


def between_quantizers(of: Weights, *, ranges: Mapping[str, tuple[float, float]], **options: Any) -> ModelProto:
    """Return :func:`net` with every convolution's weight in int8, a scale for each channel, and QDQ behind ``ranges``.

    ``ranges`` are the least and largest result of each tensor that is quantized.
    """
    model = net(of, **options)
    graph = model.graph
    nodes: list[NodeProto] = []
    initial = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    quantized = {}
    for node in graph.node:
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [quantized.get(i, i) for i in node.input]
        if node.op_type == "Conv":
            name = node.input[1]
            w = initial.pop(name)
            scale = np.abs(w).reshape(len(w), -1).max(1) / 127
            initial |= {f"{name}.q": np.round(w / scale[:, None, None, None]).astype(np.int8), f"{name}.s": scale}
            initial[f"{name}.z"] = np.zeros(len(w), np.int8)
            nodes.append(
                helper.make_node("DequantizeLinear", [f"{name}.{k}" for k in "qsz"], [name], name=f"{name}_dq", axis=0)
            )
        nodes.append(copy)
        (y,) = node.output
        if y in ranges:
            low, high = (min(ranges[y][0], 0.0), max(ranges[y][1], 0.0))
            step = (high - low) / 255
            initial |= {f"{y}.s": np.float32(step), f"{y}.z": np.uint8(round(-low / step))}
            ends = [f"{y}.s", f"{y}.z"]
            nodes.append(helper.make_node("QuantizeLinear", [y, *ends], [f"{y}.q"], name=f"{y}_q"))
            nodes.append(helper.make_node("DequantizeLinear", [f"{y}.q", *ends], [f"{y}.dq"], name=f"{y}_dq"))
            quantized[y] = f"{y}.dq"
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(np.asarray(a), n) for n, a in initial.items())
    return model
