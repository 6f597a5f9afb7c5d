"""Changed copies of the bundled nets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper

VGG, RESNET = "vgg_shapes.torchscript.onnx", "resnet_shapes.torchscript.onnx"


def changed(source: Path, target: Path, change: Callable[[ModelProto], None]) -> Path:
    """Write a changed copy of a model, its sidecar's content beside it."""
    model = onnx.load(str(source))
    change(model)
    onnx.save(model, str(target))
    target.with_suffix(".json").write_text(
        source.with_suffix(".json").read_text().replace("shapes.labels.txt", str(source.parent / "shapes.labels.txt"))
    )
    return target


def weight(model: ModelProto, op: str, place: int, edit: Callable[[np.ndarray], np.ndarray], at: int = 1) -> None:
    """Edit the weight (``at`` 2: the bias) of the operator ``op`` at ``place`` among its like."""
    node = [n for n in model.graph.node if n.op_type == op][place]
    tensor = next(t for t in model.graph.initializer if t.name == node.input[at])
    tensor.CopyFrom(numpy_helper.from_array(edit(numpy_helper.to_array(tensor).copy()), tensor.name))


def with_background(model: ModelProto) -> None:
    """Give the last layer one class more, in front."""
    weight(model, "Gemm", -1, lambda w: np.concatenate([np.zeros_like(w[:1]), w]))
    weight(model, "Gemm", -1, lambda b: np.concatenate([np.full_like(b[:1], -50), b]), at=2)
    del model.graph.value_info[:]
    model.graph.output[0].type.tensor_type.shape.dim[-1].dim_value += 1


def with_softmax(model: ModelProto) -> None:
    """End in a Softmax."""
    output = model.graph.output[0]
    model.graph.node.append(helper.make_node("Softmax", [output.name], ["sure"], axis=-1))
    output.name = "sure"
