"""Small nets for the tests, written as an exporter would write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Weights = Mapping[str, NDArray[Any]]
Size = int | str | None

BASE = "/layer2/relu/Relu_output_0"
"""The deepest layer of :func:`small_cnn`."""

TAILS = ("LogSoftmax", "Sigmoid", "Softmax")


def model_of(
    nodes: Sequence[NodeProto],
    weights: Weights,
    *,
    inputs: Mapping[str, Sequence[Size]],
    outputs: Sequence[str],
    opset: int = 18,
    ir: int = 8,
    dtype: Any = np.float32,
    listed: bool = False,
    domains: Sequence[str] = (),
) -> ModelProto:
    """Build a model; ``listed`` names the weights among the inputs, as files of IR version 3 do."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    given = [helper.make_tensor_value_info(n, kind, list(s)) for n, s in inputs.items()]
    if listed:
        given += [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in weights.items()
        ]
    found = [onnx.ValueInfoProto(name=o, type=helper.make_tensor_type_proto(kind, None)) for o in outputs]
    constants = [numpy_helper.from_array(a, n) for n, a in weights.items()]
    graph = helper.make_graph(list(nodes), "net", given, found, constants)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir, producer_name="tests")


def node(op: str, inputs: Sequence[str], *outputs: str, domain: str = "", **attrs: Any) -> NodeProto:
    """Write a node whose name is its first output's, less ``_output_0``."""
    name = outputs[0].removesuffix("_output_0")
    return helper.make_node(op, list(inputs), list(outputs), name=name, domain=domain, **attrs)


def small_weights(seed: int = 0, *, width: int = 8, classes: int = 5, channels: int = 3) -> dict[str, Any]:
    """Draw the weights of :func:`small_cnn`."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> NDArray[Any]:
        scale = np.sqrt(2 / max(1, int(np.prod(shape[1:]))))
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    return {
        "layer1.conv.weight": normal(width, channels, 3, 3),
        "layer1.conv.bias": normal(width) * 0.1,
        "layer2.conv.weight": normal(width * 2, width, 3, 3),
        "layer2.conv.bias": normal(width * 2) * 0.1,
        "fc.weight": normal(classes, width * 2),
        "fc.bias": normal(classes) * 0.1,
    }


def small_nodes(*, source: str = "input", logits: str = "logits") -> list[NodeProto]:
    """Write conv, relu, pool, conv, relu, average, linear; named as the TorchScript exporter would."""
    return [
        node(
            "Conv", [source, "layer1.conv.weight", "layer1.conv.bias"], "/layer1/conv/Conv_output_0",
            kernel_shape=[3, 3], pads=[1, 1, 1, 1],
        ),
        node("Relu", ["/layer1/conv/Conv_output_0"], "/layer1/relu/Relu_output_0"),
        node(
            "MaxPool", ["/layer1/relu/Relu_output_0"], "/pool/MaxPool_output_0",
            kernel_shape=[2, 2], strides=[2, 2],
        ),
        node(
            "Conv", ["/pool/MaxPool_output_0", "layer2.conv.weight", "layer2.conv.bias"],
            "/layer2/conv/Conv_output_0", kernel_shape=[3, 3], pads=[1, 1, 1, 1],
        ),
        node("Relu", ["/layer2/conv/Conv_output_0"], BASE),
        node("GlobalAveragePool", [BASE], "/gap/GlobalAveragePool_output_0"),
        node("Flatten", ["/gap/GlobalAveragePool_output_0"], "/Flatten_output_0", axis=1),
        node("Gemm", ["/Flatten_output_0", "fc.weight", "fc.bias"], logits, transB=1),
    ]  # fmt: skip


def small_cnn(
    *,
    seed: int = 0,
    batch: Size = "N",
    opset: int = 18,
    size: tuple[Size, Size] = (12, 10),
    width: int = 8,
    classes: int = 5,
    tail: str = "",
    listed: bool = False,
    ir: int = 8,
) -> ModelProto:
    """Build a net of two convolutions; ``tail`` is a Softmax, LogSoftmax or Sigmoid after the logits.

    The input is ``input``, float32 (batch, 3, *size); the output ``logits``, or ``output`` after a tail.
    """
    nodes = small_nodes()
    if tail:
        nodes.append(node(tail, ["logits"], "output", **({} if tail == "Sigmoid" else {"axis": 1})))
    return model_of(
        nodes,
        small_weights(seed, width=width, classes=classes),
        inputs={"input": [batch, 3, *size]},
        outputs=["output" if tail else "logits"],
        opset=opset,
        ir=ir,
        listed=listed,
    )


def images(count: int = 2, *, size: tuple[int, int] = (12, 10), seed: int = 0, channels: int = 3) -> NDArray[Any]:
    """Draw ``count`` inputs of :func:`small_cnn`."""
    rng = np.random.default_rng([seed, count])
    return rng.standard_normal((count, channels, *size)).astype(np.float32)


def inserted(model: ModelProto, after: str, *nodes: NodeProto, result: str) -> ModelProto:
    """Return ``model`` with ``nodes`` after tensor ``after``, whose readers get ``result`` instead."""
    changed = ModelProto()
    changed.CopyFrom(model)
    position = next(i for i, n in enumerate(model.graph.node) if after in n.output) + 1
    for reader in changed.graph.node:
        for i, name in enumerate(reader.input):
            if name == after:
                reader.input[i] = result
    rest = list(changed.graph.node)
    del changed.graph.node[:]
    changed.graph.node.extend([*rest[:position], *nodes, *rest[position:]])
    return changed


def written(model: ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    """Write ``model`` into ``folder`` and return its path."""
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def with_external(model: ModelProto, name: str, *, location: str, offset: int = 0) -> tuple[ModelProto, bytes]:
    """Return ``model`` with initializer ``name`` moved to file ``location``, and that file's content."""
    changed = ModelProto()
    changed.CopyFrom(model)
    tensor = next(t for t in changed.graph.initializer if t.name == name)
    content = numpy_helper.to_array(tensor).tobytes()
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(len(content)))):
        tensor.external_data.add(key=key, value=value)
    return changed, bytes(offset) + content


def two_headed() -> ModelProto:
    nodes = [*small_nodes(), node("Relu", ["logits"], "other")]
    return model_of(nodes, small_weights(), inputs={"input": ["N", 3, 12, 10]}, outputs=["logits", "other"])


def two_eyed() -> ModelProto:
    """Return a net that adds ``shift`` (N, 5) to the logits of the image."""
    nodes = [*small_nodes(), node("Add", ["logits", "shift"], "output")]
    inputs: dict[str, Any] = {"shift": ["N", 5], "input": ["N", 3, 12, 10]}
    return model_of(nodes, small_weights(), inputs=inputs, outputs=["output"])
