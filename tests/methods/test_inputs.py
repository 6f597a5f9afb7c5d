"""Gradients at the input: the peers' maps, textbook loops, completeness, one graph, augmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nets import model_of, node, small_cnn
from numpy.testing import assert_allclose
from onnx import ModelProto, TensorProto

from fgcam_onnx import Explainer
from fgcam_onnx.cam.sampling import RULES, quadrature
from fgcam_onnx.errors import LayerError, OptionError, UnsupportedOperatorError
from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.imaging import preprocess_from, read_image
from fgcam_onnx.loading.loading import load
from fgcam_onnx.methods import METHODS
from fgcam_onnx.methods.method import one_graph
from fgcam_onnx.program import TARGET, append_gradients, append_target
from fgcam_onnx.runtime import Session

GOLDENS = Path(__file__).parents[1] / "goldens"
NETS = ("vgg_shapes", "resnet_shapes")
KEPT = 4
"""Goldens hold every fourth pixel."""


def pictures_for(model: Path) -> np.ndarray:
    """Return the two bundled pictures of the goldens, as ``model`` takes them."""
    spec = load(model).inputs[0]
    prepared = preprocess_from(model.with_suffix(".json")).bound(spec.shape, spec.dtype)
    folder = model.parent / "pictures"
    return np.concatenate([prepared(read_image(folder / f"{name}.png")) for name in ("star", "two")])


def inputs(count: int = 2, seed: int = 0, *, size: tuple[int, ...] = (3, 12, 10)) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, *size)).astype(np.float32)


def off(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference, relative to each map's largest value."""
    return float((np.abs(found - expected) / np.abs(expected).max(axis=(1, 2), keepdims=True)).max())


def gradients_at(model: ModelProto, x: np.ndarray, target: int, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the gradients and values at tensors, by one plain program."""
    emitter = Emitter(load(model))
    scored = append_target(emitter, "logits")
    found = append_gradients(emitter, names, output="logits", seed=scored.seed)
    for name in names:
        emitter.output(f"g/{name}", found[name])
        emitter.output(f"y/{name}", emitter.value(name))
    return Session(emitter.build()).run({"input": x, TARGET: np.full(len(x), target)})


# ---- the peers' maps

ROWS: dict[str, tuple[str, dict[str, Any], float]] = {
    "saliency": ("saliency", {}, 1e-5),
    "inputxgradient": ("inputxgradient", {}, 1e-5),
    # rounding decides on which side of a kink a step falls: captum in float32 is itself 3e-4 off its float64
    "integratedgradients gausslegendre": ("integratedgradients", {}, 5e-4),
    "integratedgradients riemann_trapezoid": ("integratedgradients", {"rule": "trapezoid"}, 5e-4),
    "fullgrad": ("fullgrad", {"rescale": "channel"}, 1e-4),
}


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("row", ROWS)
def test_the_map_is_the_peers(bundled: Path, net: str, row: str) -> None:
    """captum 0.9.0 and pytorch-grad-cam 1.5.7 on the same net in PyTorch: tools/peers/peers_captum.py."""
    method, settings, tolerance = ROWS[row]
    golden = np.load(GOLDENS / f"inputs_{net}.npz")
    model = bundled / f"{net}.torchscript.onnx"
    found = Explainer(model, method=method, **settings)(pictures_for(model)).map
    if method == "fullgrad":
        low = found - found.min(axis=(1, 2), keepdims=True)
        found = low / low.max(axis=(1, 2), keepdims=True)
    found = found[:, ::KEPT, ::KEPT]
    assert off(found, golden[row]) < tolerance
    assert np.mean(np.abs(found - golden[row]) > 1e-4 * np.abs(golden[row]).max()) < 0.01
    assert off(found * 1.01, golden[row]) > tolerance, "negative control"


@pytest.mark.parametrize("method", ["saliency", "inputxgradient", "integratedgradients", "fullgrad"])
def test_a_net_with_channels_last_has_the_same_map(bundled: Path, method: str) -> None:
    """The same weights, exported by Keras: input N x H x W x C."""
    first, last = (bundled / f"vgg_shapes.{made}.onnx" for made in ("torchscript", "keras"))
    settings = {"steps": 4} if method == "integratedgradients" else {}
    a, b = (Explainer(m, method=method, **settings)(pictures_for(m)).map for m in (first, last))
    assert off(b, a) < 1e-3
    assert np.mean(np.abs(b - a) > 1e-4 * a.max()) < 1e-2


# ---- saliency, input x gradient


def test_saliency_is_the_largest_slope_of_any_channel() -> None:
    model, x = small_cnn(), inputs(1)
    found = Explainer(model, method="saliency")(x, target=2).map
    session, step = Session(load(model)), 1e-2
    slopes = np.zeros(x.shape[1:])
    for place in np.ndindex(*slopes.shape):
        up, down = x.copy(), x.copy()
        up[0][place] += step
        down[0][place] -= step
        slopes[place] = (session.run({"input": up})["logits"] - session.run({"input": down})["logits"])[0, 2] / 2 / step
    expected = np.abs(slopes).max(axis=0)
    close = np.abs(found[0] - expected) < 0.01 * expected.max()
    assert close.mean() > 0.95, "all but where the step crosses a kink"


def test_at_a_layer_input_x_gradient_is_activation_x_gradient() -> None:
    model, x, name = small_cnn(), inputs(), "/layer1/relu/Relu_output_0"
    plain = gradients_at(model, x, 1, (name,))
    found = Explainer(model, method="inputxgradient", layers=name)(x, target=1).map
    assert_allclose(found, (plain[f"y/{name}"] * plain[f"g/{name}"]).sum(axis=1), rtol=1e-5, atol=1e-7)
    found = Explainer(model, method="saliency", layers=name)(x, target=1).map
    assert_allclose(found, np.abs(plain[f"g/{name}"]).max(axis=1), rtol=1e-5, atol=1e-7)


# ---- integrated gradients


@pytest.mark.parametrize("rule", RULES)
def test_weights_of_a_rule_sum_to_one_and_integrate_what_they_should(rule: str) -> None:
    weights, places = quadrature(rule, 8)
    assert len(weights) == len(places) == 8
    assert_allclose(weights.sum(), 1, rtol=1e-12)
    degree = {"gausslegendre": 15, "middle": 1, "trapezoid": 1}.get(rule, 0)
    for power in range(degree + 1):
        assert_allclose(weights @ places**power, 1 / (power + 1), rtol=1e-10)
    assert abs(weights @ places ** (degree + 1) - 1 / (degree + 2)) > 1e-12, "negative control"


@pytest.mark.parametrize(("rule", "baseline"), [("gausslegendre", 0.0), ("left", 0.25), ("trapezoid", -1.0)])
def test_integrated_gradients_are_the_textbooks(rule: str, baseline: float) -> None:
    model, x, steps = small_cnn(), inputs(), 5
    weights, places = quadrature(rule, steps)
    mean = np.zeros(x.shape)
    for weight, place in zip(weights, places, strict=True):
        point = (baseline + place * (x.astype(np.float64) - baseline)).astype(np.float32)
        mean += weight * gradients_at(model, point, 3, ("input",))["g/input"]
    expected = ((x - baseline) * mean).sum(axis=1)
    explainer = Explainer(model, method="integratedgradients", rule=rule, steps=steps, baseline=baseline)
    found = explainer(x, target=3)
    assert_allclose(found.map, expected, rtol=1e-4, atol=1e-6)
    scores = Session(load(model)).run({"input": np.concatenate([x, np.full_like(x[:1], baseline)])})["logits"][:, 3]
    share = expected.sum(axis=(1, 2)) / (scores[:-1] - scores[-1])
    assert_allclose(found.conservation["input"], share, rtol=1e-4)


def test_more_steps_are_more_complete() -> None:
    model, x = small_cnn(), inputs()
    few, many = (
        np.abs(Explainer(model, method="integratedgradients", steps=n)(x).conservation["input"] - 1).max()
        for n in (4, 400)
    )
    assert many < 2e-3 < few


@pytest.mark.parametrize("count", [1, 3, 8])
def test_one_graph_of_integrated_gradients_is_the_explainer(count: int) -> None:
    x = inputs(count)
    explainer = Explainer(small_cnn(tail="Softmax"), method="integratedgradients", steps=6, baseline=0.5)
    options, _ = explainer.options()
    found = one_graph(options, METHODS["integratedgradients"].append)({"input": x, TARGET: np.full(count, -1)})
    expected = explainer(x)
    assert_allclose(found["map/0"], expected.map, rtol=1e-5, atol=1e-7)
    assert_allclose(found["sum/0"] / found["total"], expected.conservation["input"], rtol=1e-5)


def test_one_graph_is_refused_where_the_batch_is_fixed_or_the_model_quantized(bundled: Path) -> None:
    def append(model: ModelProto) -> None:
        options, _ = Explainer(model, method="integratedgradients").options()
        one_graph(options, METHODS["integratedgradients"].append)

    with pytest.raises(OptionError, match="fixes at a number"):
        append(small_cnn(batch=2))
    quantized = [
        node("QuantizeLinear", ["input", "scale", "zero"], "q"),
        node("DequantizeLinear", ["q", "scale", "zero"], "x"),
        node("Conv", ["x", "w"], "y", kernel_shape=[3, 3]),
        node("GlobalAveragePool", ["y"], "z"),
        node("Flatten", ["z"], "logits"),
    ]
    weights = {
        "scale": np.float32(0.05), "zero": np.uint8(128),
        "w": np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32),
    }  # fmt: skip
    with pytest.raises(UnsupportedOperatorError, match="gives integers"):
        append(model_of(quantized, weights, inputs={"input": ["N", 3, 8, 8]}, outputs=["logits"]))


@pytest.mark.parametrize("method", ["integratedgradients", "fullgrad", "occlusion", "rise"])
def test_what_explains_the_input_refuses_other_layers(method: str) -> None:
    with pytest.raises(LayerError, match=f"{method} explains the input"):
        Explainer(small_cnn(), method=method, layers="layer1")


# ---- augmentation


def by_hand(model: Any, x: np.ndarray, width: int, target: Any, **options: Any) -> np.ndarray:
    """Average raw maps over mirror images and factors, one explanation at a time."""
    maps, explainer = [], Explainer(model, **options)
    for factor in (0.9, 1, 1.1):
        scaled = x * np.float32(factor)
        if x.dtype.kind == "u":
            scaled = np.clip(np.rint(scaled), 0, 255).astype(x.dtype)
        maps.append(explainer(scaled, target=target).map)
        mirrored = np.ascontiguousarray(np.flip(scaled, width))
        maps.append(np.flip(explainer(mirrored, target=target).map, 2))
    return np.mean(maps, axis=0)


@pytest.mark.parametrize(
    ("made", "width", "method"), [("torchscript", 3, "gradcam"), ("keras", 2, "saliency"), ("keras", 2, "gradcam")]
)
def test_aug_smooth_averages_six_runs(bundled: Path, made: str, width: int, method: str) -> None:
    model = bundled / f"vgg_shapes.{made}.onnx"
    x = pictures_for(model)
    plain = Explainer(model, method=method)(x)
    found = Explainer(model, method=method, aug_smooth=True)(x)
    expected = by_hand(model, x, width, plain.target, method=method)
    assert_allclose(found.map, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())
    assert_allclose(found.score, plain.score)
    assert off(plain.map, expected) > 1e-2, "negative control"


def bytes_net() -> ModelProto:
    """Build a net that takes bytes."""
    model = small_cnn()
    model.graph.input[0].name = "pixels"
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    scale = node("Cast", ["pixels"], "wide", to=TensorProto.FLOAT)
    nodes = [scale, node("Div", ["wide", "range"], "x"), *model.graph.node]
    nodes[2].input[0] = "x"
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.add(name="range", data_type=TensorProto.FLOAT, float_data=[255.0])
    return model


def test_aug_smooth_rounds_and_cuts_bytes() -> None:
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 12, 10), np.uint8)
    assert (x > 240).any()
    found = Explainer(bytes_net(), method="saliency", aug_smooth=True)(x, target=1)
    expected = by_hand(bytes_net(), x, 3, 1, method="saliency")
    assert_allclose(found.map, expected, rtol=1e-5, atol=1e-7)


def test_aug_smooth_is_refused_where_the_output_has_places() -> None:
    weights = {"w": np.ones((4, 3, 1, 1), np.float32)}
    nodes = [node("Conv", ["input", "w"], "logits", kernel_shape=[1, 1])]
    model = model_of(nodes, weights, inputs={"input": ["N", 3, 6, 6]}, outputs=["logits"])
    with pytest.raises(OptionError, match="4 x 6 x 6: a mirror image has it elsewhere"):
        Explainer(model, method="saliency", aug_smooth=True)


@pytest.mark.parametrize("method", ["smoothgrad", "integratedgradients", "occlusion", "rise"])
def test_sampled_methods_take_bytes(method: str) -> None:
    settings = {"occlusion": {"window": 4, "stride": 2}, "rise": {"masks": 20}}.get(method, {})
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 12, 10), np.uint8)
    a = Explainer(bytes_net(), method=method, **settings)(x, target=1).map
    wide = (x / np.float32(255)).astype(np.float32)
    b = Explainer(small_cnn(), method=method, **settings)(wide, target=1).map
    if method == "smoothgrad":
        a *= 255
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.97, "equal but for rounding to whole numbers"
