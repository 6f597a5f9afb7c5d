"""Random valid nets: a few nodes drawn from ``random_nodes``, and one of several heads."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference
from outcomes import Rng

LARGEST = 4096
"""Most elements of a tensor."""

Shape = tuple[int, ...]
FLOAT = TensorProto.FLOAT


class UnfitError(Exception):
    """The node that was drawn does not fit the tensors that are there."""


@dataclass
class Net:
    """A net as it grows: nodes, constants, and the shapes of its floating tensors."""

    rng: Rng
    opset: int
    nodes: list[NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)

    def pick(self, *ranks: int) -> tuple[str, Shape]:
        """Return a tensor of one of these ranks, the newest more often than others."""
        fitting = [n for n, s in self.shapes.items() if not ranks or len(s) in ranks]
        if not fitting:
            raise UnfitError
        name = fitting[-1] if self.rng.random() < 0.7 else str(self.rng.choice(fitting))
        return name, self.shapes[name]

    def whole(self, low: int, high: int) -> int:
        """Draw a whole number from ``low`` to ``high``."""
        if low > high:
            raise UnfitError
        return int(self.rng.integers(low, high + 1))

    def some(self, *choices: Any) -> Any:
        """Draw one of ``choices``."""
        return choices[int(self.rng.integers(len(choices)))]

    def constant(self, array: Any) -> str:
        """Keep a constant, and return its name."""
        value = np.asarray(array)
        name = f"c{len(self.constants)}"
        self.constants[name] = value.astype(np.float32) if value.dtype == np.float64 else value
        return name

    def weight(self, *shape: int) -> str:
        """Draw weights of a shape, smaller where many are summed."""
        return self.constant(self.rng.standard_normal(shape) / math.sqrt(max(1, math.prod(shape[1:]))))

    def add(self, op: str, *inputs: str, outputs: int = 1, **attrs: Any) -> list[str]:
        """Add a node where it fits, and return its outputs.

        Raises
        ------
        UnfitError
            By its shapes it does not, or is too large.
        """
        names = [f"t{len(self.nodes)}_{i}" for i in range(outputs)]
        node = helper.make_node(op, list(inputs), names, name=f"n{len(self.nodes)}", **attrs)
        kinds = self._inferred(node)
        floats = {n: k for n, k in kinds.items() if k[0] == FLOAT}
        if any(math.prod(s) > LARGEST or min(s, default=1) < 1 for _, s in kinds.values()) or set(names) - kinds.keys():
            raise UnfitError
        self.nodes.append(node)
        self.shapes |= {n: s for n, (_, s) in floats.items()}
        return names

    def _inferred(self, node: NodeProto) -> dict[str, tuple[int, Shape]]:
        given = [helper.make_tensor_value_info(i, FLOAT, self.shapes[i]) for i in node.input if i in self.shapes]
        fixed = [
            numpy_helper.from_array(self.constants[i], i) for i in dict.fromkeys(node.input) if i in self.constants
        ]
        ends = [helper.make_empty_tensor_value_info(o) for o in node.output]
        graph = helper.make_graph([node], "one", list({g.name: g for g in given}.values()), ends, fixed)
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        try:
            inferred = shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
        except Exception as error:  # inference raises RuntimeError, ValueError and its own
            raise UnfitError from error
        found = {}
        for info in inferred.graph.output:
            kind = info.type.tensor_type
            dims = [d.dim_value for d in kind.shape.dim]
            if kind.HasField("shape") and all(d.HasField("dim_value") for d in kind.shape.dim):
                found[info.name] = (kind.elem_type, tuple(dims))
        return found

    def model(self, inputs: Sequence[str], outputs: Sequence[str], *, free: bool) -> ModelProto:
        """Return the net; with ``free``, the batch of its inputs is."""

        def shown(name: str) -> Any:
            shape = list(self.shapes[name])
            return helper.make_tensor_value_info(name, FLOAT, ["N", *shape[1:]] if free else shape)

        ends = [helper.make_tensor_value_info(o, FLOAT, None) for o in outputs]
        fixed = [numpy_helper.from_array(a, n) for n, a in self.constants.items()]
        graph = helper.make_graph(self.nodes, "net", [shown(i) for i in inputs], ends, fixed)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def random_net(rng: Rng, kinds: Sequence[Callable[[Net], None]]) -> ModelProto:
    """Draw a net with a node or two of each of ``kinds``, where they fit, behind each other."""
    net = Net(rng, int(rng.choice([13, 17, 18, 18, 19, 20, 21])))
    channels = net.some(1, 3)
    side = (net.whole(4, 9), net.whole(4, 9))
    last = rng.random() < 0.12
    net.shapes["input"] = (2, *side, channels) if last else (2, channels, *side)
    if last:
        net.add("Transpose", "input", perm=[0, 3, 1, 2])
    elif rng.random() < 0.5:
        net.add("Conv", "input", net.weight(net.whole(1, 5), channels, 3, 3), pads=[1] * 4)
    for kind in kinds:
        with contextlib.suppress(UnfitError):
            kind(net)
    return net.model(["input"], [headed(net)], free=bool(rng.random() < 0.5))


def headed(net: Net) -> str:
    """End a net in a row of numbers for each image, or leave it as it is."""
    name, shape = next((n, s) for n, s in reversed(net.shapes.items()) if s and s[0] == 2)
    way = net.rng.random()
    if len(shape) >= 3 and way < 0.4:
        name = net.add("GlobalAveragePool", name)[0] if net.rng.random() < 0.7 else net.add("GlobalMaxPool", name)[0]
    elif len(shape) >= 3 and way < 0.47:
        return name
    if len(net.shapes[name]) != 2:
        name = net.add("Flatten", name)[0]
    width = net.shapes[name][1]
    if net.rng.random() < 0.75:
        classes = net.whole(1, 5)
        if net.rng.random() < 0.6:
            name = net.add("Gemm", name, net.weight(classes, width), net.weight(classes), transB=1)[0]
        else:
            name = net.add("MatMul", name, net.weight(width, classes))[0]
    tail = net.rng.random()
    if tail < 0.25:
        name = net.add("Softmax", name, axis=net.some(1, -1))[0]
    elif tail < 0.35:
        name = net.add(net.some("Sigmoid", "Tanh", "LogSoftmax"), name)[0]
    return name
