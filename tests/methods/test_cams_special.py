"""The CAMs that need more than a formula: curvature, contrast, heads, several layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nets import model_of, node
from test_cams import file_of, golden_of

import fgcam_onnx
from fgcam_onnx import Explainer
from fgcam_onnx.cam.finer import finer_gradient
from fgcam_onnx.cam.fusion import fuse
from fgcam_onnx.errors import LayerError, OptionError, TargetError, UnsupportedOperatorError
from fgcam_onnx.explanation import Explanation
from fgcam_onnx.methods import curvature


def bent(rng: np.random.Generator) -> tuple[bytes, np.ndarray, np.ndarray]:
    """Return a net ``tanh(mean(x) W1) W2`` and its weights."""
    first, second = rng.standard_normal((3, 4)).astype(np.float32), rng.standard_normal((4, 2)).astype(np.float32)
    nodes = [
        node("GlobalAveragePool", ["x"], "pooled"),
        node("Flatten", ["pooled"], "flat"),
        node("MatMul", ["flat", "first"], "inner"),
        node("Tanh", ["inner"], "bent"),
        node("MatMul", ["bent", "second"], "logits"),
    ]
    weights = {"first": first, "second": second}
    return model_of(nodes, weights, inputs={"x": ["N", 3, 4, 5]}, outputs=["logits"]), first, second


# ---- shapleycam


def test_shapleycam_is_gradient_less_half_the_curvature_worked_out_by_hand() -> None:
    rng = np.random.default_rng(0)
    model, first, second = bent(rng)
    x = 1 + rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    found = fgcam_onnx.explain(model, x, method="shapleycam", layers="input", base_layer="input", target=1).map
    for image, ours in zip(x.astype(np.float64), found, strict=True):
        t = np.tanh(image.mean((1, 2)) @ first)
        slope = first @ ((1 - t**2) * second[:, 1]) / 20
        curvature = first @ (-2 * t * (1 - t**2) * second[:, 1] * (image.mean((1, 2)) @ first)) / 20
        expected = ((slope - curvature / 2)[:, None, None] * image).sum(0)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
        assert np.abs(curvature).max() > 0.1 * np.abs(slope).max()


def test_behind_which_all_is_piecewise_linear_shapleycam_is_gradcam(bundled: Path) -> None:
    x, _, layers = golden_of(bundled, "vgg_shapes")
    maps = [
        fgcam_onnx.explain(file_of(bundled, "vgg_shapes"), x, method=m, layers=layers[0]).map
        for m in ("gradcam", "shapleycam")
    ]
    np.testing.assert_allclose(maps[1], maps[0], rtol=0, atol=1e-6 * np.abs(maps[0]).max())


def test_a_difference_stands_in_where_an_operator_has_no_second_derivative(
    bundled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the net's only kink, a MaxPool; it is a difference, so not the derivative itself."""
    x, maps, _ = golden_of(bundled, "smooth")

    def lacking(*_: object) -> None:
        raise UnsupportedOperatorError("no gradient rule")

    monkeypatch.setattr(curvature, "append_derivative", lacking)
    found = fgcam_onnx.explain(file_of(bundled, "smooth"), x, method="shapleycam", layers="body").map
    exact, plain = maps["shapleycam@body"], maps["gradcam@body"]
    gap = np.abs(found - exact).max()
    assert 1e-7 * np.abs(exact).max() < gap < 1e-3 * np.abs(exact).max()
    assert gap < 0.01 * np.abs(exact - plain).max()


# ---- finercam


def finer_score(scores: np.ndarray, target: int, similar: list[int], eps: float = 0.0) -> float:
    """Return Finer-CAM's score as pytorch-grad-cam writes it: differences weighed by probabilities."""
    p = np.exp(scores - scores.max())
    p /= p.sum()
    return float(sum(p[i] * (scores[target] - scores[i]) for i in similar) / (p[similar].sum() + eps))


def slope_of(scores: np.ndarray, target: int, similar: list[int], eps: float = 0.0) -> np.ndarray:
    steps = np.eye(len(scores)) * 1e-5
    return np.array(
        [
            (finer_score(scores + s, target, similar, eps) - finer_score(scores - s, target, similar, eps)) / 2e-5
            for s in steps
        ]
    )


def test_the_seed_of_finercam_is_the_slope_of_its_score() -> None:
    scores = np.random.default_rng(5).standard_normal((3, 7)) * 2
    weights, similar = np.eye(7)[[0, 4, 2]], np.zeros((3, 7))
    chosen = [[1, 2, 3], [0, 5], [6]]
    for row, classes in enumerate(chosen):
        similar[row, classes] = 1
    found = finer_gradient(scores, weights, similar)
    for n, target in enumerate((0, 4, 2)):
        np.testing.assert_allclose(found[n], slope_of(scores[n], target, chosen[n]), rtol=1e-6, atol=1e-8)


def test_the_1e_9_of_the_published_code_turns_finercam_over_where_the_model_is_sure() -> None:
    """It is added to a sum of probabilities; at a margin of 20 that is 6e-9, and the target's weight falls below 0.

    With R = W / (W + 1e-9) the target's own part is R - R (1 - R) A p, A the mean margin: 0.86 - 0.12 * 20 < 0.
    """
    scores = np.array([20.0, 0.0, 0.0, 0.0])
    ours = finer_gradient(scores[None], np.eye(4)[:1], np.array([[0, 1, 1, 1.0]]))[0]
    np.testing.assert_allclose(ours, [1, -1 / 3, -1 / 3, -1 / 3], rtol=0, atol=1e-12)
    np.testing.assert_allclose(slope_of(scores, 0, [1, 2, 3]), ours, rtol=0, atol=1e-4)
    assert slope_of(scores, 0, [1, 2, 3], eps=1e-9)[0] < -1


def test_finercam_compares_with_the_classes_of_nearest_logit(bundled: Path) -> None:
    """The map is gradcam's of the same weighed sum of logits, one class at a time."""
    x, _, _ = golden_of(bundled, "vgg_shapes")
    model = file_of(bundled, "vgg_shapes")
    target = 2
    found = fgcam_onnx.explain(model, x, method="finercam", target=target)
    each = np.stack([fgcam_onnx.explain(model, x, method="gradcam", target=k).map for k in range(8)])
    for n, scores in enumerate(found.scores.astype(np.float64)):
        near = sorted((k for k in range(8) if k != target), key=lambda k: abs(scores[k] - scores[target]))[:3]
        similar = np.isin(np.arange(8), near).astype(float)
        weights = finer_gradient(scores[None], np.eye(8)[[target]], similar[None])[0]
        expected = np.tensordot(weights, each[:, n], 1)
        np.testing.assert_allclose(found.map[n], expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_finercam_needs_two_classes() -> None:
    nodes = [node("GlobalAveragePool", ["x"], "pooled"), node("Flatten", ["pooled"], "score")]
    model = model_of(nodes, {}, inputs={"x": ["N", 1, 4, 4]}, outputs=["score"])
    with pytest.raises(TargetError, match="only one"):
        Explainer(model, method="finercam", layers="input", base_layer="input")


def test_with_two_classes_finercam_is_their_difference() -> None:
    rng = np.random.default_rng(0)
    model, _, _ = bent(rng)
    x = rng.standard_normal((1, 3, 4, 5)).astype(np.float32)
    finer = fgcam_onnx.explain(model, x, method="finercam", layers="input", base_layer="input", target=0).map
    a, b = (
        fgcam_onnx.explain(model, x, method="gradcam", layers="input", base_layer="input", target=k).map for k in (0, 1)
    )
    np.testing.assert_allclose(finer, a - b, rtol=0, atol=1e-6 * np.abs(a - b).max())


# ---- cam


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_cam_is_the_activations_weighed_by_the_last_layer(bundled: Path, exporter: str) -> None:
    x, _, _ = golden_of(bundled, "resnet_shapes")
    model = fgcam_onnx.load(bundled / f"resnet_shapes.{exporter}.onnx")
    found = fgcam_onnx.explain(model, x, method="cam")
    bias = model.constants["fc.bias"]
    score = found.map.mean((1, 2)) + bias[found.target]
    np.testing.assert_allclose(score, found.score, rtol=1e-5, atol=1e-5)
    coarse = fgcam_onnx.explain(model, x, method="gradcam").map
    np.testing.assert_allclose(found.map, 36 * coarse, rtol=0, atol=1e-5 * np.abs(found.map).max())


@pytest.mark.parametrize(
    ("net", "layer", "where"),
    [("vgg_shapes", None, "'Gemm'"), ("resnet_shapes", "layer3", "'Conv'"), ("resnet_shapes", "input", "'Conv'")],
)
def test_cam_refuses_another_head_and_says_where_it_differs(
    bundled: Path, net: str, layer: str | None, where: str
) -> None:
    with pytest.raises(LayerError, match=rf"{where}.*Use gradcam"):
        Explainer(file_of(bundled, net), method="cam", layers=layer)


def test_cam_refuses_a_hidden_layer_behind_the_average() -> None:
    model, _, _ = bent(np.random.default_rng(0))
    with pytest.raises(LayerError, match=r"'Tanh'.*only linear operators"):
        Explainer(model, method="cam", layers="input", base_layer="input")


@pytest.mark.parametrize(
    ("pool", "fits"),
    [
        (node("AveragePool", ["x"], "y", kernel_shape=[4, 4]), True),
        (node("AveragePool", ["x"], "y", kernel_shape=[2, 2], strides=[2, 2]), False),
        (node("AveragePool", ["x"], "y", kernel_shape=[3, 3]), False),
        (node("ReduceMean", ["x", "space"], "y"), True),
        (node("ReduceMean", ["x", "rows"], "y"), False),
        (node("ReduceMean", ["x", "channels"], "y"), False),
        (node("GlobalMaxPool", ["x"], "y"), False),
    ],
    ids=lambda v: (
        v if isinstance(v, bool) else f"{v.op_type} {list(v.input)[1:]} {[list(a.ints) for a in v.attribute]}"
    ),
)
def test_cam_tells_the_average_over_all_positions_from_others(pool: object, fits: bool) -> None:
    axes = {"space": [2, 3], "rows": [2], "channels": [1]}
    weights = {n: np.array(a, np.int64) for n, a in axes.items()}
    stem = node("Conv", ["input", "w"], "x", kernel_shape=[1, 1])
    weights["w"] = np.ones((2, 2, 1, 1), np.float32)
    model = model_of(
        [stem, pool, node("Flatten", ["y"], "z")], weights, inputs={"input": ["N", 2, 4, 4]}, outputs=["z"]
    )
    if fits:
        Explainer(model, method="cam", layers="x")
    else:
        with pytest.raises(LayerError, match="cam needs the average over space"):
            Explainer(model, method="cam", layers="x")


# ---- several layers


def explanation_of(*maps: np.ndarray) -> Explanation:
    zero = np.zeros(len(maps[0]))
    return Explanation({f"m{i}": m for i, m in enumerate(maps)}, zero.astype(int), zero, zero[:, None], {})


def test_fused_maps_by_hand() -> None:
    a = np.array([[[-4.0, 2.0], [1.0, 0.0]]], np.float32)
    b = np.array([[[10.0, 20.0], [0.0, 0.0]]], np.float32)
    found = explanation_of(a, b)
    np.testing.assert_allclose(found.fused("mean")[0], [[0.25, 1], [0.25, 0]], rtol=0, atol=1e-7)
    np.testing.assert_allclose(found.fused("max")[0], [[0.5, 1], [0.5, 0]], rtol=0, atol=1e-7)
    np.testing.assert_allclose(found.fused("product")[0], [[0, 1], [0, 0]], rtol=0, atol=1e-7)


def test_fusing_does_not_depend_on_the_scale_of_the_maps() -> None:
    """Also of tiny ones: pytorch-grad-cam adds 1e-7 to the largest value, here nothing is added."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 2, 5, 5)).astype(np.float32)
    wide = explanation_of(a, b).fused(size=(9, 7))
    tiny = explanation_of(a * np.float32(1e-12), b * np.float32(1e9)).fused(size=(9, 7))
    np.testing.assert_allclose(tiny, wide, rtol=0, atol=1e-6)
    assert wide.shape == (2, 9, 7)
    assert wide.min() == 0
    assert wide.max() == 1


def test_a_map_of_nothing_fuses_to_nothing() -> None:
    zero = np.zeros((1, 3, 3), np.float32)
    assert not explanation_of(zero, zero - 1).fused("max").any()


def test_fusing_refuses_what_it_does_not_know() -> None:
    with pytest.raises(OptionError, match="Did you mean 'product'"):
        explanation_of(np.zeros((1, 2, 2), np.float32)).fused("products")
    with pytest.raises(OptionError, match="two whole numbers above 0"):
        explanation_of(np.zeros((1, 2, 2), np.float32)).fused(size=(0, 3))


def test_refinecam_multiplies_the_maps_of_the_stages_behind(bundled: Path) -> None:
    x, _, _ = golden_of(bundled, "resnet_shapes")
    model = file_of(bundled, "resnet_shapes")
    layers = ["layer1", "layer2", "layer3", "layer4"]
    each = fgcam_onnx.explain(model, x, method="gradcam++", layers=layers)
    found = fgcam_onnx.explain(model, x, method="refinecam", layers=["layer1", "layer3", "layer4"])
    expected = each.fused("product")
    np.testing.assert_allclose(found.maps["layer1"], expected, rtol=0, atol=1e-5)
    last = fuse([each.maps["layer3"], each.maps["layer4"]], "product", size=(12, 12))
    np.testing.assert_allclose(found.maps["layer3"], last, rtol=0, atol=1e-5)
    np.testing.assert_allclose(fgcam_onnx.explain(model, x, method="refinecam").map, expected, rtol=0, atol=1e-5)


# ---- the command line


def test_the_command_line_fuses_layers_and_smooths(bundled: Path, fgcam: Any) -> None:
    arguments = ["explain", bundled / "resnet_shapes.dynamo.onnx", bundled / "pictures" / "star.png"]
    options = ["--method", "layercam", "--eigen-smooth", "--layer", "layer2", "--layer", "layer4", "--raw"]
    ran = fgcam(*arguments, *options, "--fuse", "max", "-o", "out")
    assert ran.code == 0, ran.err
    fused = np.load(Path("out") / "star.fused.star.npy")
    maps = [np.load(Path("out") / f"star.{n}.star.npy")[None] for n in ("layer2", "layer4")]
    np.testing.assert_allclose(fused, fuse(maps, "max", size=(96, 96))[0], rtol=0, atol=1e-6)
    refused = fgcam(*arguments, "--fuse", "maxx", "-o", "out")
    assert refused.code == 1
    assert "Did you mean 'max'" in refused.err
