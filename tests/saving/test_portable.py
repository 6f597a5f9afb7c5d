"""A file gives each layout of a square weight a tensor of its own, and computes the same."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

import fgcam_onnx
from fgcam_onnx.exporter import append_explanation
from fgcam_onnx.saving.portable import weights_apart

RNG = np.random.default_rng(7)


def made(
    nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], shape: list[object], out: list[object]
) -> ModelProto:
    ends = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in (("x", shape), ("y", out))]
    graph = helper.make_graph(
        nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(a, n) for n, a in weights.items()]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32) / np.sqrt(np.prod(shape[1:])).astype(np.float32)


def net(*, channels: int = 16, group: int = 1, hidden: int = 16) -> ModelProto:
    """Two strided convolutions, and two linear layers that end at 16 classes."""
    c = channels
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], strides=[2, 2], pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w1"], ["d"], strides=[2, 2], pads=[1] * 4, group=group),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("GlobalAveragePool", ["e"], ["f"]),
        helper.make_node("Flatten", ["f"], ["h"]),
        helper.make_node("Gemm", ["h", "w2", "b2"], ["i"], transB=1),
        helper.make_node("Relu", ["i"], ["j"]),
        helper.make_node("MatMul", ["j", "w3"], ["y"]),
    ]
    weights = {
        "w0": normal(c, 3, 3, 3),
        "w1": normal(c, c // group, 3, 3),
        "w2": normal(hidden, c),
        "b2": normal(hidden),
        "w3": normal(hidden, 16),
    }
    return made(nodes, weights, ["N", 3, 16, 16], ["N", 16])


def copied(model: ModelProto, method: str) -> list[str]:
    """Return the operators that read a tensor made by two negations, after export at the input."""
    explainer = fgcam_onnx.Explainer(model, method=method, layers="input", threads=1)
    nodes = append_explanation(explainer).model.nodes
    made_by = {n.output[0]: n for n in nodes}
    assert sum(n.op_type == "Neg" for n in nodes) % 2 == 0
    return sorted(n.op_type for n in nodes for i in n.input if i in made_by and "apart/" in made_by[i].name)


def readers(found: list[str]) -> list[str]:
    return [x for x in found if x != "Neg"]


@pytest.mark.parametrize("group", [1, 2])
def test_a_square_weight_that_is_laid_out_in_two_ways_is_copied_for_the_second(group: int) -> None:
    assert readers(copied(net(group=group), "gradcam")) == ["ConvTranspose", "Gemm", "MatMul"]


def test_a_weight_that_is_not_square_is_not_copied() -> None:
    assert readers(copied(net(hidden=24), "gradcam")) == ["ConvTranspose"]


def test_a_model_without_square_weights_is_returned_as_it_is() -> None:
    model = fgcam_onnx.load(net())
    assert weights_apart(model) is model


@pytest.mark.parametrize("method", ["gradcam", "fgcam", "relevancecam"])
def test_the_copies_change_no_map(method: str, tmp_path: object) -> None:
    import onnxruntime

    explainer = fgcam_onnx.Explainer(net(group=2), method=method, layers="input", threads=1)
    x = RNG.normal(size=(3, 3, 16, 16)).astype(np.float32)
    proto = append_explanation(explainer).model.standalone()
    assert any("apart/" in n.name for n in proto.graph.node)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    (found,) = onnxruntime.InferenceSession(proto.SerializeToString(), options).run(["explanation"], {"x": x})
    wanted = explainer(x).map
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
