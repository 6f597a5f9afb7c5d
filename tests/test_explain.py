"""What the API promises: names, shapes and types of what comes back, and what it refuses to guess."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from nets import BASE, images, model_of, small_cnn, small_nodes, small_weights, written
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image

import fgcam_onnx
from fgcam_onnx import Explainer, Explanation, explain
from fgcam_onnx.errors import InputError, LayerError, NumericsError, OptionError, TargetError


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(small_cnn(), layers=("input", "layer1"))


def close(a: NDArray[Any], b: NDArray[Any]) -> None:
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())


# ---- what comes back


def test_an_explanation_has_a_signed_map_for_each_layer_by_the_name_it_was_asked_by(
    explainer: Explainer,
) -> None:
    e = explainer(images(3))
    assert list(e.maps) == ["input", "layer1"]
    assert {m.shape for m in e.maps.values()} == {(3, 12, 10)}
    assert all(m.dtype == np.float32 for m in e.maps.values())
    assert e.target.shape == e.score.shape == (3,)
    assert e.scores.shape == (3, 5)
    assert (e.target.dtype, e.score.dtype, e.scores.dtype) == (np.int64, np.float32, np.float32)
    assert set(e.conservation) == set(e.maps)
    assert all(v.shape == (3,) for v in e.conservation.values())


def test_the_default_target_is_the_top_class(explainer: Explainer) -> None:
    x = images(4)
    top = explainer(x)
    np.testing.assert_array_equal(top.target, top.scores.argmax(1))
    np.testing.assert_array_equal(top.score, top.scores.max(1))
    named = explainer(x, target=top.target)
    np.testing.assert_array_equal(top.maps["input"], named.maps["input"])


@pytest.mark.parametrize("target", [[2, 2], (2, 2), np.array([2, 2], np.uint8), np.int32(2)])
def test_a_target_can_be_a_number_or_one_for_each_image(explainer: Explainer, target: Any) -> None:
    x = images()
    np.testing.assert_array_equal(explainer(x, target=target).maps["input"], explainer(x, target=2).maps["input"])


def test_each_image_gets_its_own_target(explainer: Explainer) -> None:
    x = images(3)
    mixed = explainer(x, target=[0, 4, 1])
    for i, target in enumerate((0, 4, 1)):
        close(mixed.maps["input"][i], explainer(x[i : i + 1], target=target).maps["input"][0])


@pytest.mark.parametrize("options", [{}, {"denoise": True}, {"base": "scorecam"}, {"method": "gradcam"}])
def test_a_batch_gives_what_its_images_give_alone(options: dict[str, Any]) -> None:
    x = images(5)
    explainer = Explainer(small_cnn(), layers=BASE, batch=2, **options)
    together = explainer(x)
    for i in range(len(x)):
        close(together.map[i], explainer(x[i : i + 1]).map[0])


def test_explaining_in_one_call_is_explaining_in_two(tmp_path: Path) -> None:
    x = images()
    path = written(small_cnn(), tmp_path)
    one = explain(path, x, target=3, base="scorecam", layers="layer1")
    two = Explainer(str(path), base="scorecam", layers=["layer1"])(x, target=3)
    np.testing.assert_array_equal(one.map, two.map)
    assert fgcam_onnx.explain is explain


@pytest.mark.parametrize("rescale", ["layer", "channel", "none"])
def test_fullgrad_has_every_bias_whether_the_batch_is_free_or_fixed(rescale: str) -> None:
    free, fixed = (explain(small_cnn(batch=b), images(2), method="fullgrad", rescale=rescale) for b in ("N", 2))
    close(free.map, fixed.map)
    biasless = small_cnn()
    for tensor in biasless.graph.initializer:
        if tensor.name == "layer1.conv.bias":
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(8, np.float32), tensor.name))
    assert np.abs(explain(biasless, images(2), method="fullgrad", rescale=rescale).map - free.map).max() > 1e-4


def test_all_layers_are_those_from_the_input_to_the_base() -> None:
    e = explain(small_cnn(), images(), layers="all")
    assert next(iter(e.maps)) == "input"
    assert list(e.maps)[-1] == BASE
    assert len(e.maps) == 6
    alone = explain(small_cnn(), images(), layers="/pool/MaxPool_output_0")
    close(e.maps["/pool/MaxPool_output_0"], alone.map)


def test_what_comes_out_is_what_went_in_where_there_are_no_biases() -> None:
    weights = {n: a for n, a in small_weights().items() if n == "fc.bias" or not n.endswith("bias")}
    nodes = small_nodes()
    for n in nodes:
        if n.op_type == "Conv":
            del n.input[2]
    model = model_of(nodes, weights, inputs={"input": ["N", 3, 12, 10]}, outputs=["logits"])
    e = explain(model, images(), layers=("input", "layer1", BASE))
    for kept in e.conservation.values():
        np.testing.assert_allclose(kept, 1, rtol=0, atol=1e-4)
    for name, values in e.maps.items():
        np.testing.assert_allclose(values.sum((1, 2)), e.maps[BASE].sum((1, 2)), rtol=1e-3, err_msg=name)


def test_denoised_components_have_no_conservation_to_speak_of() -> None:
    e = explain(small_cnn(), images(), denoise=True)
    assert np.isnan(e.conservation["input"]).all()
    assert e.summary()["conservation"]["input"] == [None, None]


def test_methods_that_hand_nothing_on_have_no_conservation() -> None:
    assert explain(small_cnn(), images(), method="gradcam", layers=BASE).conservation == {}


def test_one_map_is_asked_for_without_its_name(explainer: Explainer) -> None:
    with pytest.raises(LayerError, match="input, layer1"):
        _ = explainer(images()).map


def test_a_saved_explanation_loads_without_pickle(explainer: Explainer, tmp_path: Path) -> None:
    e = explainer(images())
    paths = e.save(tmp_path / "new" / "folder")
    assert [p.name for p in paths] == ["input.npy", "layer1.npy", "explanation.npz", "explanation.json"]
    np.testing.assert_array_equal(np.load(paths[0], allow_pickle=False), e.maps["input"])
    assert json.loads(paths[-1].read_text())["target"] == e.target.tolist()


def test_layers_whose_names_make_the_same_file_name_are_saved_apart(tmp_path: Path) -> None:
    one = np.ones((1, 2, 2), np.float32)
    e = Explanation({"a/b": one, "a_b": 2 * one, "A_B": 3 * one}, np.zeros(1, np.int64), one[0, 0], one[0], {})
    paths = e.save(tmp_path)
    assert len({p.name.lower() for p in paths}) == 5
    assert [float(np.load(p).max()) for p in paths[:3]] == [1, 2, 3]


def test_a_notebook_shows_the_maps(explainer: Explainer) -> None:
    shown = explainer(images())._repr_html_()
    found = [base64.b64decode(text) for text in re.findall(r'src="data:image/jpeg;base64,([^"]+)"', shown)]
    assert len(found) == 2 * 2
    for picture in found:
        with Image.open(io.BytesIO(picture)) as one:
            assert min(one.size) > 10


def test_an_overlay_has_the_size_of_the_picture(explainer: Explainer) -> None:
    e = explainer(images())
    height, width = e.maps["input"].shape[1:]
    picture = Image.new("RGB", (width, height), "grey")
    assert e.overlay(picture, layer="input", index=1).size == (width, height)
    with pytest.raises(LayerError, match="layer1"):
        e.overlay(picture)
    with pytest.raises(LayerError, match=r"'layer2'.*layer1"):
        e.overlay(picture, layer="layer2")
    with pytest.raises(InputError, match="2 images"):
        e.overlay(picture, layer="input", index=2)


# ---- what is refused


@pytest.mark.parametrize(
    ("target", "word"),
    [
        (5, "0 to 4"), (-1, "0 to 4"), ([0, 5], "0 to 4"), ([0, -1], "0 to 4"),
        ([1], "1 targets for 2 images"), ([0, 1, 2], "3 targets for 2 images"), ([], "0 targets"),
        ([[0, 1]], "class index"), (1.0, "class index"), (True, "class index"), ("cat", "class index"),
        ([0, [1, 2]], "class index"), (2**70, "class index|0 to 4"),
    ],
)  # fmt: skip
def test_targets_that_do_not_fit_are_refused_and_never_broadcast(explainer: Explainer, target: Any, word: str) -> None:
    with pytest.raises(TargetError, match=word):
        explainer(images(), target=target)


def test_one_image_takes_a_list_of_one_target(explainer: Explainer) -> None:
    assert explainer(images(1), target=[3]).target.tolist() == [3]


@pytest.mark.parametrize(
    ("x", "word"),
    [
        (np.zeros((3, 12, 10), np.float32), "4 dimensions"),
        (np.zeros((1, 360), np.float32), "4 dimensions"),
        (np.zeros((1, 12, 10, 3), np.float32), r"\(1, 12, 10, 3\)"),
        (np.zeros((1, 3, 12, 11), np.float32), r"\(1, 3, 12, 11\)"),
        (np.zeros((0, 3, 12, 10), np.float32), "empty"),
        (np.zeros((1, 3, 12, 10), np.uint8), "float32.*uint8"),
        (np.zeros((1, 3, 12, 10), np.complex64), "float32.*complex64"),
        (np.full((1, 3, 12, 10), "x"), "float32"),
        ([[1, 2], [3]], "array"),
        (None, "dimensions"),
        ({"image": np.zeros((1, 3, 12, 10), np.float32)}, "'image'.*input"),
        ({}, "no value"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_with_both_shapes(explainer: Explainer, x: Any, word: str) -> None:
    with pytest.raises(InputError, match=word):
        explainer(x)


def test_wider_floats_are_narrowed(explainer: Explainer) -> None:
    x = images()
    np.testing.assert_array_equal(explainer(x.astype(np.float64)).scores, explainer(x).scores)
    np.testing.assert_array_equal(explainer({"input": x}).scores, explainer(x).scores)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_inputs_that_are_not_finite_are_refused_as_such(explainer: Explainer, value: float) -> None:
    x = images()
    x[1, 0, 3, 3] = value
    with pytest.raises(NumericsError, match="1 of 720 values of 'input'"):
        explainer(x)


def test_values_that_overflow_inside_the_model_are_told_from_bad_inputs(explainer: Explainer) -> None:
    with pytest.raises(NumericsError, match=r"the model.*preprocessing"):
        explainer(np.full((1, 3, 12, 10), 3e38, np.float64))


def test_weights_that_are_not_finite_are_reported_not_drawn() -> None:
    model = small_cnn()
    tensor = next(t for t in model.graph.initializer if t.name == "fc.weight")
    array = onnx.numpy_helper.to_array(tensor).copy()
    array[2, 2] = np.nan
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, "fc.weight"))
    with pytest.raises(NumericsError, match="the model"):
        explain(model, images())


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"method": "fgcm"}, "unknown method 'fgcm'.*mean 'fgcam'"),
        ({"base": "grad"}, "unknown base 'grad'.*mean 'gradcam'"),
        ({"residual": "postive"}, "unknown residual 'postive'.*mean 'positive'"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"threads": -1}, "threads must be at least 0"),
    ],
)
def test_unknown_options_are_refused_with_near_ones(options: dict[str, Any], word: str) -> None:
    with pytest.raises(OptionError, match=word):
        Explainer(small_cnn(), **options)


def test_options_that_are_refused_are_refused_whatever_the_method() -> None:
    with pytest.raises(OptionError, match="residual"):
        Explainer(small_cnn(), method="gradcam", layers=BASE, residual="x")


def test_no_layer_at_all_is_refused() -> None:
    with pytest.raises(LayerError, match="no layer"):
        Explainer(small_cnn(), layers=())
