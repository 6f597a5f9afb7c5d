"""The same trained net, exported from other frameworks, gives the maps of the PyTorch export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import fgcam_onnx
from fgcam_onnx.cli.inspect import report_on
from fgcam_onnx.imaging import find_sidecar, preprocess_from, read_image, read_labels
from fgcam_onnx.layers.layers import candidate_layers, default_base

NAMES = ("circle", "crescent", "cross", "heart", "ring", "square", "star", "triangle")
TORCH = "vgg_shapes.torchscript.onnx"
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Export:
    """An exported file: its input's shape, its base layer, and the ReLU of its fifth convolution."""

    file: str
    input: tuple[Any, ...]
    base: str
    middle: str

    def __str__(self) -> str:
        return self.file.split(".")[1]


NCHW, NHWC = (3, 96, 96), (96, 96, 3)
REFERENCE = Export(TORCH, NCHW, "/features/features.24/MaxPool_output_0", "/features/features.16/Relu_output_0")
EXPORTS = [
    Export(
        "vgg_shapes.keras.onnx",
        NHWC,
        "functional_1/max_pooling2d_3_1/MaxPool2d:0",
        "functional_1/conv2d_4_1/Relu:0",
    ),
    Export("vgg_shapes.jax.onnx", NHWC, "MaxPool_3", "max_out_4"),
    Export("vgg_shapes.paddle.onnx", NCHW, "p2o.pd_op.pool2d.3.0", "p2o.pd_op.relu.4.0"),
]
every_export = pytest.mark.parametrize("export", EXPORTS, ids=str)


def prepared(bundled: Path, export: Export) -> np.ndarray:
    """Return the bundled pictures as the file takes them, by its sidecar and its own input's shape."""
    sidecar = find_sidecar(bundled / export.file)
    assert sidecar is not None
    spec = fgcam_onnx.load(bundled / export.file).inputs[0]
    preprocess = preprocess_from(sidecar).bound(spec.shape, spec.dtype)
    return np.concatenate([preprocess(read_image(bundled / "pictures" / f"{n}.png")) for n in NAMES])


def explained(bundled: Path, export: Export, **options: Any) -> fgcam_onnx.Explanation:
    return fgcam_onnx.explain(bundled / export.file, prepared(bundled, export), **options)


def assert_same_maps(found: np.ndarray, expected: np.ndarray) -> None:
    """Hold every map to within the tolerance of its own maximum."""
    scale = np.abs(expected).max(axis=(1, 2), keepdims=True)
    assert (scale > 0).all()
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=TOLERANCE)


@every_export
def test_the_file_is_small_and_holds_no_notes(bundled: Path, export: Export) -> None:
    path = bundled / export.file
    assert path.stat().st_size <= 1_000_000
    graph = onnx.load(path).graph
    assert not any(part.doc_string for part in (graph, *graph.node, *graph.input, *graph.output))


@every_export
def test_inputs_differ_only_in_their_layout(bundled: Path, export: Export) -> None:
    x, expected = prepared(bundled, export), prepared(bundled, REFERENCE)
    assert x.shape == (len(NAMES), *export.input)
    channels_first = x.transpose(0, 3, 1, 2) if export.input == NHWC else x
    np.testing.assert_array_equal(channels_first, expected)


@every_export
def test_every_picture_is_named_and_the_logits_are_the_same(bundled: Path, export: Export) -> None:
    labels = read_labels(bundled / "shapes.labels.txt")
    found, expected = (explained(bundled, e, method="gradcam") for e in (export, REFERENCE))
    assert [labels[t] for t in found.target] == list(NAMES)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=TOLERANCE)


@every_export
@pytest.mark.parametrize("options", [{}, {"denoise": True}], ids=str)
def test_the_input_map_is_the_same_and_upright(bundled: Path, export: Export, options: Any) -> None:
    found, expected = (explained(bundled, e, **options).map for e in (export, REFERENCE))
    assert found.shape == (len(NAMES), 96, 96)
    assert_same_maps(found, expected)


@every_export
@pytest.mark.parametrize("method", ["gradcam", "fgcam"])
def test_maps_at_the_base_and_a_middle_layer_are_the_same(bundled: Path, export: Export, method: str) -> None:
    found = explained(bundled, export, method=method, layers=[export.base, export.middle])
    expected = explained(bundled, REFERENCE, method=method, layers=[REFERENCE.base, REFERENCE.middle])
    for a, b, side in zip(found.maps.values(), expected.maps.values(), (6, 24), strict=True):
        assert a.shape == (len(NAMES), side, side)
        assert_same_maps(a, b)


@every_export
def test_layers_are_found_with_their_channels_and_nothing_lacks_a_rule(bundled: Path, export: Export) -> None:
    report = report_on(bundled / export.file)
    assert report["notes"] == []
    assert report["score"]["classes"] == len(NAMES)
    assert report["preprocess"] == export.file.replace(".onnx", ".json")
    assert all(s == {"missing": {}, "blocked": 0} for s in report["support"].values())
    convolutions = [x for x in reversed(report["layers"]) if x["op"] == "Conv"]
    assert [x["channels"] for x in convolutions] == [16, 32, 32, 48, 48, 64, 64]
    assert [x["spatial"][0] for x in convolutions] == [96, 48, 48, 24, 24, 12, 12]
    assert {x["channel_axis"] for x in convolutions} == {1}


@every_export
def test_the_input_has_its_channel_axis_and_the_base_is_the_last_pool(bundled: Path, export: Export) -> None:
    model = fgcam_onnx.load(bundled / export.file)
    logits = model.outputs[0].name
    layers = candidate_layers(model, logits=logits)
    assert layers[0].op == "Input"
    assert layers[0].channel_axis == (3 if export.input == NHWC else 1)
    assert (layers[0].channels, layers[0].spatial) == (3, (96, 96))
    assert default_base(model, logits=logits).name == export.base


def clipped(op: str, *operands: str) -> onnx.ModelProto:
    """Return two convolutions with an activation written with ``op`` between, and a mean over positions."""
    rng = np.random.default_rng(5)
    arrays = {
        "w": rng.normal(size=(6, 3, 3, 3)),
        "v": rng.normal(size=(4, 6, 3, 3)),
        "zero": np.zeros(()),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node(op, operands, ["b"], "activation"),
        helper.make_node("Conv", ["b", "v"], ["c"], "conv_2", pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["c"], ["d"], "mean"),
        helper.make_node("Flatten", ["d"], ["y"], "flat"),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", ["N", 3, 8, 8]), ("y", ["N", 4]))
    ]
    weights = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("operands", [("a", "zero"), ("zero", "a")], ids=str)
def test_a_maximum_with_0_is_explained_as_the_relu_that_it_is(operands: tuple[str, str]) -> None:
    x = np.random.default_rng(6).normal(size=(2, 3, 8, 8)).astype(np.float32)
    found = fgcam_onnx.explain(clipped("Max", *operands), x, base_layer="b", target=1)
    expected = fgcam_onnx.explain(clipped("Relu", "a"), x, base_layer="b", target=1)
    assert_same_maps(found.map, expected.map)
