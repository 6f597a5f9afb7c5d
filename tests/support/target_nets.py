"""Nets whose outputs are scores of classes and boxes, small enough for plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
from nets import model_of, node, small_weights

BOXES = np.array([[50, 50, 20, 20], [50, 52, 22, 20], [20, 70, 10, 30], [80, 20, 30, 10]], np.float64)


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng([11, *seed])


def close(one: Any, other: Any, *, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * float(np.abs(other).max()))


def dense_net(*, classes: int = 4, last: bool = False, flat: bool = False) -> Any:
    """A net whose output is a map of classes, (N, classes, 12, 10), or with the classes last, or (N, 30, classes)."""
    weights = small_weights(3, classes=classes) | {
        "head.weight": rng(5).standard_normal((classes, 8, 1, 1)).astype(np.float32),
        "rows": np.array([0, classes, -1], np.int64),
    }
    nodes = [
        node("Conv", ["input", "layer1.conv.weight", "layer1.conv.bias"], "hidden", kernel_shape=[3, 3], pads=[1] * 4),
        node("Relu", ["hidden"], "features"),
        node("Conv", ["features", "head.weight"], "first", kernel_shape=[1, 1]),
    ]
    if flat:
        nodes += [node("Reshape", ["first", "rows"], "turned"), node("Transpose", ["turned"], "out", perm=[0, 2, 1])]
    else:
        nodes.append(node("Transpose", ["first"], "out", perm=[0, 2, 3, 1] if last else [0, 1, 2, 3]))
    used = {i for n in nodes for i in n.input}
    kept = {n: a for n, a in weights.items() if n in used}
    return model_of(nodes, kept, inputs={"input": ["N", 3, 12, 10]}, outputs=["out"])


def yolo(*, objectness: bool) -> Any:
    scores = rng(8).uniform(0.1, 0.9, (len(BOXES), 3))
    first = [BOXES, rng(9).uniform(0.2, 1, (len(BOXES), 1))] if objectness else [BOXES]
    return np.concatenate([*first, scores], 1).astype(np.float32)[None]
