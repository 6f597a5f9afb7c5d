"""GradientShap, DeepLIFT, Guided Grad-CAM, LeGrad and baselines beside loops, textbook rules and differences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from attention_net import GRID, forward, picture, transformer, weights
from nets import BASE, small_cnn
from numpy.testing import assert_allclose
from parsed import drawn, parsed, plain
from PIL import Image
from test_inputs import GOLDENS, KEPT, gradients_at, inputs, off, pictures_for

from fgcam_onnx import Explainer, Tunnel, explain, export
from fgcam_onnx import explainer as engine
from fgcam_onnx.errors import LayerError, OptionError
from fgcam_onnx.imaging import preprocess_from, read_image
from fgcam_onnx.matrices import resize_matrix

# ---- GradientShap


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_gradient_shap_is_a_loop_over_draws(noise: float) -> None:
    x, count, chosen = inputs(2), 5, np.random.default_rng(3).standard_normal((3, 3, 12, 10)).astype(np.float32)
    expected = np.zeros(x.shape)
    for m in range(count):
        rng = np.random.default_rng([7, m])
        deviation = rng.standard_normal((3, 12, 10), np.float32)
        begin, place = chosen[int(rng.random() * 3)], np.float32(rng.random())
        end = x + noise * np.ptp(x, axis=(1, 2, 3)).reshape(-1, 1, 1, 1) * deviation
        at = (begin + place * (end - begin)).astype(np.float32)
        expected += (end - begin) * gradients_at(small_cnn(), at, 2, ("input",))["g/input"] / count
    explainer = Explainer(small_cnn(), method="gradientshap", samples=count, noise=noise, seed=7, baseline=chosen)
    assert off(explainer(x, target=2).map, expected.sum(axis=1)) < 1e-4
    other = Explainer(small_cnn(), method="gradientshap", samples=count, noise=noise, seed=7)
    assert off(other(x, target=2).map, expected.sum(axis=1)) > 1e-2, "negative control: another baseline"


def test_gradient_shap_of_many_draws_is_integrated_gradients() -> None:
    x = inputs(1)
    expected = Explainer(small_cnn(), method="integratedgradients", steps=200)(x, target=2).map
    few, many = (Explainer(small_cnn(), method="gradientshap", samples=n)(x, target=2).map for n in (20, 1500))
    assert off(many, expected) < 0.05
    assert off(many, expected) < off(few, expected)


# ---- DeepLIFT


def test_deep_lift_multiplies_the_quotients_of_what_differs() -> None:
    w, v, u = drawn(1, 12, 7), drawn(2, 7, 5), drawn(3, 5, 3)
    b, c = drawn(4, 7), drawn(5, 5)
    model = parsed(
        """g (float[N,12] x) => (float[N,3] y) { a = Gemm(x, w, b)  r = Relu(a)  d = Gemm(r, v, c)  t = Tanh(d)
        y = MatMul(t, u) }""",
        w=w, v=v, u=u, b=b, c=c,
    )  # fmt: skip
    x, begin = drawn(6, 2, 12), drawn(7, 12)
    stages = []
    for given in (x.astype(np.float64), np.broadcast_to(begin, x.shape).astype(np.float64)):
        a = given @ w + b
        d = np.maximum(a, 0) @ v + c
        stages.append((a, np.maximum(a, 0), d, np.tanh(d)))
    first, second = ((stages[0][i + 1] - stages[1][i + 1]) / (stages[0][i] - stages[1][i]) for i in (0, 2))
    expected = np.stack([(x[n] - begin) * (w @ (first[n] * (v @ (second[n] * u[:, 1])))) for n in range(2)])
    found = explain(model, x, method="deeplift", target=1, baseline=begin)
    assert_allclose(found.map, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    assert_allclose(found.conservation["input"], 1, rtol=1e-4)


def test_deep_lift_hands_a_maximum_to_its_place_on_the_image_and_to_that_on_the_baseline() -> None:
    model = parsed(
        """g (float[1,1,2,4] x) => (float[1,1] y) { m = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x)
        f = Flatten<axis=1>(m)  y = MatMul(f, V) }""",
        V=np.array([[2.0], [-3.0]], np.float32),
    )  # fmt: skip
    x = np.array([[5.0, 1, 0, 2], [2, 3, 1, 7]], np.float32).reshape(1, 1, 2, 4)
    begin = np.array([[1.0, 4, 9, 1], [0, 2, 3, 1]], np.float32).reshape(1, 2, 4)
    expected = np.zeros((2, 4))
    for k, weight in enumerate((2.0, -3.0)):
        own, there = x[0, 0, :, 2 * k : 2 * k + 2], begin[0, :, 2 * k : 2 * k + 2]
        top = max(own.max(), there.max())
        for where, share in ((own, top - there.max()), (there, own.max() - top)):
            row, column = np.unravel_index(where.argmax(), (2, 2))
            expected[row, column + 2 * k] += weight * share
    found = explain(model, x, method="deeplift", target=0, baseline=begin)
    assert_allclose(found.map[0], expected, rtol=1e-5, atol=1e-6)
    assert_allclose(found.conservation["input"], 1, rtol=1e-5)


def test_deep_lift_shares_a_product_as_shapley_does() -> None:
    model = parsed(
        """g (float[N,2,3] x) => (float[N,1] y) { one = Constant<value_ints=[1]>()
        p, q = Split<axis=1, num_outputs=2>(x)  m = Mul(p, q)  f = Flatten<axis=1>(m)  y = MatMul(f, V) }""",
        V=drawn(8, 3, 1),
    )  # fmt: skip
    x, begin = drawn(9, 1, 2, 3), drawn(10, 2, 3)

    def score(first: bool, second: bool) -> float:
        mixed = np.stack([(x[0] if k else begin)[i] for i, k in enumerate((first, second))])[None]
        return float(plain(model, {"x": mixed.astype(np.float32)})[0, 0])

    none, whole, p, q = (score(*kept) for kept in ((False, False), (True, True), (True, False), (False, True)))
    found = explain(model, np.ascontiguousarray(x), method="deeplift", target=0, baseline=begin)
    shares = {0: (p - none + whole - q) / 2, 1: (q - none + whole - p) / 2}
    assert_allclose(found.map.sum(), sum(shares.values()), rtol=1e-4)
    assert_allclose(found.conservation["input"], 1, rtol=1e-4)


@pytest.mark.parametrize("baseline", [0.0, "mean", 0.7])
def test_deep_lift_leaves_nothing_of_what_differs(baseline: Any) -> None:
    x = inputs(3)
    found = Explainer(small_cnn(), method="deeplift", baseline=baseline)(x, target=[0, 2, 4])
    assert_allclose(found.conservation["input"], 1, rtol=1e-4)
    alone = Explainer(small_cnn(batch=1), method="deeplift", baseline=baseline)(x[1:2], target=2)
    assert_allclose(found.map[1:2], alone.map, rtol=1e-4, atol=1e-6)


# ---- Guided Grad-CAM


def test_guided_grad_cam_is_the_product_of_its_two_maps() -> None:
    x, layer = inputs(2), "/layer1/relu/Relu_output_0"
    guided = Explainer(small_cnn(), method="guidedbackprop")(x, target=1).map
    for at in (BASE, layer):
        coarse = np.maximum(Explainer(small_cnn(), method="gradcam", layers=at)(x, target=1).map, 0)
        rows, columns = (resize_matrix(n, wide) for n, wide in zip(coarse.shape[1:], (12, 10), strict=True))
        expected = guided * (rows @ coarse @ columns.T)
        found = Explainer(small_cnn(), method="guidedgradcam", base_layer=at)(x, target=1).map
        assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


# ---- LeGrad


@pytest.mark.parametrize(
    ("prefix", "pooled", "pool", "blocks"),
    [(1, False, "own", 0), (1, False, "mean", 0), (2, False, "own", 1), (0, True, "mean", 1)],
)
def test_legrad_is_the_positive_slope_of_each_blocks_own_score(
    prefix: int, pooled: bool, pool: str, blocks: int
) -> None:
    """A transformer that ends behind a block scores that block's tokens; its attention is moved up and down."""
    w, x = weights(prefix=prefix), picture()
    target = int(forward(x, w, prefix=prefix, pooled=pooled, layers=2)[0].argmax())
    rows = []
    for block in (0, 1)[-blocks:]:
        ended = {"prefix": prefix, "pooled": pooled or pool == "mean", "layers": block + 1}
        slope = np.zeros_like(forward(x, w, **ended)[1][block])
        for at in np.ndindex(slope.shape):
            step = np.zeros_like(slope)
            step[at] = 1e-5
            up, down = (forward(x, w, change={block: s}, **ended)[0] for s in (step, -step))
            slope[at] = (up - down)[target] / 2e-5
        rows.append(np.maximum(slope, 0).mean((0, 1)))
    expected = np.mean(rows, axis=0)[prefix:].reshape(GRID, GRID)
    found = explain(transformer(prefix=prefix, pooled=pooled), x, method="legrad", pool=pool, blocks=blocks)
    assert found.target[0] == target
    assert_allclose(found.map[0], expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_legrad_needs_attention_and_gives_one_map() -> None:
    with pytest.raises(LayerError, match="no self-attention"):
        explain(small_cnn(), inputs(1), method="legrad")
    with pytest.raises(OptionError, match="legrad gives one map"):
        explain(transformer(), picture(), method="legrad", layers="conv")
    with pytest.raises(OptionError, match="unknown pool 'meen'"):
        explain(transformer(), picture(), method="legrad", pool="meen")


# ---- a noise tunnel

MOMENTS = {"smoothgrad": np.mean, "smoothgrad_sq": lambda m, axis: np.mean(m**2, axis), "vargrad": np.var}


@pytest.mark.parametrize("kind", MOMENTS)
@pytest.mark.parametrize("method", ["gradcam", "deeplift"])
def test_a_tunnel_takes_the_moment_of_maps_at_noisy_copies(method: str, kind: str) -> None:
    x, span = inputs(2), np.ptp(inputs(2), axis=(1, 2, 3)).reshape(-1, 1, 1, 1)
    plain_one = Explainer(small_cnn(), method=method)
    maps = []
    for m in range(4):
        noise = np.random.default_rng([5, m]).standard_normal((3, 12, 10), np.float32)
        maps.append(plain_one(x + 0.3 * span * noise, target=[1, 3]).map)
    expected = MOMENTS[kind](np.stack(maps).astype(np.float64), axis=0)
    tunnel = Tunnel(kind=kind, samples=4, noise=0.3, seed=5)
    found = Explainer(small_cnn(), method=method, tunnel=tunnel)(x, target=[1, 3])
    assert_allclose(found.map, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    assert_allclose(found.score, plain_one(x, target=[1, 3]).score, rtol=1e-6)
    assert (kind == "smoothgrad" and method == "deeplift") == bool(found.conservation)


def test_a_tunnel_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    for wrong, said in (({"kind": "vargard"}, "Did you mean"), ({"samples": 0}, "samples"), ({"noise": -1}, "from 0")):
        with pytest.raises(OptionError, match=said):
            Tunnel(**wrong)
    with pytest.raises(OptionError, match=r"fgcam_onnx\.Tunnel"):
        Explainer(small_cnn(), tunnel="vargrad")
    with pytest.raises(OptionError, match="a trace is of one run"):
        Explainer(small_cnn(), method="lrp", tunnel=Tunnel(), trace=True)
    with pytest.raises(OptionError, match="a tunnel runs a method again and again"):
        export(Explainer(small_cnn(), method="gradcam", tunnel=Tunnel()), tmp_path / "e.onnx")


# ---- the originals' maps

NINE = (np.arange(96)[:, None] // 32) * 3 + np.arange(96)[None] // 32
ORIGINALS: dict[str, tuple[str, dict[str, Any]]] = {
    "deeplift, black": ("deeplift", {"baseline": 0.3}),
    "deeplift, mean": ("deeplift", {"baseline": "mean"}),
    "guidedgradcam": ("guidedgradcam", {}),
    "kernelshap, every coalition: shap": ("kernelshap", {"segments": NINE, "samples": 510, "baseline": 0.3}),
    "lime": ("lime", {"segments": NINE, "samples": 60, "baseline": 0.3}),
}


@pytest.mark.parametrize(("net", "layer"), [("vgg_shapes", "features"), ("resnet_shapes", "layer3")])
@pytest.mark.parametrize("row", ORIGINALS)
def test_the_map_is_the_originals(bundled: Path, net: str, layer: str, row: str) -> None:
    """captum 0.9.0, shap 0.51.0 and lime 0.2.0.1 on the same net in PyTorch: tools/peers/peers_attributions.py."""
    method, settings = ORIGINALS[row]
    settings |= {"base_layer": layer} if method == "guidedgradcam" else {}
    model = bundled / f"{net}.torchscript.onnx"
    expected = np.load(GOLDENS / f"attributions_{net}.npz")[row]
    found = Explainer(model, method=method, batch=64, **settings)(pictures_for(model)).map[:, ::KEPT, ::KEPT]
    assert off(found, expected) < 1e-4
    assert off(found * 1.01, expected) > 1e-3, "negative control"


# ---- baselines

BASED: dict[str, dict[str, Any]] = {
    "deeplift": {}, "gradientshap": {"samples": 3}, "integratedgradients": {"steps": 4},
    "kernelshap": {"samples": 20, "segments": 6}, "lime": {"samples": 20, "segments": 6},
    "occlusion": {"window": 4, "stride": 3}, "rise": {"masks": 5, "cells": 3},
}  # fmt: skip


@pytest.mark.parametrize("method", BASED)
def test_a_baseline_is_a_number_a_word_or_an_array(method: str) -> None:
    x = inputs(1)

    def of(baseline: Any) -> Any:
        return Explainer(small_cnn(), method=method, baseline=baseline, **BASED[method])(x, target=2).map

    same = np.full((3, 12, 10), 0.5, np.float32)
    assert_allclose(of(same), of(0.5), rtol=1e-5, atol=1e-6)
    assert_allclose(of(same[:, :1, :1]), of(0.5), rtol=1e-5, atol=1e-6)
    mean = x.mean((2, 3), keepdims=True)[0]
    assert_allclose(of("mean"), of(mean), rtol=1e-4, atol=1e-5)
    assert np.abs(of("mean") - of(0.5)).max() > 1e-4, "negative control"
    for wrong, said in (
        ("blurr", "Did you mean 'blur'"),
        (np.ones((3, 5, 5)), "one image"),
    ):
        with pytest.raises(OptionError, match=said):
            of(wrong)
    with pytest.raises(OptionError, match="as it is prepared"):
        engine.Explainer(small_cnn(), method=method, baseline="black", **BASED[method])(x)
    with pytest.raises(OptionError, match="finite number"):
        of(True)


def test_black_is_as_the_explainers_pictures_are_prepared(bundled: Path, tmp_path: Path) -> None:
    model, picture_ = bundled / "vgg_shapes.torchscript.onnx", bundled / "pictures" / "star.png"
    prepare = preprocess_from(model.with_suffix(".json")).bound((1, 3, 96, 96), "float32")
    black = prepare(Image.new("RGB", (96, 96)))[0]
    assert black.max() < -1
    found = explain(model, picture_, method="deeplift", baseline="black")
    expected = explain(model, picture_, method="deeplift", baseline=black)
    assert_allclose(found.map, expected.map, rtol=1e-5, atol=1e-6)
    assert off(explain(model, picture_, method="deeplift").map, expected.map) > 1e-2, "negative control"
    exported = export(Explainer(model, method="deeplift", baseline=black), tmp_path / "e.onnx")
    assert json.loads(exported.metadata["options"])["settings"] == {"baseline": "array [3, 96, 96]"}
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    (again,) = session.run(["explanation"], {"input": prepare(read_image(picture_))})
    assert off(again, expected.map) < 1e-5


def test_the_blurred_baseline_is_smoothed_along_every_axis() -> None:
    """On a picture of 96: a Gaussian of 5 / 224 of it, mirrored at its ends, by a plain loop over taps."""
    x = inputs(1, size=(3, 96, 80))
    sigma = 80 * 5 / 224
    reach = int(np.ceil(4 * sigma))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    padded = np.pad(x[0], ((0, 0), (reach, reach), (reach, reach)), mode="symmetric")
    rows = sum(t * padded[:, k : k + 96] for k, t in enumerate(taps / taps.sum()))
    blurred = sum(t * rows[:, :, k : k + 80] for k, t in enumerate(taps / taps.sum()))
    net = small_cnn(size=(96, 80))
    found = Explainer(net, method="deeplift", baseline="blur")(x, target=1).map
    expected = Explainer(net, method="deeplift", baseline=blurred.astype(np.float32))(x, target=1).map
    assert off(found, expected) < 1e-3


def test_windows_of_occlusion_may_be_rectangular() -> None:
    x, model = inputs(1), small_cnn()
    score = explain(model, x, method="saliency", target=2).score[0]
    drops, covers = np.zeros((12, 10)), np.zeros((12, 10))
    for top in range(0, 12, 2):
        for left in range(0, 10, 5):
            covered = x.copy()
            covered[0, :, top : top + 3, left : left + 5] = 0.25
            drops[top : top + 3, left : left + 5] += (
                score - explain(model, covered, method="saliency", target=2).score[0]
            )
            covers[top : top + 3, left : left + 5] += 1
    for window, stride in (((3, 5), (2, 5)), ("3x5", "2x5")):
        found = Explainer(model, method="occlusion", window=window, stride=stride, baseline=0.25)(x, target=2).map
        assert_allclose(found[0], drops / covers, rtol=1e-3, atol=1e-6)
    for settings, said in (
        ({"window": (3, 5, 2)}, "two axes"),
        ({"window": (3, 50)}, "larger than the input"),
        ({"window": (3, 2), "stride": (2, 3)}, "left out"),
    ):
        with pytest.raises(OptionError, match=said):
            Explainer(model, method="occlusion", **settings)(x)
