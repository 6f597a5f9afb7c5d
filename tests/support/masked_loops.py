"""Gradient-free CAMs as textbook loops: the whole model, run by plain onnxruntime, one changed run after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
from nets import inserted, node
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

Array = NDArray[Any]
METHODS: dict[str, dict[str, Any]] = {
    "ablationcam": {},
    "iscam": {"samples": 3},
    "reciprocam": {},
    "scorecam": {},
    "sscam": {"samples": 2},
}


def runs_of(model: ModelProto, *names: str) -> Callable[..., list[Array]]:
    """Return what runs ``model``; tensors ``names`` are outputs too, after its own."""
    changed = ModelProto()
    changed.CopyFrom(model)
    changed.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names)
    session = onnxruntime.InferenceSession(changed.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda x, name="input": session.run(None, {name: x})  # type: ignore[no-any-return]


def multiplied(model: ModelProto, name: str, factor: Array) -> ModelProto:
    """Return ``model`` with tensor ``name`` times ``factor`` in its place."""
    changed = inserted(model, name, node("Mul", [name, f"{name}/factor"], f"{name}/changed"), result=f"{name}/changed")
    changed.graph.initializer.append(numpy_helper.from_array(factor.astype(np.float32), f"{name}/factor"))
    return changed


def widened(a: Array, size: tuple[int, int], *, corners: bool) -> Array:
    """Upsample (h, w) bilinearly, one line of numbers after the other."""
    for n in size:
        at = np.linspace(0, len(a) - 1, n) if corners else (np.arange(n) + 0.5) * len(a) / n - 0.5
        a = np.stack([np.interp(at, np.arange(len(a)), column) for column in a.T])
    return a


def unit(a: Array) -> Array:
    return (a - a.min()) / np.ptp(a) if np.ptp(a) else 0 * a


def softmax(a: Array) -> Array:
    return np.exp(a - a.max()) / np.exp(a - a.max()).sum()


def textbook(method: str, model: ModelProto, x: Array, seed: Array, layer: str) -> Array:
    """Return the map of one image (1, ...), each run on its own; ``seed`` (K,) weighs the logits."""
    logits, features = runs_of(model, layer)(x)
    a, size = features[0].astype(np.float64), (x.shape[2], x.shape[3])
    run = runs_of(model)

    def score(mask: Array) -> float:
        return float(run((x * mask).astype(np.float32))[0][0] @ seed)

    def changed(factor: Array) -> float:
        return float(runs_of(multiplied(model, layer, factor))(x)[0][0] @ seed)

    if method == "scorecam":
        scores = [score(unit(widened(c, size, corners=True))) for c in a]
    elif method == "iscam":
        scores = [np.mean([score(f * widened(unit(c), size, corners=False)) for f in (1 / 3, 1, 2)]) for c in a]
    elif method == "sscam":
        noise = (2.0 * np.random.default_rng(0).standard_normal((2, *size))).astype(np.float32)
        scores = [np.mean([score(widened(unit(c), size, corners=False) + n) for n in noise]) for c in a]
    elif method == "ablationcam":
        y = logits[0] @ seed
        weights = [(y - changed(1 - np.eye(len(a))[k][None, :, None, None])) / y for k in range(len(a))]
        return np.tensordot(np.array(weights), a, 1)
    else:
        kernel = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
        found = np.zeros(a.shape[1:])
        for i, j in np.ndindex(found.shape):
            around = np.zeros((a.shape[1] + 2, a.shape[2] + 2))
            around[i : i + 3, j : j + 3] = kernel
            found[i, j] = changed(around[None, None, 1:-1, 1:-1])
        return found
    return np.tensordot(softmax(np.array(scores)), a, 1)


def close(found: Array, expected: Array, tolerance: float = 2e-5) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())
