"""Gradient-free CAMs against textbook loops over the whole model, one changed run after another, and against peers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from masked_loops import METHODS, close, multiplied, runs_of, softmax, textbook, unit, widened
from nets import BASE, images, model_of, node, small_cnn, small_nodes, small_weights
from onnx import ModelProto, numpy_helper

import fgcam_onnx
from fgcam_onnx import Explainer, explain, export
from fgcam_onnx.errors import NumericsError, OptionError
from fgcam_onnx.imaging import find_sidecar, preprocess_from, read_image
from fgcam_onnx.methods import find_method
from fgcam_onnx.program import SEED

GOLDENS = Path(__file__).parents[1] / "goldens"
MIDDLE = "/pool/MaxPool_output_0"


@pytest.mark.parametrize("layer", [BASE, MIDDLE])
@pytest.mark.parametrize("method", METHODS)
def test_maps_are_those_of_a_plain_loop(method: str, layer: str) -> None:
    x = images(2)
    found = explain(small_cnn(), x, method=method, layers=layer, target=[3, 1], batch=3, **METHODS[method])
    for i, target in enumerate((3, 1)):
        expected = textbook(method, small_cnn(), x[i : i + 1], np.eye(5)[target], layer)
        close(found.map[i], expected)
        assert np.abs(found.map[i] - 1.001 * expected).max() > 2e-5 * np.abs(expected).max()  # negative control


@pytest.mark.parametrize("method", METHODS)
def test_any_weighing_of_the_logits_can_be_explained(method: str) -> None:
    x, seed = images(1), np.array([[0.5, -1, 0, 2, 0.1]], np.float32)
    options, _ = Explainer(small_cnn(), method=method, layers=BASE, **METHODS[method]).options(seeded=True)
    found = find_method(method).compile(options)({"input": x, SEED: seed})
    close(found["map/0"][0], textbook(method, small_cnn(), x, seed[0], BASE))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("batch", [1, 3])
def test_a_fixed_batch_is_filled_up(method: str, batch: int) -> None:
    x = images(batch)
    fixed = explain(small_cnn(batch=batch), x, method=method, layers=MIDDLE, target=2, **METHODS[method])
    close(fixed.map, explain(small_cnn(), x, method=method, layers=MIDDLE, target=2, **METHODS[method]).map, 1e-5)


def residual_net() -> ModelProto:
    """Return a net whose skip connection and second input run past its deepest layer."""
    nodes = small_nodes(logits="plain")
    nodes[5].input[0] = "added"
    nodes += [node("Mul", ["plain", "factor"], "logits")]
    nodes[5:5] = [
        node("Conv", [MIDDLE, "skip.weight"], "skip"),
        node("Add", [BASE, "skip"], "sum"),
        node("Relu", ["sum"], "added"),
    ]
    weights = small_weights() | {"skip.weight": small_weights(3)["layer2.conv.weight"][:, :, 1:2, 1:2].copy()}
    return model_of(nodes, weights, inputs={"input": ["N", 3, 12, 10], "factor": ["N", 1]}, outputs=["logits"])


@pytest.mark.parametrize("method", ["ablationcam", "reciprocam"])
def test_what_runs_past_the_layer_is_each_images_own(method: str) -> None:
    """The deepest layer on one branch: skip connection and second input are the image's, in every run."""
    x, factor = images(3), np.array([[1], [-2], [3]], np.float32)
    found = explain(residual_net(), {"input": x, "factor": factor}, method=method, layers=BASE, target=1, input="input")
    for i in range(3):
        whole = ModelProto()
        whole.CopyFrom(residual_net())
        del whole.graph.input[1]
        whole.graph.initializer.append(numpy_helper.from_array(factor[i : i + 1], "factor"))
        close(found.map[i], textbook(method, whole, x[i : i + 1], np.eye(5)[1], BASE))


# ---- beside FG-CAM, and what is refused


def test_fgcam_keeps_its_published_weights_of_score_cam() -> None:
    x = images(1)
    base = explain(small_cnn(), x, base="scorecam", layers=BASE, target=3).map
    own = explain(small_cnn(), x, method="scorecam", layers=BASE, target=3).map
    _, a = runs_of(small_cnn(), BASE)(x)
    run = runs_of(small_cnn())
    weights = [
        softmax(run((x * unit(widened(c.astype(np.float64), (12, 10), corners=False))).astype(np.float32))[0][0])[3]
        for c in a[0]
    ]
    close(base[0], np.tensordot(np.array(weights), a[0], 1))
    assert np.abs(base - own).max() > 0.1 * np.abs(base).max()


@pytest.mark.parametrize("end", ["Sigmoid", "Softmax"])
def test_as_a_base_score_cam_weighs_by_what_the_end_makes_of_the_score(end: str, tmp_path: Path) -> None:
    x = images(1)
    nodes = [*small_nodes(logits="plain"), node(end, ["plain"], "logits")]
    model = model_of(nodes, small_weights(), inputs={"input": ["N", 3, 12, 10]}, outputs=["logits"])
    base = explain(model, x, base="scorecam", layers=BASE, target=3).map
    _, a = runs_of(small_cnn(), BASE)(x)
    masks = [unit(widened(c.astype(np.float64), (12, 10), corners=False)) for c in a[0]]
    weights = np.array([runs_of(model)((x * m).astype(np.float32))[0][0][3] for m in masks])
    close(base[0], np.tensordot(weights, a[0], 1))
    other = softmax if end == "Sigmoid" else lambda z: 1 / (1 + np.exp(-z))
    plain = runs_of(small_cnn())
    wrong = np.array([other(plain((x * m).astype(np.float32))[0][0])[3] for m in masks])
    assert np.abs(base[0] - np.tensordot(wrong, a[0], 1)).max() > 0.1 * np.abs(base).max()
    export(model, tmp_path / "e.onnx", base="scorecam", layers=BASE, target=3)
    session = onnxruntime.InferenceSession(tmp_path / "e.onnx")
    close(session.run(["explanation"], {"input": x})[0][0], base[0], 1e-5)


@pytest.mark.parametrize("base", ["ablationcam", "iscam", "sscam"])
def test_every_cam_with_components_is_a_base_of_fgcam(base: str) -> None:
    x = images(1)
    fine = explain(small_cnn(), x, base=base, layers=["input", BASE], target=3, **METHODS[base])
    coarse = explain(small_cnn(), x, method=base, layers=BASE, target=3, **METHODS[base])
    close(fine.maps[BASE], coarse.map, 1e-5)
    assert np.abs(fine.maps["input"]).max() > 0


def test_reciprocam_is_no_base_of_fgcam() -> None:
    with pytest.raises(OptionError, match="reciprocam gives a map, not components"):
        explain(small_cnn(), images(1), base="reciprocam")


def test_without_the_gaussian_a_single_place_is_kept() -> None:
    x = images(1)
    found = explain(small_cnn(), x, method="reciprocam", gaussian=False, layers=BASE, target=3).map[0]
    one = np.zeros((1, 1, *found.shape))
    one[..., 2, 3] = 1
    expected = runs_of(multiplied(small_cnn(), BASE, one))(x)[0][0, 3]
    np.testing.assert_allclose(found[2, 3], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "settings", "word"),
    [("sscam", {"samples": 0}, "samples"), ("iscam", {"samples": -1}, "samples"), ("sscam", {"std": -1.0}, "std"),
     ("scorecam", {"samples": 3}, "no settings")],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(method: str, settings: dict[str, Any], word: str) -> None:
    with pytest.raises(OptionError, match=word):
        Explainer(small_cnn(), method=method, **settings)


def test_shares_of_a_score_of_0_are_refused() -> None:
    options, _ = Explainer(small_cnn(), method="ablationcam", layers=BASE).options(seeded=True)
    run = find_method("ablationcam").compile(options)
    with pytest.raises(NumericsError, match="exactly 0"):
        run({"input": images(1), SEED: np.zeros((1, 5), np.float32)})


# ---- published packages


@pytest.mark.parametrize("net", ["resnet_shapes", "vgg_shapes"])
def test_maps_are_those_of_pytorch_grad_cam_and_torchcam(bundled: Path, net: str) -> None:
    """Goldens by tools/peers/peers_masked.py: raw maps of three pictures, SS-CAM with our noise."""
    file = bundled / f"{net}.torchscript.onnx"
    preprocess = preprocess_from(find_sidecar(file)).bound(("N", 3, 96, 96), np.float32)
    x = np.concatenate([preprocess(read_image(bundled / "pictures" / f"{n}.png")) for n in ("circle", "star", "two")])
    published = np.load(GOLDENS / f"masked.{net}.npz")
    assert len(published.files) == 4
    model = fgcam_onnx.load(file)
    for key in published.files:
        method, layer = key.split("@")
        settings = {"samples": 4} if method in ("iscam", "sscam") else {}
        found = explain(model, x, method=method, layers=layer, **settings)
        for ours, theirs in zip(found.map, published[key], strict=True):
            close(ours, theirs, 1e-5)


def test_maps_are_those_of_openvino_xai() -> None:
    """Goldens by tools/peers/peers_reciprocam.py, without the Gaussian, which OpenVINO XAI keeps for transformers."""
    published = np.load(GOLDENS / "masked.reciprocam.npz")
    for net in ("resnet_shapes", "vgg_shapes"):
        file = GOLDENS.parent.parent / "exported_models" / f"{net}.torchscript.onnx"
        x = np.random.default_rng(3).standard_normal((1, 3, 96, 96)).astype(np.float32)
        layer = str(published[f"{net}.layer"])
        found = explain(file, x.repeat(8, 0), method="reciprocam", gaussian=False, layers=layer, target=range(8))
        for ours, theirs in zip(found.map, published[net], strict=True):
            close(ours, theirs, 1e-5)
