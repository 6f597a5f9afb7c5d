"""Which axis of an answer is the batch is found from what depends on which image, never from its position."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nets import model_of, node
from onnx import ModelProto

from fgcam_onnx import explain, load
from fgcam_onnx.errors import TargetError
from fgcam_onnx.graph.score import find_score
from fgcam_onnx.layers.flow import flow_of

CLASSES, STEPS = 5, 4


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=shape) * 0.4).astype(np.float32)


def reader(batch: Any, *, time_first: bool = True, softmax: bool = True, opset: int = 18) -> ModelProto:
    """Return a net that reads columns of a picture by an LSTM: an answer for each of them."""
    weights = {
        "k": drawn(6, 3, 4, 4), "w": drawn(1, 16, 6), "r": drawn(1, 16, 4), "fc": drawn(4, CLASSES),
        "two": np.array([2]), "one": np.array([1]),
    }  # fmt: skip

    def squeezed(x: str, y: str, axis: str) -> Any:
        old = {"axes": weights[axis].tolist()}
        return node("Squeeze", [x], y, **old) if opset < 13 else node("Squeeze", [x, axis], y)

    nodes = [
        node("Conv", ["x", "k"], "c", strides=[4, 4]), node("Relu", ["c"], "a"),
        node("MaxPool", ["a"], "mp", kernel_shape=[4, 1]), squeezed("mp", "s", "two"),
        node("Transpose", ["s"], "t", perm=[2, 0, 1]), node("LSTM", ["t", "w", "r"], "h", hidden_size=4),
        squeezed("h", "hs", "one"), node("MatMul", ["hs", "fc"], "l"),
        node("Identity" if time_first else "Transpose", ["l"], "z", **({} if time_first else {"perm": [1, 0, 2]})),
        node("Softmax", ["z"], "y", axis=2) if softmax else node("Identity", ["z"], "y"),
    ]  # fmt: skip
    used = {n: a for n, a in weights.items() if any(n in m.input for m in nodes)}
    return model_of(nodes, used, inputs={"x": [batch, 3, 16, 4 * STEPS]}, outputs=["y"], opset=opset)


def patches(batch: Any) -> ModelProto:
    """Return a net whose patches lie in the batch: (N T, classes)."""
    weights = {"k": drawn(6, 3, 4, 4), "fc": drawn(6, CLASSES), "flat": np.array([-1, 6])}
    nodes = [
        node("Conv", ["x", "k"], "c", strides=[4, 4]), node("Relu", ["c"], "a"),
        node("Transpose", ["a"], "t", perm=[0, 2, 3, 1]), node("Reshape", ["t", "flat"], "rows"),
        node("MatMul", ["rows", "fc"], "y"),
    ]  # fmt: skip
    return model_of(nodes, weights, inputs={"x": [batch, 3, 16, 4 * STEPS]}, outputs=["y"])


def pictures(count: int) -> np.ndarray:
    return drawn(count, 3, 16, 4 * STEPS, seed=1)


@pytest.mark.parametrize("opset", [12, 18])
@pytest.mark.parametrize("time_first", [True, False])
@pytest.mark.parametrize("batch", ["N", 1, 3])
def test_each_image_has_its_own_answer(batch: Any, time_first: bool, opset: int) -> None:
    count = batch if isinstance(batch, int) else 3
    found = explain(load(reader(batch, time_first=time_first, opset=opset)), pictures(count), method="gradcam")
    assert found.map.shape == (count, 1, STEPS)
    for i in range(count):
        alone = explain(
            load(reader(1, time_first=time_first, opset=opset)), pictures(count)[i : i + 1], method="gradcam"
        )
        np.testing.assert_allclose(found.map[i], alone.map[0], rtol=0, atol=1e-5 * abs(alone.map).max())


@pytest.mark.parametrize("batch", ["N", 1, 3])
def test_time_first_is_no_map_of_classes(batch: Any) -> None:
    model = load(reader(batch, softmax=False))
    flow = flow_of(model, logits=find_score(model).logits)
    assert (flow.axis, flow.answer_shape, flow.classes) == (1, (STEPS, CLASSES), STEPS * CLASSES)


@pytest.mark.parametrize("batch", ["N", 1, 3])
def test_patches_in_the_batch_are_no_images(batch: Any) -> None:
    model = load(patches(batch))
    count = batch if isinstance(batch, int) else 3
    with pytest.raises(TargetError, match=f"{4 * STEPS} x {CLASSES} for each image"):
        explain(model, pictures(count), method="gradcam", target=3)
