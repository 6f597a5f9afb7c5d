"""Nets of well-known shapes with seeded random weights, written as exporters write them.

BatchNormalization is folded into Conv; the batch is free; pictures are 224 x 224.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

SIDE = 224
CLASSES = 1000


@dataclass
class Net:
    """A graph under construction: each method appends an operator and returns the name of its output."""

    nodes: list[NodeProto] = field(default_factory=list)
    weights: list[TensorProto] = field(default_factory=list)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def apply(self, op: str, *inputs: str, **attrs: Any) -> str:
        """Append ``op``."""
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [f"{name}_output"], name=name, **attrs))
        return f"{name}_output"

    def weight(self, *shape: int, gain: float = 1.0) -> str:
        """Add a weight of He's scale (2015, arXiv:1502.01852) times ``gain``; a vector is a small bias."""
        name = f"weight_{len(self.weights)}"
        scale = gain * np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.01
        array = (self.rng.standard_normal(shape, np.float32) * np.float32(scale)).astype(np.float32)
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def conv(self, x: str, channels: tuple[int, int], side: int, *, stride: int = 1, gain: float = 1.0) -> str:
        """Convolve, padded by half the kernel."""
        before, after = channels
        w, b = self.weight(after, before, side, side, gain=gain), self.weight(after)
        pads, sides = [side // 2] * 4, [side] * 2
        return self.apply(
            "Conv", x, w, b, kernel_shape=sides, pads=pads, strides=[stride] * 2, dilations=[1, 1], group=1
        )

    def relu(self, x: str) -> str:
        """Rectify."""
        return self.apply("Relu", x)

    def pool(self, x: str, kernel: int, *, pad: int = 0) -> str:
        """Take the maximum of windows, stride 2."""
        return self.apply("MaxPool", x, kernel_shape=[kernel] * 2, pads=[pad] * 4, strides=[2, 2])

    def linear(self, x: str, sizes: tuple[int, int]) -> str:
        """Multiply by a matrix stored as (out, in)."""
        before, after = sizes
        return self.apply("Gemm", x, self.weight(after, before), self.weight(after), transB=1)

    def model(self, logits: str) -> ModelProto:
        """Return the net as a model from ``input`` to ``logits``."""
        x = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
        y = helper.make_tensor_value_info(logits, TensorProto.FLOAT, ["batch", CLASSES])
        graph = helper.make_graph(self.nodes, "net", [x], [y], self.weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        onnx.checker.check_model(made)
        return made


def vgg16() -> ModelProto:
    """Return a net shaped as VGG16 (Simonyan & Zisserman, 2015, arXiv:1409.1556)."""
    net, x, before = Net(), "input", 3
    for channels, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            x = net.relu(net.conv(x, (before, channels), 3))
            before = channels
        x = net.pool(x, 2)
    x = net.apply("Flatten", x, axis=1)
    x = net.relu(net.linear(x, (512 * 7 * 7, 4096)))
    x = net.relu(net.linear(x, (4096, 4096)))
    return net.model(net.linear(x, (4096, CLASSES)))


def resnet50() -> ModelProto:
    """Return a net shaped as ResNet50 v1.5 (He et al., 2016, arXiv:1512.03385); the stride is in the 3x3."""
    net = Net()
    x = net.pool(net.relu(net.conv("input", (3, 64), 7, stride=2)), 3, pad=1)
    before = 64
    for width, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for i in range(count):
            stride = 2 if i == 0 and width > 64 else 1
            x = bottleneck(net, x, (before, width), stride)
            before = 4 * width
    x = net.apply("Flatten", net.apply("GlobalAveragePool", x), axis=1)
    return net.model(net.linear(x, (before, CLASSES)))


def bottleneck(net: Net, x: str, channels: tuple[int, int], stride: int) -> str:
    """Append a residual block of three convolutions; the last is damped so that blocks do not add up."""
    before, width = channels
    y = net.relu(net.conv(x, (before, width), 1))
    y = net.relu(net.conv(y, (width, width), 3, stride=stride))
    y = net.conv(y, (width, 4 * width), 1, gain=0.3)
    if before != 4 * width:
        x = net.conv(x, (before, 4 * width), 1, stride=stride, gain=0.7)
    return net.relu(net.apply("Add", y, x))


NETS: dict[str, Callable[[], ModelProto]] = {"resnet50": resnet50, "vgg16": vgg16}
