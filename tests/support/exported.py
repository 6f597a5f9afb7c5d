"""Exported files, run by plain onnxruntime, and how far off what they give is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from nets import model_of, node
from onnx import ModelProto

NETS = ("vgg_shapes.dynamo", "resnet_shapes.torchscript", "vgg_shapes.keras", "vgg_shapes.jax", "vgg_shapes.paddle")
VGG, RESNET, KERAS = NETS[:3]


def session(path: Path, *, optimized: bool = True) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def ran(path: Path, feeds: dict[str, Any], *, optimized: bool = True) -> dict[str, Any]:
    made = session(path, optimized=optimized)
    return dict(zip([o.name for o in made.get_outputs()], made.run(None, feeds), strict=True))


def off(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return the largest difference relative to the largest value."""
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def fixed_net() -> ModelProto:
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((4, 3, 3, 3)), "v": rng.standard_normal((4, 5))}
    nodes = [
        node("Conv", ["x", "w"], "c"), node("Relu", ["c"], "target"),
        node("GlobalAveragePool", ["target"], "p"), node("Flatten", ["p"], "f"),
        node("MatMul", ["f", "v"], "explanation"),
    ]  # fmt: skip
    arrays = {n: a.astype(np.float32) for n, a in weights.items()}
    return model_of(nodes, arrays, inputs={"x": [2, 3, 8, 8]}, outputs=["explanation"])
