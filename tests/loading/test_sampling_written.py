"""DeformConv and AffineGrid are written out: the runtime's own outputs, and gradients to picture, places and masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from fgcam_onnx import load
from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.lrp.composites import fg_cam
from fgcam_onnx.program import append_gradients, append_relevance

SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "strides and pads": {"strides": [2, 1], "pads": [1, 2, 1, 0]},
    "dilated, in groups": {"dilations": [1, 2], "group": 2, "pads": [0, 2, 0, 2]},
    "two groups of offsets": {"offset_group": 2, "pads": [1, 1, 1, 1]},
}
FEEDS = ("x", "offset", "mask")


def bent(about: str, *, mask: bool, batch: int = 2) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Return one DeformConv and its inputs; offsets keep samples away from whole places."""
    attrs = {"pads": [0] * 4, "strides": [1, 1], "dilations": [1, 1], "group": 1, "offset_group": 1} | SETTINGS[about]
    rng = np.random.default_rng(len(about))
    kernel, size = (3, 2), (6, 5)
    out = [
        (size[a] + attrs["pads"][a] + attrs["pads"][a + 2] - attrs["dilations"][a] * (kernel[a] - 1) - 1)
        // attrs["strides"][a]
        + 1
        for a in (0, 1)
    ]
    taps, groups = kernel[0] * kernel[1], attrs["offset_group"]
    feeds = {
        "x": rng.normal(size=(batch, 4, *size)),
        "offset": rng.integers(-1, 2, (batch, 2 * taps * groups, *out))
        + rng.uniform(0.2, 0.8, (batch, 2 * taps * groups, *out)),
        "mask": rng.uniform(0.2, 1, (batch, taps * groups, *out)),
    }
    feeds = {k: v.astype(np.float32) for k, v in feeds.items() if mask or k != "mask"}
    w = rng.normal(size=(6, 4 // attrs["group"], *kernel)).astype(np.float32)
    b = rng.normal(size=6).astype(np.float32)
    inputs = ["x", "w", "offset", "b", *(["mask"] if mask else [])]
    node = helper.make_node("DeformConv", inputs, ["y"], kernel_shape=list(kernel), **attrs)
    return _model(node, feeds, {"w": w, "b": b}), feeds


def moved(size: list[int], *, align: int) -> tuple[onnx.ModelProto, dict[str, Any]]:
    dims = len(size) - 2
    theta = np.random.default_rng(align).normal(size=(size[0], dims, dims + 1)).astype(np.float32)
    node = helper.make_node("AffineGrid", ["x", "size"], ["y"], align_corners=align)
    return _model(node, {"x": theta}, {"size": np.array(size)}), {"x": theta}


def _model(node: onnx.NodeProto, feeds: dict[str, Any], weights: dict[str, Any]) -> onnx.ModelProto:
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info(k, TensorProto.FLOAT, v.shape) for k, v in feeds.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def held(model: onnx.ModelProto, feeds: dict[str, Any]) -> None:
    """Hold the output against the runtime's own operator, and every gradient against differences of it."""
    session, loaded, rng = ort.InferenceSession(model.SerializeToString()), load(model), np.random.default_rng(9)
    assert not {"AffineGrid", "DeformConv"} & {n.op_type for n in loaded.nodes}

    def run(given: dict[str, Any]) -> Any:
        return session.run(None, given)[0]

    y = run(feeds)
    emitter = Emitter(loaded)
    seed = rng.normal(size=y.shape).astype(np.float32)
    found = append_gradients(emitter, list(feeds), output="y", seed=emitter.constant(seed))
    emitter.output("same", emitter.value("y"))
    for name, value in found.items():
        emitter.output(f"gradient/{name}", value)
    program = ort.InferenceSession(emitter.build().standalone().SerializeToString())
    names = [f"gradient/{n}" for n in feeds]
    same, *gradients = program.run(["same", *names], feeds)
    np.testing.assert_allclose(same, y, rtol=1e-4, atol=1e-5)
    for name, gradient in zip(feeds, gradients, strict=True):
        for _ in range(3):
            way = rng.normal(size=feeds[name].shape)
            step = 1e-2 if name != "offset" else 2e-2
            ends = [
                float((run({**feeds, name: (feeds[name] + s * step * way).astype(np.float32)}) * seed).sum(dtype=float))
                for s in (1, -1)
            ]
            measured = (ends[0] - ends[1]) / (2 * step)
            size = float(np.abs(gradient.astype(float) * way).sum())
            claimed = float((gradient.astype(float) * way).sum())
            assert abs(claimed - measured) < 2e-3 * size, (name, claimed, measured)
            far = abs(claimed) > 0.1 * size
            assert not far or abs(1.05 * claimed - measured) > 2e-3 * size  # negative control: 5 % off


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("about", SETTINGS)
def test_a_bent_convolution_is_the_runtimes_own_with_its_gradients(about: str, mask: bool) -> None:
    held(*bent(about, mask=mask))


@pytest.mark.parametrize("align", [0, 1])
@pytest.mark.parametrize("size", [[2, 3, 5, 4], [1, 1, 3, 2, 4]])
def test_an_affine_grid_is_the_runtimes_own_with_its_gradient(size: list[int], align: int) -> None:
    held(*moved(size, align=align))


def test_an_affine_grid_on_one_place_is_written_out_where_runtimes_agree() -> None:
    held(*moved([1, 1, 1, 3], align=0))
    assert [n.op_type for n in load(moved([1, 1, 1, 3], align=1)[0]).nodes] == ["AffineGrid"]


def test_relevance_of_a_bent_convolution_goes_to_the_picture_and_is_conserved() -> None:
    model, feeds = bent("two groups of offsets", mask=False)
    feeds["x"] = np.abs(feeds["x"]) + 0.1
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.zeros(6, np.float32), "b"))
    emitter = Emitter(load(model))
    y = emitter.value("y")
    found = append_relevance(emitter, ["x"], output="y", seed=np.maximum(y, 0), pullback=fg_cam())
    emitter.output("relevance", found["x"])
    emitter.output("start", np.maximum(y, 0))
    program = ort.InferenceSession(emitter.build().standalone().SerializeToString())
    relevance, start = program.run(["relevance", "start"], feeds)
    np.testing.assert_allclose(relevance.sum(), start.sum(), rtol=1e-3)
