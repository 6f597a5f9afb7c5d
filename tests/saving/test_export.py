"""An exported file gives the model's outputs and the explainer's maps, in plain onnxruntime."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from bundled import first_pictures
from nets import model_of, node
from onnx.reference import ReferenceEvaluator
from PIL import Image
from reference_ops import ConvTranspose

import fgcam_onnx
from fgcam_onnx.errors import FgcamError, InputError, ModelError, OptionError, OutputError, TargetError
from fgcam_onnx.exporter import Choice, Exported, append_explanation, export
from fgcam_onnx.graph.subgraphs import nodes_inside
from fgcam_onnx.imaging import PRESETS, find_sidecar, preprocess_from, read_image
from fgcam_onnx.matrices import resize_matrix
from fgcam_onnx.methods import METHODS
from fgcam_onnx.saving.ends import eight_bit, min_max, widened

NETS = ("vgg_shapes.dynamo", "resnet_shapes.torchscript", "vgg_shapes.keras", "vgg_shapes.jax", "vgg_shapes.paddle")
VGG, RESNET, KERAS = NETS[:3]
ONE_GRAPH = tuple(name for name, method in METHODS.items() if method.append is not None)
VARIANTS: dict[str, dict[str, Any]] = {
    **{name: {"method": name} for name in ONE_GRAPH if name != "chefer"},
    "integratedgradients": {"method": "integratedgradients", "steps": 4},
    "iscam": {"method": "iscam", "samples": 2},
    "refined scorecam": {"base": "scorecam"},
    "denoised": {"denoise": True},
    "smoothed": {"method": "hirescam", "eigen_smooth": True},
    "refined eigengradcam": {"base": "eigengradcam"},
}
LOOSE = {"denoised": 1e-4, "smoothed": 1e-4, "eigencam": 1e-4, "eigengradcam": 1e-4, "refined eigengradcam": 1e-4}
"""Where the file finds singular vectors in another way; 2e-6 is what was seen."""


def session(path: Path, *, optimized: bool = True) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def ran(path: Path, feeds: dict[str, Any], *, optimized: bool = True) -> dict[str, Any]:
    made = session(path, optimized=optimized)
    return dict(zip([o.name for o in made.get_outputs()], made.run(None, feeds), strict=True))


def off(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return the largest difference relative to the largest value."""
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize(
    ("net", "variant"), [*((RESNET, v) for v in VARIANTS), *((VGG, v) for v in ("fgcam", "lrp", "denoised"))]
)
def test_the_file_gives_the_explainers_map_for_any_batch(bundled: Path, tmp_path: Path, net: str, variant: str) -> None:
    """The same graph is run, so rounding apart they agree; singular vectors are found in another way.

    The file is valid, of standard operators only, and not much larger than the model.
    """
    explainer = fgcam_onnx.Explainer(bundled / f"{net}.onnx", threads=1, **VARIANTS[variant])
    exported = export(explainer, tmp_path / "e.onnx")
    model = onnx.load(exported.path)
    onnx.checker.check_model(model, full_check=True)
    assert {n.domain for n in nodes_inside(model.graph.node)} == {""}
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
    assert exported.size == exported.path.stat().st_size <= (bundled / f"{net}.onnx").stat().st_size + 500_000
    made = session(exported.path)
    names = [o.name for o in made.get_outputs()]
    x = first_pictures(bundled, net)
    for count in (1, 3, 8):
        found = dict(zip(names, made.run(None, {explainer.input: x[:count]}), strict=True))
        wanted = explainer(x[:count])
        assert off(found["explanation"], wanted.map) <= LOOSE.get(variant, 1e-5)
        np.testing.assert_array_equal(found["explanation_target"], wanted.target)
        np.testing.assert_allclose(found["explanation_score"], wanted.score, rtol=1e-5, atol=0)


@pytest.mark.parametrize("net", NETS)
def test_the_models_outputs_are_the_same_to_the_bit(bundled: Path, tmp_path: Path, net: str) -> None:
    source = bundled / f"{net}.onnx"
    made = export(source, tmp_path / "e.onnx", denoise=True)
    x = {made.inputs[0].name: first_pictures(bundled, net, 3)}
    for optimized in (False, True):
        plain, found = ran(source, x, optimized=optimized), ran(made.path, x, optimized=optimized)
        assert list(found)[: len(plain)] == list(plain)
        for name, wanted in plain.items():
            if optimized:
                assert off(found[name], wanted) <= 1e-5
            else:
                np.testing.assert_array_equal(found[name], wanted)


@pytest.mark.parametrize(("net", "denoise"), [(RESNET, False), (VGG, True)])
def test_the_reference_evaluator_gives_the_same_map(bundled: Path, tmp_path: Path, net: str, denoise: bool) -> None:
    explainer = fgcam_onnx.Explainer(bundled / f"{net}.onnx", denoise=denoise)
    made = export(explainer, tmp_path / "e.onnx", resize="input")
    x = first_pictures(bundled, net, 1)
    evaluator = ReferenceEvaluator(onnx.load(made.path), new_ops=[ConvTranspose])
    with np.errstate(all="ignore"):  # what is divided by 0 is not taken
        found = dict(zip(evaluator.output_names, evaluator.run(None, {explainer.input: x}), strict=True))
    assert off(found["explanation"], explainer(x).map) <= 1e-4


@pytest.mark.parametrize("target", ["argmax", "input", 5])
def test_the_target_is_the_top_class_an_input_or_one_class(bundled: Path, tmp_path: Path, target: Choice) -> None:
    explainer = fgcam_onnx.Explainer(bundled / f"{VGG}.onnx")
    made = export(explainer, tmp_path / "e.onnx", target=target)
    x = first_pictures(bundled, VGG, 3)
    given = np.array([2, -1, 7])
    found = ran(made.path, {"input": x} | ({"target": given} if target == "input" else {}))
    top = found["logits"].argmax(1)
    wanted = {"argmax": top, "input": np.where(given < 0, top, given), 5: np.full(3, 5)}[target]
    np.testing.assert_array_equal(found["explanation_target"], wanted)
    assert off(found["explanation"], explainer(x, target=wanted).map) <= 1e-5
    np.testing.assert_allclose(found["explanation_score"], found["logits"][range(3), wanted], rtol=1e-6, atol=0)


def test_a_class_that_does_not_exist_is_an_error_not_an_empty_map(bundled: Path, tmp_path: Path) -> None:
    made = export(bundled / f"{VGG}.onnx", tmp_path / "e.onnx", target="input")
    with pytest.raises(Exception, match="Out of range value in index"):
        ran(made.path, {"input": first_pictures(bundled, VGG, 1), "target": np.array([8])})
    with pytest.raises(TargetError, match="0 to 7"):
        export(bundled / f"{VGG}.onnx", tmp_path / "f.onnx", target=8)


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


def fixed_net() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((4, 3, 3, 3)), "v": rng.standard_normal((4, 5))}
    nodes = [
        node("Conv", ["x", "w"], "c"), node("Relu", ["c"], "target"),
        node("GlobalAveragePool", ["target"], "p"), node("Flatten", ["p"], "f"),
        node("MatMul", ["f", "v"], "explanation"),
    ]  # fmt: skip
    arrays = {n: a.astype(np.float32) for n, a in weights.items()}
    return model_of(nodes, arrays, inputs={"x": [2, 3, 8, 8]}, outputs=["explanation"])


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


def test_the_file_says_what_it_is_and_inspect_shows_it(bundled: Path, tmp_path: Path, fgcam: Any) -> None:
    source = bundled / f"{VGG}.onnx"
    made = export(source, tmp_path / "e.onnx", denoise=True, preprocess=PRESETS["unit"], target=3)
    told = {p.key: p.value for p in onnx.load(made.path).metadata_props}
    assert told["fgcam.method"] == "fgcam"
    assert told["fgcam.source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert told["fgcam.version"] == fgcam_onnx.__version__
    assert json.loads(told["fgcam.options"])["denoise"] is True
    assert json.loads(told["fgcam.preprocess"])["scale"] == pytest.approx(1 / 255)
    shown = fgcam("inspect", made.path)
    for word in ("explanation: fgcam at input, target 3", "vgg_shapes.dynamo.onnx", told["fgcam.source_sha256"]):
        assert word in shown.out
    assert json.loads(fgcam("inspect", made.path, "--json").out)["explanation"]["layers"] == ["input"]
    assert json.loads(fgcam("inspect", source, "--json").out)["explanation"] is None


def test_an_exported_file_is_not_explained_or_exported_again(bundled: Path, tmp_path: Path) -> None:
    made = export(bundled / f"{VGG}.onnx", tmp_path / "e.onnx")
    for fp16 in (False, True):
        with pytest.raises(ModelError, match="already"):
            export(made.path, tmp_path / "f.onnx", output="logits", fp16=fp16)
    with pytest.raises(ModelError, match="already"):
        fgcam_onnx.Explainer(made.path, output="logits")


def test_the_model_itself_is_never_written_over(bundled: Path, tmp_path: Path) -> None:
    source = tmp_path / "m.onnx"
    shutil.copy(bundled / f"{VGG}.onnx", source)
    before = source.read_bytes()
    (tmp_path / "link.onnx").symlink_to(source)
    for path in (source, tmp_path / "link.onnx", tmp_path / "." / "m.onnx"):
        with pytest.raises(OutputError, match="the model itself"):
            export(source, path)
    assert source.read_bytes() == before
    export(source, tmp_path / "e.onnx")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["e.onnx", "link.onnx", "m.onnx"]


def test_weights_that_lie_beside_the_model_lie_beside_the_file(bundled: Path, tmp_path: Path) -> None:
    source = tmp_path / "m.onnx"
    model = onnx.load(bundled / f"{VGG}.onnx")
    onnx.save(model, source, save_as_external_data=True, location="m.bin", size_threshold=1024)
    made = export(source, tmp_path / "out" / "e.onnx")
    assert made.beside == tmp_path / "out" / "e.onnx.data"
    assert made.size <= source.stat().st_size + (tmp_path / "m.bin").stat().st_size + 200_000
    x = first_pictures(bundled, VGG, 2)
    found = ran(made.path, {"input": x})
    assert off(found["explanation"], fgcam_onnx.explain(bundled / f"{VGG}.onnx", x).map) <= 1e-5
    onnx.checker.check_model(str(made.path), full_check=True)
    with pytest.raises(OutputError, match="its weights"):
        export(source, tmp_path / "m.bin")


@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if m.append is None])
def test_what_is_not_one_graph_is_refused_with_the_reason(bundled: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(OptionError, match="again and again from outside"):
        export(bundled / f"{VGG}.onnx", tmp_path / "e.onnx", method=name)
    assert not list(tmp_path.iterdir())


def test_options_that_do_not_fit_are_refused(bundled: Path, tmp_path: Path) -> None:
    source, path = bundled / f"{VGG}.onnx", tmp_path / "e.onnx"
    with pytest.raises(OptionError, match="finished outside"):
        export(source, path, base="sscam")
    with pytest.raises(OptionError, match="aug_smooth"):
        export(source, path, aug_smooth=True)
    with pytest.raises(OptionError, match="'minmax'"):
        export(source, path, normalize="minmx")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="argmax, input"):
        export(source, path, target="top")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="built already"):
        export(fgcam_onnx.Explainer(source), path, method="gradcam")
    with pytest.raises(OptionError, match="96 x 96, not 64 x 64"):
        export(source, path, size=(64, 64))


def test_a_free_size_is_given(bundled: Path, tmp_path: Path) -> None:
    net = onnx.load(bundled / f"{RESNET}.onnx")
    for axis, name in ((2, "h"), (3, "w")):
        net.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    with pytest.raises(InputError, match="--size"):
        export(net, tmp_path / "e.onnx")
    made = export(net, tmp_path / "e.onnx", size=(64, 80), preprocess=PRESETS["unit"])
    assert made.inputs[0].shape[1:] == (64, 80, 3)
    found = ran(made.path, {"pixels": np.zeros((1, 64, 80, 3), np.uint8)})
    assert found["explanation"].shape == (1, 64, 80)


@pytest.mark.parametrize(("net", "least"), [(VGG, 0.995), (RESNET, 0.999)])
def test_half_precision_halves_the_file_and_keeps_the_map(
    bundled: Path, tmp_path: Path, net: str, least: float
) -> None:
    source, x = bundled / f"{net}.onnx", first_pictures(bundled, net, 4)
    wanted = fgcam_onnx.explain(source, x)
    made = export(source, tmp_path / "e.onnx", fp16=True)
    found = ran(made.path, {"input": x})
    assert made.size <= 0.6 * source.stat().st_size
    assert found["logits"].dtype == found["explanation"].dtype == np.float32
    assert off(found["logits"], wanted.scores) <= 2e-3
    assert (
        min(np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(found["explanation"], wanted.map, strict=True))
        >= least
    )


def test_half_precision_is_for_float_models(tmp_path: Path) -> None:
    nodes = [node("DequantizeLinear", ["x", "s"], "r"), node("GlobalAveragePool", ["r"], "y")]
    quantized = model_of(nodes, {"s": np.array(0.1, np.float32)}, inputs={"x": [1, 3, 8, 8]}, outputs=["y"])
    quantized.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    large = fixed_net()
    large.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.full((4, 3, 3, 3), 1e5, np.float32), "w"))
    for model, word in ((quantized, "DequantizeLinear"), (large, "too large")):
        with pytest.raises(ModelError, match=word):
            export(model, tmp_path / "e.onnx", fp16=True)


def test_the_command_writes_the_file_and_says_how_to_run_it(bundled: Path, tmp_path: Path, fgcam: Any) -> None:
    out = tmp_path / "e.onnx"
    given = ("--preprocess", "sidecar", "--resize", "input", "--normalize", "uint8", "--target", "star")
    shown = fgcam("export", bundled / f"{VGG}.onnx", "-o", out, "--method", "gradcam", *given)
    assert (shown.code, shown.err) == (0, "")
    for word in ("pixels", "N x 96 x 96 x 3", "explanation_target", "onnxruntime.InferenceSession"):
        assert word in shown.out
    pixels = np.asarray(read_image(bundled / "pictures" / "ring.png"))[None]
    found = ran(out, {"pixels": pixels})
    assert found["explanation"].shape == (1, 96, 96)
    lines = [line for line in shown.out.splitlines() if "=" in line and "(" in line]
    scope: dict[str, Any] = {"onnxruntime": onnxruntime, "x": pixels}
    exec("\n".join(lines), scope)
    np.testing.assert_array_equal(scope["found"]["explanation"], found["explanation"])
    told = json.loads(fgcam("export", bundled / f"{VGG}.onnx", "-o", out, "--batch", "2", "--json").out)
    assert told["outputs"][0]["shape"] == [2, 8]


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (("--target", "top:3"), "one class"),
        (("--target", "nothing"), "nothing"),
        (("--batch", "0"), "dynamic"),
        (("--mean", "0.5"), "--preprocess"),
        (("--method", "sscam"), "cannot be exported"),
        (("--method", "gradcm"), "Did you mean"),
    ],
)
def test_the_command_refuses_in_one_line(bundled: Path, tmp_path: Path, fgcam: Any, given: Any, word: str) -> None:
    shown = fgcam("export", bundled / f"{VGG}.onnx", "-o", tmp_path / "e.onnx", *given)
    assert shown.code == 1
    assert word in shown.err
    assert not (tmp_path / "e.onnx").exists()


REAL = (
    "mobilenet_v2_fp32_dequant",
    "squeezenet1.1_fp32_rebuilt",
    "vit_tiny_patch16_224_opset17",
    "mobilenetv2-12-int8",
)


@pytest.mark.parametrize("name", REAL)
def test_real_models_outputs_are_kept_to_the_bit_and_their_maps_are_the_explainers(
    assets: Path, tmp_path: Path, name: str
) -> None:
    source = assets / "models" / f"{name}.onnx"
    explainer = fgcam_onnx.Explainer(source)
    spec = explainer.model.inputs[0]
    x = np.random.default_rng(0).uniform(-2, 2, (1, *spec.shape[1:])).astype(np.float32)
    made: Exported = export(explainer, tmp_path / "e.onnx", target="input")
    assert made.size <= source.stat().st_size + 2_000_000
    feeds, target = {spec.name: x}, {"target": np.array([7])}
    found = ran(made.path, feeds | target, optimized=False)
    for output, wanted in ran(source, feeds, optimized=False).items():
        np.testing.assert_array_equal(found[output], wanted)
    assert off(ran(made.path, feeds | target)["explanation"], explainer(x, target=7).map) <= 1e-5
    own = {n.domain for n in onnx.load(source).graph.node}
    assert {n.domain for n in onnx.load(made.path).graph.node} <= own | {""}


def test_a_program_can_be_had_without_a_file(bundled: Path) -> None:
    program = append_explanation(fgcam_onnx.Explainer(bundled / f"{VGG}.onnx"))
    assert program.model.outputs[0].name == "logits"
