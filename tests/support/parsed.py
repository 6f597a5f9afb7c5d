"""Nets written as ONNX text, run plainly, and frozen: what some inputs take becomes a constant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from onnx.reference import ReferenceEvaluator

OPSET = 18


def parsed(text: str, *, opset: int = OPSET, **weights: Any) -> ModelProto:
    """Return the model of a graph's text; ``weights`` are its constants, by name."""
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["": {opset}]> {text}')
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items())
    onnx.checker.check_model(model)
    return model


def drawn(seed: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def plain(model: ModelProto, feeds: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Return the first output, as ONNX Runtime finds it in the model as it is."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(feeds))[0]


def frozen(model: ModelProto, **given: NDArray[Any]) -> ModelProto:
    """Return ``model`` with the inputs ``given`` made constants."""
    changed = ModelProto()
    changed.CopyFrom(model)
    kept = [i for i in model.graph.input if i.name not in given]
    del changed.graph.input[:]
    changed.graph.input.extend(kept)
    changed.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in given.items())
    return changed


def double(model: ModelProto) -> ModelProto:
    """Return ``model`` in float64."""
    changed = ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float64), tensor.name))
    for info in (*changed.graph.input, *changed.graph.output):
        if info.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            info.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    return changed


def slope(
    model: ModelProto, feeds: Mapping[str, NDArray[Any]], name: str, *, at: Any, step: float = 1e-6
) -> NDArray[np.float64]:
    """Return the gradient of element ``at`` of the first output at input ``name``: central differences in float64.

    One element of the input after another is moved, so that nothing of how images are batched is assumed.
    """
    session = ReferenceEvaluator(double(model))
    given = {n: a.astype(np.float64) if a.dtype == np.float32 else a for n, a in feeds.items()}
    found = np.zeros(given[name].shape)
    for index in np.ndindex(*found.shape):
        ends = []
        for sign in (1, -1):
            moved = given[name].copy()
            moved[index] += sign * step
            ends.append(session.run(None, {**given, name: moved})[0][at])
        found[index] = (ends[0] - ends[1]) / (2 * step)
    return found
