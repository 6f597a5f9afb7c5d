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
from exported import NETS, RESNET, VGG, off, ran, session
from onnx.reference import ReferenceEvaluator
from reference_ops import ConvTranspose

import fgcam_onnx
from fgcam_onnx.errors import InputError, ModelError, OutputError, TargetError
from fgcam_onnx.exporter import Choice, Exported, append_explanation, export
from fgcam_onnx.graph.subgraphs import nodes_inside
from fgcam_onnx.imaging import PRESETS, read_image
from fgcam_onnx.methods import METHODS

ONE_GRAPH = tuple(name for name, method in METHODS.items() if method.append is not None)
VARIANTS: dict[str, dict[str, Any]] = {
    **{name: {"method": name} for name in ONE_GRAPH if name not in ("chefer", "legrad")},
    "integratedgradients": {"method": "integratedgradients", "steps": 4},
    "iscam": {"method": "iscam", "samples": 2},
    "refined scorecam": {"base": "scorecam"},
    "denoised": {"denoise": True},
    "smoothed": {"method": "hirescam", "eigen_smooth": True},
    "refined eigengradcam": {"base": "eigengradcam"},
}
LOOSE = {"denoised": 1e-4, "smoothed": 1e-4, "eigencam": 1e-4, "eigengradcam": 1e-4, "refined eigengradcam": 1e-4}
"""Where the file finds singular vectors in another way; 2e-6 is what was seen."""


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
