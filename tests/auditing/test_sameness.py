"""Whether two files are one net."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from audited import RESNET, VGG, changed, weight, with_background
from onnx import TensorProto, helper, numpy_helper

import fgcam_onnx
from fgcam_onnx.auditing.sameness import compared, weights_of
from fgcam_onnx.graph.model import Model


def loaded(path: Path) -> Model:
    return fgcam_onnx.load(path)


@pytest.mark.parametrize("other", ["dynamo", "keras", "jax", "paddle"])
def test_one_net_from_several_exporters_is_one(bundled: Path, other: str) -> None:
    found = compared(loaded(bundled / VGG), loaded(bundled / f"vgg_shapes.{other}.onnx"))
    assert found.one is True, found
    assert 2 * found.alike > found.of


def test_a_background_class_and_negated_weights_leave_it_one(bundled: Path, tmp_path: Path) -> None:
    more = changed(bundled / VGG, tmp_path / "more.onnx", with_background)
    found = compared(loaded(bundled / VGG), loaded(more))
    assert (found.one, found.alike) == (True, found.of)
    bad = changed(bundled / VGG, tmp_path / "bad.onnx", lambda m: weight(m, "Conv", 2, lambda w: -w))
    found = compared(loaded(bundled / VGG), loaded(bad))
    assert (found.one, found.alike) == (True, found.of - 1)


def test_pruned_weights_leave_it_one(bundled: Path, tmp_path: Path) -> None:
    def prune(w: np.ndarray) -> np.ndarray:
        return np.where(np.abs(w) < np.quantile(np.abs(w), 0.8), 0, w).astype(w.dtype)

    def every(model: onnx.ModelProto) -> None:
        for place in range(7):
            weight(model, "Conv", place, prune)

    pruned = changed(bundled / VGG, tmp_path / "pruned.onnx", every)
    assert compared(loaded(bundled / VGG), loaded(pruned)).one is True


def test_other_weights_are_another_net(bundled: Path, tmp_path: Path) -> None:
    def shuffle(model: object) -> None:
        rng = np.random.default_rng(0)
        for place in range(7):
            weight(model, "Conv", place, lambda w: rng.permutation(w.ravel()).reshape(w.shape))  # type: ignore[arg-type]

    other = changed(bundled / VGG, tmp_path / "other.onnx", shuffle)
    found = compared(loaded(bundled / VGG), loaded(other))
    assert found.one is False
    assert found.said.startswith("two different nets")


def test_nets_without_weights_of_one_shape_cannot_be_compared(bundled: Path) -> None:
    found = compared(loaded(bundled / VGG), loaded(bundled / RESNET))
    assert found.one is None
    assert "cannot be told" in found.said


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("rank", [1, 0], ids=["per channel", "per tensor"])
def test_the_zero_points_of_a_product_go_with_its_output_channels(turned: int, rank: int) -> None:
    rng = np.random.default_rng(3)
    stored = rng.integers(0, 256, (10, 12)).astype(np.uint8)  # output channels first
    zeros = rng.integers(90, 160, 10 if rank else ()).astype(np.uint8)
    held = {
        "one": np.float32(0.02), "middle": np.uint8(128), "zeros": zeros,
        "weight": stored if turned else np.ascontiguousarray(stored.T),
        "scales": np.full(zeros.shape, 0.01, np.float32),
    }  # fmt: skip
    inputs = ["q", "one", "middle", "weight", "scales", "zeros"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "middle"], ["q"]),
        helper.make_node("QGemm", inputs, ["y"], domain="com.microsoft", transB=turned),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, k]) for n, k in (("x", 12), ("y", 10)))
    graph = helper.make_graph(
        nodes, "g", [x], [y], [numpy_helper.from_array(np.asarray(v), n) for n, v in held.items()]
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    (found,) = weights_of(fgcam_onnx.load(helper.make_model(graph, opset_imports=opsets, ir_version=9)))
    expected = np.stack(
        [row - float(z) for row, z in zip(stored.astype(float), np.broadcast_to(zeros, 10), strict=True)]
    )
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found.rows, expected, rtol=1e-12, atol=1e-12)


def test_real_files_that_belong_together_are_one_net(assets: Path) -> None:
    models = assets / "models"
    pairs = {
        ("mobilenet_v2_fp32_dequant", "mobilenet_v2_dynint8_edge_bench"): True,
        ("mobilenetv2-12-qdq", "mobilenetv2-12-int8"): True,
        ("mobilenet_v2_fp32_dequant", "mobilenetv2-12-int8"): False,
        ("shufflenet_v2_fp32_dequant", "shufflenet-v2-12-int8"): True,
        ("mcunet_in3_fp32_torch", "tflite_mcunet-320kb-1mb_imagenet"): True,
    }
    for (a, b), one in pairs.items():
        assert compared(loaded(models / f"{a}.onnx"), loaded(models / f"{b}.onnx")).one is one, (a, b)
