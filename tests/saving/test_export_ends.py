"""The ends of an exported file: pixels in, pictures out, several layers, and the sizes and names that were there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from bundled import first_pictures
from exported import KERAS, RESNET, VGG, fixed_net, off, ran
from nets import model_of, node
from onnx.reference import ReferenceEvaluator
from PIL import Image

import fgcam_onnx
from fgcam_onnx.errors import FgcamError, OptionError
from fgcam_onnx.exporter import export
from fgcam_onnx.imaging import PRESETS, find_sidecar, preprocess_from, read_image
from fgcam_onnx.matrices import resize_matrix
from fgcam_onnx.saving.ends import eight_bit, min_max, widened


@pytest.mark.parametrize("net", [VGG, KERAS])
@pytest.mark.parametrize("preset", ["sidecar", "imagenet", "caffe", "tf"])
def test_preprocessing_in_the_file_is_that_of_pictures(bundled: Path, tmp_path: Path, net: str, preset: str) -> None:
    source = bundled / f"{net}.onnx"
    explainer = fgcam_onnx.Explainer(source)
    spec = explainer.model.inputs[0]
    chosen = preprocess_from(find_sidecar(source)) if preset == "sidecar" else PRESETS[preset]
    bound = chosen.bound(spec.shape, spec.dtype)
    images = [read_image(f) for f in sorted((bundled / "pictures").glob("*.png"))[:2]]
    pixels = np.stack([np.asarray(bound.view(i)) for i in images])
    made = export(explainer, tmp_path / "e.onnx", preprocess=chosen)
    assert (made.inputs[0].name, made.inputs[0].dtype, made.inputs[0].shape[1:]) == ("pixels", np.uint8, (96, 96, 3))
    found = ran(made.path, {"pixels": pixels})
    wanted = explainer(np.concatenate([bound(i) for i in images]))
    assert off(found["logits"], wanted.scores) <= 1e-5
    assert off(found["explanation"], wanted.map) <= 1e-4


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int8])
def test_grey_pixels_and_whole_numbers_are_made_as_pillow_and_numpy_do(tmp_path: Path, dtype: Any) -> None:
    """A model that returns its input, so that every prepared value is seen."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [node("Cast", ["x"], "r", to=1), node("Conv", ["r", "w"], "c"), node("Flatten", ["c"], "y")]
    model = model_of(nodes, {"w": np.ones((1, 1, 1, 1), np.float32)}, inputs={"x": [1, 1, 16, 16]}, outputs=["y"])
    model.graph.input[0].type.tensor_type.elem_type = kind
    shift = 128.0 if dtype == np.int8 else 0.0
    chosen = preprocess_from({"scale": 1.0 if dtype != np.float32 else 1 / 255, "mean": [shift], "resize": "stretch"})
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    wanted = chosen.bound((1, 1, 16, 16), dtype)(Image.fromarray(pixels))
    made = export(model, tmp_path / "e.onnx", preprocess=chosen, method="saliency", saturation=False, layers="r")
    found = ran(made.path, {"pixels": pixels[None]}, optimized=False)["y"]
    np.testing.assert_array_equal(found.ravel(), wanted.astype(np.float32).ravel())


def test_maps_are_widened_as_the_resize_operator_does_and_normalized(bundled: Path, tmp_path: Path) -> None:
    source, x = bundled / f"{RESNET}.onnx", first_pictures(bundled, RESNET, 2)
    found = {
        (r, n): ran(export(source, tmp_path / "e.onnx", method="gradcam", resize=r, normalize=n).path, {"input": x})
        for r in ("none", "input")
        for n in ("none", "minmax", "uint8")
    }
    maps = {key: value["explanation"] for key, value in found.items()}
    small, wide = maps["none", "none"], maps["input", "none"]
    resized = onnx.helper.make_model(
        onnx.helper.make_graph(
            [node("Resize", ["m", "", "s"], "y", mode="linear", coordinate_transformation_mode="half_pixel")],
            "g",
            [onnx.helper.make_tensor_value_info("m", 1, list(small.shape))],
            [onnx.helper.make_tensor_value_info("y", 1, None)],
            [onnx.numpy_helper.from_array(np.array([1, 16, 16], np.float32), "s")],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
    )
    wanted = ReferenceEvaluator(resized).run(None, {"m": small})[0]
    np.testing.assert_allclose(wide, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())
    matrix = resize_matrix(6, 96).astype(np.float32)
    np.testing.assert_allclose(widened(small, (96, 96)), matrix @ small @ matrix.T, rtol=0, atol=1e-6)
    for r, raw in (("none", small), ("input", wide)):
        positive = np.maximum(raw, 0)
        low, high = positive.min((1, 2), keepdims=True), positive.max((1, 2), keepdims=True)
        shares = (positive - low) / (high - low)
        np.testing.assert_allclose(maps[r, "minmax"], shares, rtol=0, atol=1e-6)
        assert maps[r, "uint8"].dtype == np.uint8
        assert np.abs(maps[r, "uint8"].astype(float) - 255 * shares).max() <= 0.501


def test_a_map_without_positive_values_is_normalized_to_zeros() -> None:
    flat = np.stack([np.zeros((3, 4)), -np.ones((3, 4)), np.full((3, 4), 2.0)]).astype(np.float32)
    assert not min_max(flat).any()
    assert not eight_bit(flat).any()


def test_several_layers_have_an_output_each(bundled: Path, tmp_path: Path) -> None:
    explainer = fgcam_onnx.Explainer(bundled / f"{RESNET}.onnx", layers=["layer2", "input"])
    x = first_pictures(bundled, RESNET, 2)
    found, wanted = ran(export(explainer, tmp_path / "e.onnx").path, {"input": x}), explainer(x)
    assert [n for n in found if n.startswith("explanation/")] == ["explanation/layer2", "explanation/input"]
    for name, m in wanted.maps.items():
        assert off(found[f"explanation/{name}"], m) <= 1e-5


def test_the_batch_can_be_fixed(bundled: Path, tmp_path: Path) -> None:
    made = export(bundled / f"{VGG}.onnx", tmp_path / "e.onnx", batch=3, target="input")
    assert {s.shape[0] for s in (*made.inputs, *made.outputs)} == {3}
    onnx.checker.check_model(onnx.load(made.path), full_check=True)
    x = first_pictures(bundled, VGG, 3)
    found = ran(made.path, {"input": x, "target": np.full(3, -1)})
    assert off(found["explanation"], fgcam_onnx.explain(bundled / f"{VGG}.onnx", x).map) <= 1e-5
    free = export(bundled / f"{VGG}.onnx", tmp_path / "f.onnx")
    assert {s.shape[0] for s in (*free.inputs, *free.outputs)} == {"N"}


def test_a_models_own_names_stay_its_own(tmp_path: Path) -> None:
    made = export(fixed_net(), tmp_path / "e.onnx", target=1)
    assert [o.name for o in made.outputs][:2] == ["explanation", "fgcam/output/explanation"]
    assert json.loads(made.metadata["outputs"])["fgcam/output/explanation"] == "map at input"
    with pytest.raises(FgcamError, match="'target'"):
        export(fixed_net(), tmp_path / "f.onnx", target="input")
    with pytest.raises(OptionError, match="batch of 2"):
        export(fixed_net(), tmp_path / "f.onnx", batch=3)
    assert not (tmp_path / "f.onnx").exists()


def test_inputs_that_nothing_reads_stay(bundled: Path, tmp_path: Path) -> None:
    model = onnx.load(bundled / f"{VGG}.onnx")
    model.graph.input.append(onnx.helper.make_tensor_value_info("unread", 1, [1]))
    made = export(model, tmp_path / "e.onnx", input="input")
    assert [i.name for i in made.inputs] == ["input", "unread"]
