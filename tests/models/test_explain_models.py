"""What is found in a model, and what to do about it where the model leaves a choice or stands in the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from nets import (
    BASE,
    TAILS,
    images,
    inserted,
    model_of,
    node,
    small_cnn,
    small_nodes,
    small_weights,
    two_eyed,
    two_headed,
)
from onnx import ModelProto, helper

from fgcam_onnx import Explainer, explain, load
from fgcam_onnx.errors import (
    DeviceError,
    InputError,
    LayerError,
    TargetError,
    UnsupportedOperatorError,
)

# ---- inputs and outputs


def test_several_outputs_have_to_be_chosen_from() -> None:
    with pytest.raises(TargetError, match=r"logits.*other.*output=.*--output"):
        Explainer(two_headed())
    with pytest.raises(TargetError, match=r"no output 'logit'.*mean 'logits'"):
        Explainer(two_headed(), output="logit")
    x = images()
    chosen = explain(two_headed(), x, output="logits")
    np.testing.assert_array_equal(chosen.map, explain(small_cnn(), x).map)


def test_several_inputs_have_to_be_chosen_from() -> None:
    with pytest.raises(InputError, match=r"shift.*input.*input=.*--input"):
        Explainer(two_eyed())
    with pytest.raises(InputError, match=r"no input 'inputs'.*mean 'input'"):
        Explainer(two_eyed(), input="inputs")


@pytest.mark.parametrize(
    "options", [{}, {"base": "scorecam"}, {"denoise": True}, {"method": "gradcam", "layers": BASE}]
)
def test_an_image_is_explained_beside_other_inputs(options: dict[str, Any]) -> None:
    x, shift = images(), np.zeros((2, 5), np.float32)
    explainer = Explainer(two_eyed(), input="input", **options)
    found = explainer({"input": x, "shift": shift}, target=2)
    wanted = explain(small_cnn(), x, target=2, **options)
    np.testing.assert_allclose(found.map, wanted.map, rtol=0, atol=1e-6 * np.abs(wanted.map).max())


def test_an_input_that_is_left_out_is_named() -> None:
    explainer = Explainer(two_eyed(), input="input")
    with pytest.raises(InputError, match="'shift'"):
        explainer(images())
    with pytest.raises(InputError, match=r"'shift'.*3.*2|'input'.*2.*3"):
        explainer({"input": images(2), "shift": np.zeros((3, 5), np.float32)})


@pytest.mark.parametrize("tail", TAILS)
def test_a_trailing_softmax_or_sigmoid_is_looked_through(tail: str) -> None:
    x = images()
    bare, squashed = explain(small_cnn(), x), explain(small_cnn(tail=tail), x)
    np.testing.assert_array_equal(squashed.map, bare.map)
    np.testing.assert_array_equal(squashed.scores, bare.scores)


def test_a_softmax_before_a_mere_view_is_looked_through() -> None:
    model = small_cnn(tail="Softmax")
    model.graph.node.append(node("Identity", ["output"], "named"))
    model.graph.output[0].name = "named"
    x = images()
    np.testing.assert_array_equal(explain(model, x).map, explain(small_cnn(), x).map)


def test_the_output_itself_is_explained_when_asked() -> None:
    x = images()
    inner, outer = (explain(small_cnn(tail="Softmax"), x, before_softmax=b) for b in (True, False))
    np.testing.assert_allclose(outer.scores.sum(1), 1, rtol=1e-5, atol=0)
    assert np.abs(inner.scores.sum(1) - 1).min() > 1e-3
    assert not np.allclose(inner.map, outer.map, rtol=1e-3, atol=0)


# ---- layers


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("/layer1/relu/Relu", "/layer1/relu/Relu_output_0"),
        ("layer1", "/layer1/relu/Relu_output_0"),
        ("layer1.conv", "/layer1/conv/Conv_output_0"),
        ("/pool", "/pool/MaxPool_output_0"),
        ("layer2.re", BASE),
    ],
)
def test_a_layer_is_named_by_tensor_node_scope_or_unique_prefix(name: str, tensor: str) -> None:
    x = images()
    short = explain(small_cnn(), x, layers=name)
    assert list(short.maps) == [name]
    np.testing.assert_array_equal(short.map, explain(small_cnn(), x, layers=tensor).map)


def test_the_graphs_input_is_called_input_whatever_its_name() -> None:
    model = model_of(
        small_nodes(source="pixels"), small_weights(), inputs={"pixels": ["N", 3, 12, 10]}, outputs=["logits"]
    )
    x = images()
    e = explain(model, x, layers=("input", "pixels"))
    np.testing.assert_array_equal(e.maps["input"], e.maps["pixels"])


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("layr1", "mean.*'layer1"),
        ("layer", "not unique.*layer1.*layer2"),
        ("/layer1", "not unique"),
        ("nothing like it", "fgcam inspect"),
        ("", "fgcam inspect|not unique"),
        ("/gap/GlobalAveragePool_output_0", "no spatial extent"),
        ("logits", "no spatial extent"),
        ("/Flatten", "no spatial extent"),
        ("fc.weight", "no path|no layer"),
    ],
)
def test_layers_that_are_not_there_or_cannot_carry_a_map_are_refused(name: str, word: str) -> None:
    with pytest.raises(LayerError, match=word):
        Explainer(small_cnn(), layers=name)


def with_side_branch() -> ModelProto:
    nodes = [
        *small_nodes(),
        node("Relu", ["/layer1/conv/Conv_output_0"], "/side/Relu_output_0"),
        node("GlobalAveragePool", ["/side/Relu_output_0"], "beside"),
    ]
    return model_of(nodes, small_weights(), inputs={"input": ["N", 3, 12, 10]}, outputs=["logits", "beside"])


def test_a_layer_off_the_path_to_the_score_is_refused() -> None:
    with pytest.raises(LayerError, match=r"/side/Relu_output_0.*no path from input .input. to the score"):
        Explainer(with_side_branch(), output="logits", layers="/side/Relu_output_0")


def test_a_layer_deeper_than_the_base_is_refused() -> None:
    with pytest.raises(LayerError, match=r"path"):
        Explainer(small_cnn(), layers="layer2", base_layer="layer1")


def test_a_base_layer_is_chosen_by_any_of_its_names() -> None:
    x = images()
    np.testing.assert_array_equal(
        explain(small_cnn(), x, base_layer="layer1.relu").map,
        explain(small_cnn(), x, base_layer="/layer1/relu/Relu_output_0").map,
    )
    with pytest.raises(LayerError, match=r"mean.*'layer1"):
        Explainer(small_cnn(), base_layer="layr1")


def test_a_net_without_spatial_extent_has_no_base_and_says_so() -> None:
    weights = {"w": np.ones((4, 3), np.float32)}
    model = model_of(
        [node("MatMul", ["input", "w"], "logits")], weights, inputs={"input": ["N", 4]}, outputs=["logits"]
    )
    with pytest.raises(LayerError, match=r"spatial extent"):
        Explainer(model)


# ---- operators that stand in the way


def test_an_operator_without_a_rule_is_named_with_its_node_and_the_way_out() -> None:
    custom = node("Wiggle", ["/pool/MaxPool_output_0"], "/stn/Wiggle_output_0", domain="org.example")
    model = inserted(small_cnn(), "/pool/MaxPool_output_0", custom, result="/stn/Wiggle_output_0")
    model.opset_import.append(helper.make_opsetid("org.example", 1))
    with pytest.raises(UnsupportedOperatorError, match=r"org.example.Wiggle.*'/stn/Wiggle'.*Export"):
        Explainer(model, layers="input")


def in_the_middle(*nodes: onnx.NodeProto, result: str) -> ModelProto:
    return inserted(small_cnn(), "/pool/MaxPool_output_0", *nodes, result=result)


def test_layers_behind_an_operator_without_a_rule_still_work() -> None:
    """CenterCropPad has no rule here; the layer after it does not need one."""
    model = in_the_middle(
        node("CenterCropPad", ["/pool/MaxPool_output_0", "sizes"], "/stn/CenterCropPad_output_0", axes=[2, 3]),
        result="/stn/CenterCropPad_output_0",
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([6, 5]), "sizes"))
    name = r"CenterCropPad.*'/stn/CenterCropPad'.*[Cc]hoose a layer after it"
    with pytest.raises(UnsupportedOperatorError, match=name):
        Explainer(model, layers="input")
    assert Explainer(model, layers=BASE)(images()).map.shape == (2, 6, 5)
    assert Explainer(model, layers="layer2.conv")(images()).map.shape == (2, 6, 5)


@pytest.mark.parametrize("op", ["Round", "Sign", "Floor"])
def test_an_operator_without_derivative_on_the_only_path_is_an_error_not_zeros(op: str) -> None:
    name = f"/steps/{op}_output_0"
    model = in_the_middle(node(op, ["/pool/MaxPool_output_0"], name), result=name)
    for method in ("fgcam", "gradcam"):
        with pytest.raises(UnsupportedOperatorError, match=rf"{op}.*'/steps/{op}'.*[Cc]hoose a layer after it"):
            Explainer(model, layers="layer1", method=method)
    assert np.abs(Explainer(model, layers=BASE)(images()).map).max() > 0


# ---- devices


def test_unknown_devices_are_refused() -> None:
    with pytest.raises(DeviceError, match=r"unknown device 'gpu'.*auto, cpu, cuda"):
        Explainer(small_cnn(), device="gpu")


def test_a_model_may_call_its_tensors_what_programs_call_their_outputs() -> None:
    """Some exporters' outputs are called ``scores``."""

    def named(names: tuple[str, str, str, str]) -> ModelProto:
        a, b, c, logits = names
        nodes = [
            node("Conv", ["input", "w"], a, pads=[1, 1, 1, 1]),
            node("Relu", [a], b),
            node("GlobalAveragePool", [b], c),
            node("Flatten", [c], logits),
        ]
        weights = {"w": np.random.default_rng(0).standard_normal((5, 3, 3, 3)).astype(np.float32)}
        return model_of(nodes, weights, inputs={"input": ["N", 3, 12, 10]}, outputs=[logits])

    x = images()
    plain, clashing = (
        explain(load(named(n)), x) for n in (("a", "b", "c", "d"), ("score", "map/0", "total", "scores"))
    )
    np.testing.assert_array_equal(plain.map, clashing.map)
    np.testing.assert_array_equal(plain.scores, clashing.scores)
