"""FG-CAM on the bundled nets: invariants, and Score-CAM against a plain loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from nets import images, small_cnn
from PIL import Image

import fgcam_onnx
from fgcam_onnx.fgcam import denoise
from fgcam_onnx.imaging import preprocess_from
from fgcam_onnx.lrp import linear
from fgcam_onnx.lrp.composites import Composite
from fgcam_onnx.lrp.rules import Rule, z_box, z_plus
from fgcam_onnx.lrp.table import layered

NETS = ("vgg_shapes.dynamo.onnx", "resnet_shapes.torchscript.onnx")


@pytest.fixture(scope="module")
def pictures(bundled: Path) -> np.ndarray:
    preprocess = preprocess_from(bundled / "vgg_shapes.dynamo.json").bound(("N", 3, 96, 96), np.float32)
    files = sorted((bundled / "pictures").glob("*.png"))[:4]
    return np.concatenate([preprocess(Image.open(f).convert("RGB")) for f in files])


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("options", [{}, {"base": "scorecam", "batch": 5}, {"denoise": True}])
def test_a_batch_gives_what_single_pictures_give(
    bundled: Path, pictures: np.ndarray, net: str, options: dict[str, object]
) -> None:
    explainer = fgcam_onnx.Explainer(bundled / net, **options)  # type: ignore[arg-type]
    together = explainer(pictures[:3])
    for n in range(3):
        alone = explainer(pictures[n : n + 1])
        scale = np.abs(alone.map).max()
        np.testing.assert_allclose(together.map[n] / scale, alone.map[0] / scale, rtol=0, atol=1e-5)
        assert together.target[n] == alone.target[0]


@pytest.mark.parametrize("net", NETS)
def test_several_layers_in_one_pass_give_what_each_alone_gives(bundled: Path, pictures: np.ndarray, net: str) -> None:
    model = fgcam_onnx.load(bundled / net)
    names = [n.output[0] for n in model.nodes if n.op_type in ("Relu", "MaxPool", "Add")][:-3:2]
    together = fgcam_onnx.explain(model, pictures[:1], layers=["input", *names])
    for name in ("input", *names):
        alone = fgcam_onnx.explain(model, pictures[:1], layers=name).map
        np.testing.assert_allclose(together.maps[name], alone, rtol=1e-4, atol=1e-6 * np.abs(alone).max())


def test_the_map_at_the_base_layer_is_the_base_cam(bundled: Path, pictures: np.ndarray) -> None:
    model = fgcam_onnx.load(bundled / NETS[0])
    base = "max_pool2d_3"
    fine = fgcam_onnx.explain(model, pictures, layers=base, base_layer=base, target=2)
    coarse = fgcam_onnx.explain(model, pictures, method="gradcam", layers=base, target=2)
    np.testing.assert_allclose(fine.map, coarse.map, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(fine.conservation[base], 1, rtol=1e-6, atol=0)


@pytest.mark.parametrize("net", NETS)
def test_no_target_means_the_top_class(bundled: Path, pictures: np.ndarray, net: str) -> None:
    explainer = fgcam_onnx.Explainer(bundled / net)
    top = explainer(pictures)
    np.testing.assert_array_equal(top.target, top.scores.argmax(axis=1))
    np.testing.assert_array_equal(explainer(pictures, target=top.target).map, top.map)


@pytest.mark.parametrize("residual", ["positive", "signed", "ratio"])
def test_residual_choices_differ_and_are_finite(bundled: Path, pictures: np.ndarray, residual: str) -> None:
    e = fgcam_onnx.explain(bundled / NETS[1], pictures, residual=residual)
    assert np.isfinite(e.map).all()
    others = {"positive", "signed", "ratio"} - {residual}
    for other in others:
        assert np.abs(fgcam_onnx.explain(bundled / NETS[1], pictures, residual=other).map - e.map).max() > 0


def test_score_cam_weights_are_those_of_a_plain_loop(bundled: Path, pictures: np.ndarray) -> None:
    """One masked run per channel in plain onnxruntime, upsampled by Pillow, against ours at the base."""
    path, base, target = bundled / NETS[0], "max_pool2d_3", 3
    x = pictures[:1]
    found = fgcam_onnx.explain(path, x, base="scorecam", base_layer=base, layers=base, target=target)
    proto = fgcam_onnx.load(path)
    from fgcam_onnx.graph.emitter import Emitter
    from fgcam_onnx.runtime import Session

    emitter = Emitter(proto)
    emitter.output("a", emitter.value(base))
    a = Session(emitter.build()).run({"input": x})["a"][0]
    plain = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    total = np.zeros(a.shape[1:])
    for channel in a:
        wide = np.asarray(Image.fromarray(channel).resize((96, 96), Image.Resampling.BILINEAR))
        span = np.ptp(channel)
        mask = (wide - wide.min()) / np.ptp(wide) if span else np.zeros_like(wide)
        logits = plain.run(None, {"input": (x * mask).astype(np.float32)})[0][0]
        total += np.exp(logits[target] - logits.max()) / np.exp(logits - logits.max()).sum() * channel
    scale = np.abs(total).max()
    np.testing.assert_allclose(found.map[0] / scale, total / scale, rtol=0, atol=1e-4)


def test_denoising_is_a_projection_on_the_leading_directions() -> None:
    """Against the eigenvectors of the channels' covariance, found another way."""
    components = np.random.default_rng(3).standard_normal((2, 24, 5, 6)).astype(np.float32)
    found = denoise(components, 0.1)
    for n in range(2):
        flat = components[n].reshape(24, -1).astype(np.float64)
        flat = flat - flat.mean(axis=1, keepdims=True)
        _, vectors = np.linalg.eigh(flat @ flat.T)
        kept = vectors[:, -2:]
        np.testing.assert_allclose(found[n].reshape(24, -1), kept @ kept.T @ flat, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=(2, 3)), 0, rtol=0, atol=1e-4)


# ---- what FG-CAM is on nets that end in an average and a linear layer


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def without_biases_below(first_layer: Rule, convolution: Rule) -> Composite:
    return layered(
        "as fgcam",
        first_layer=first_layer,
        convolution=convolution,
        dense=linear.lrp_0(),
        average=linear.lrp_0(),
        residual="positive",
    )


@pytest.mark.parametrize("target", [0, 3])
def test_it_is_lrp_with_lrp_0_at_the_head_z_plus_without_biases_and_the_box_rule(
    bundled: Path, pictures: np.ndarray, target: int
) -> None:
    same = without_biases_below(z_box, z_plus)
    other = without_biases_below(z_box, linear.z_plus(bias=True))
    options = {"target": target, "layers": "input"}
    for model, x in ((small_cnn(), images(3)), (bundled / NETS[1], pictures)):
        found = fgcam_onnx.explain(model, x, method="fgcam", **options).map
        lrp = fgcam_onnx.explain(model, x, method="lrp", composite=same, start="logit", **options).map
        assert relative_error(lrp, found) < 1e-5
        assert np.corrcoef(lrp.ravel(), found.ravel())[0, 1] > 1 - 1e-6
        with_biases = fgcam_onnx.explain(model, x, method="lrp", composite=other, start="logit", **options).map
        assert relative_error(with_biases, found) > 1e-3


def test_from_layercam_it_is_deep_taylor_but_for_a_factor_of_each_picture() -> None:
    x = images(3)
    found = fgcam_onnx.explain(small_cnn(), x, base="layercam", target=2).map
    taylor = fgcam_onnx.explain(small_cnn(), x, method="deeptaylor", target=2).map
    for mine, theirs in zip(found, taylor, strict=True):
        assert relative_error(theirs * (mine.sum() / theirs.sum()), mine) < 1e-5
