"""Unfusing: operators on integers written as float ones between quantizers, which runtimes fuse again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from ..errors import UnsupportedOperatorError
from ..graph.emitter import PREFIX
from ..graph.facts import producers_of
from ..graph.model import Model
from ..graph.quantization import Layout, Units, layout_of, units_of
from ..graph.tape import attributes
from ..loading.inference import BATCH
from ..loading.loading import bind

OWN = ("channels_last", "opset")
"""Attributes that the integer operators have and the float ones do not."""

QUANTIZERS = ("DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear")


def unfused(model: Model) -> Model:
    """Return ``model`` with every operator that takes integers and has a float meaning written as QDQ.

    ``QLinearConv`` becomes DequantizeLinear, Conv, QuantizeLinear; a MaxPool of integers the same. Tensors keep their
    names. Integer products without scales (``ConvInteger``) stay. Up to the rounding of the last integer the model
    computes what it did; where an integer sum is cut off by a processor, it is as far as the runtime fuses it again.

    Raises
    ------
    UnsupportedOperatorError
        An operator has its channels last.
    """
    if not any(layout_of(n) is not None or _on_integers(n, units_of(model)) for n in model.nodes):
        return model
    writing = _Writing(model, dict(model.constants))
    nodes = [written for node in model.nodes for written in writing.of(node)]
    proto = ModelProto()
    proto.CopyFrom(model.proto)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return bind(replace(model, proto=proto, constants=writing.constants, types={}), {})


def real_output(model: Model, output: str) -> tuple[Model, str]:
    """Return ``model`` with the real numbers that an output of integers stands for as one more output, and its name."""
    if output not in units_of(model):
        return model, output
    proto, name = ModelProto(), f"{PREFIX}real/{output}"
    proto.CopyFrom(model.proto)
    inputs = [output, *filter(None, units_of(model)[output])]
    proto.graph.node.append(helper.make_node("DequantizeLinear", inputs, [name], name=name))
    proto.graph.output.append(helper.make_empty_tensor_value_info(name))
    return bind(replace(model, proto=proto, types={}), {}), name


def stored_as(model: Model, name: str) -> str:
    """Return the tensor of the file of which tensor ``name`` of :func:`unfused` has the real numbers."""
    node = producers_of(model).get(name)
    return str(node.input[0]) if node is not None and name.startswith(PREFIX) else name


def with_images(model: Model, count: int) -> Model:
    """Return ``model``, where it takes any number of images, with that fixed at ``count``."""
    proto = ModelProto()
    proto.CopyFrom(model.proto)
    free = [d for i in proto.graph.input for d in i.type.tensor_type.shape.dim[:1] if d.dim_param == BATCH]
    for dim in free:
        dim.dim_value = count
    return bind(replace(model, proto=proto, types={}), {}) if free else model


def _on_integers(node: NodeProto, units: Mapping[str, Units]) -> bool:
    """Tell an ordinary operator whose data and output are integers with units."""
    plain = node.op_type not in QUANTIZERS and layout_of(node) is None and not node.domain
    return plain and bool(node.output) and node.output[0] in units and node.input[0] in units


@dataclass
class _Writing:
    """What is written so far."""

    model: Model
    constants: dict[str, NDArray[Any]]
    made: dict[tuple[str, ...], str] = field(default_factory=dict)

    def of(self, node: NodeProto) -> Iterator[NodeProto]:
        layout, units = layout_of(node), units_of(self.model)
        if layout is not None:
            yield from self._quantized(node, layout)
        elif _on_integers(node, units):
            yield from self._plain(node, units)
        else:
            yield node

    def _plain(self, node: NodeProto, units: Mapping[str, Units]) -> Iterator[NodeProto]:
        many = node.op_type in ("Concat", "Max", "Min")
        inputs = list(node.input)
        for k in range(len(inputs) if many else 1):
            if inputs[k] in units:
                nodes, inputs[k] = self._real(node, k, (inputs[k], *units[inputs[k]]), None)
                yield from nodes
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = inputs
        copy.output[:] = [self._name(node, f"float/{k}") if o in units else o for k, o in enumerate(node.output)]
        yield copy
        for real, name in zip(copy.output, node.output, strict=True):
            if name and name in units:
                yield self._node("QuantizeLinear", [real, *filter(None, units[name])], name)

    def _quantized(self, node: NodeProto, layout: Layout) -> Iterator[NodeProto]:
        attrs = attributes(node)
        if attrs.get("channels_last"):
            raise UnsupportedOperatorError(f"{node.op_type!r} (node {node.name!r}) has its channels last: no rule")
        inputs = [node.input[i] for i in layout.plain]
        for k, places in enumerate(layout.data):
            names = tuple(node.input[p] for p in places)
            nodes, name = self._real(node, k, names, _axis(layout.means, k, attrs))
            yield from nodes
            inputs.append(name)
        if layout.bias is not None and layout.bias < len(node.input) and node.input[layout.bias]:
            scales = [node.input[s] for _, s, _ in layout.data]
            nodes, name = self._bias(node, node.input[layout.bias], scales)
            yield from nodes
            inputs.append(name)
        out = [node.input[p] for p in layout.out or () if p < len(node.input)]
        real = self._name(node, "float") if out else node.output[0]
        kept = {k: v for k, v in attrs.items() if k not in OWN}
        yield helper.make_node(layout.means, inputs, [real], name=node.name or node.output[0], **kept)
        if out:
            yield self._node("QuantizeLinear", [real, *filter(None, out)], node.output[0])

    def _real(self, node: NodeProto, k: int, names: tuple[str, ...], axis: int | None) -> tuple[list[NodeProto], str]:
        """Return what makes the real values of an integer tensor, and their name; made once for equal units."""
        q, scale, zero = names
        key = (q, scale, zero, str(axis))
        if key in self.made:
            return [], self.made[key]
        self.made[key] = name = self._name(node, f"real/{k}")
        s, z = self.constants.get(scale), self.constants.get(zero) if zero else None
        if s is not None and z is not None and z.size < s.size:
            zero = f"{name}/zero"
            self.constants[zero] = np.broadcast_to(z.reshape(-1), s.shape).copy()
        per_channel = s is not None and s.size > 1 and axis is not None
        made = self._node("DequantizeLinear", [q, scale, *filter(None, [zero])], name)
        if per_channel:
            made.attribute.append(helper.make_attribute("axis", axis))
        return [made], name

    def _bias(self, node: NodeProto, bias: str, scales: list[str]) -> tuple[list[NodeProto], str]:
        name, scale = self._name(node, "bias"), self._name(node, "bias_scale")
        known = [self.constants.get(s) for s in scales]
        nodes = []
        if known[0] is not None and known[1] is not None:
            product = known[0].reshape(-1) * known[1].reshape(-1)
            self.constants[scale] = product if product.size > 1 else product.reshape(())
        else:
            nodes.append(self._node("Mul", scales, scale))
        made = self._node("DequantizeLinear", [bias, scale], name)
        made.attribute.append(helper.make_attribute("axis", 0))
        return [*nodes, made], name

    def _name(self, node: NodeProto, what: str) -> str:
        return f"{PREFIX}unfused/{node.output[0]}/{what}"

    def _node(self, op: str, inputs: list[str], output: str) -> NodeProto:
        return helper.make_node(op, inputs, [output], name=f"{PREFIX}unfused/{op}/{output}")


def _axis(means: str, operand: int, attrs: Mapping[str, Any]) -> int | None:
    """Return the axis along which the scales of an operand differ, where they may."""
    if operand == 0:
        return None
    if means == "Conv" or (means == "Gemm" and attrs.get("transB")):
        return 0
    return -1 if means in ("Gemm", "MatMul") else None
