"""Method auto: fgcam with cells, biases and a guide, from the CAM and the layer that suit the kind of net."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from nets import BASE, images, model_of, node, small_cnn
from token_nets import transformer

import fgcam_onnx
from fgcam_onnx.errors import OptionError
from fgcam_onnx.explainer import Explainer


def bottlenecked(*, rectified: bool = True) -> onnx.ModelProto:
    """Build a net that ends in a linear bottleneck behind a rectified, or nowhere rectified, layer of its size."""
    rng = np.random.default_rng(2)
    weights = {
        "a.w": rng.standard_normal((8, 3, 3, 3)).astype(np.float32),
        "a.b": rng.standard_normal(8).astype(np.float32),
        "b.w": rng.standard_normal((6, 8, 1, 1)).astype(np.float32),
        "fc.w": rng.standard_normal((5, 6)).astype(np.float32),
    }
    nodes = [
        node("Conv", ["input", "a.w", "a.b"], "a", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Clip", ["a", "zero"], "six") if rectified else node("Tanh", ["a"], "six"),
        node("Conv", ["six", "b.w"], "bottleneck"),
        node("GlobalAveragePool", ["bottleneck"], "mean"),
        node("Flatten", ["mean"], "flat"),
        node("Gemm", ["flat", "fc.w"], "logits", transB=1),
    ]
    weights |= {"zero": np.zeros((), np.float32)} if rectified else {}
    return model_of(nodes, weights, inputs={"input": ["N", 3, 13, 11]}, outputs=["logits"])


def ground(model: Any, **options: Any) -> tuple[str, str]:
    chosen = Explainer(model, method="auto", **options).options()[0]
    return chosen.base, chosen.base_layer.name


def test_the_ground_is_the_deepest_layer_of_its_size_that_is_never_negative() -> None:
    assert ground(small_cnn()) == ("gradcam", BASE)
    assert ground(bottlenecked()) == ("gradcam", "six")
    assert ground(bottlenecked(rectified=False)) == ("gradcam", "bottleneck")
    assert Explainer(bottlenecked(), method="fgcam").options()[0].base_layer.name == "bottleneck"


SETTINGS: dict[str, Any] = {"bias": True, "cells": True, "guided": True, "lowpass": 0.125}
PATCHES = np.random.default_rng(1).standard_normal((2, 3, 8, 12)).astype(np.float32)


def test_on_a_transformer_it_is_attnlrp_from_the_score_shared_over_each_patch() -> None:
    found = fgcam_onnx.explain(transformer(), PATCHES, method="auto", target=1).map
    lrp = fgcam_onnx.explain(transformer(), PATCHES, method="attnlrp", gamma=0.25, target=1).map
    patches = lrp.reshape(2, 2, 4, 3, 4).mean((2, 4))
    np.testing.assert_allclose(found, np.kron(patches, np.ones((4, 4))), rtol=1e-4, atol=1e-6 * np.abs(lrp).max())


def test_a_base_that_is_named_is_refined_on_a_transformer_too() -> None:
    options: dict[str, Any] = {"target": 1, **SETTINGS}
    found = fgcam_onnx.explain(transformer(), PATCHES, method="auto", base="hirescam", target=1).map
    same = fgcam_onnx.explain(transformer(), PATCHES, method="fgcam", base="hirescam", **options).map
    np.testing.assert_array_equal(found, same)
    with pytest.raises(OptionError, match="name one with base="):
        Explainer(transformer(), method="auto", denoise=True)
    with pytest.raises(OptionError, match="name one with base="):
        Explainer(transformer(), method="auto", saturation=False)


def test_what_is_named_is_taken() -> None:
    assert ground(bottlenecked(), base="hirescam") == ("hirescam", "six")
    assert ground(bottlenecked(), base_layer="bottleneck") == ("gradcam", "bottleneck")
    assert ground(transformer(), base="gradcam")[0] == "gradcam"
    with pytest.raises(OptionError, match="base"):
        Explainer(small_cnn(), method="auto", base="gradcamm")


def test_auto_is_fgcam_with_other_settings_and_ground() -> None:
    x = images(2, size=(13, 11))
    auto = fgcam_onnx.explain(bottlenecked(), x, method="auto", target=1).map
    same = fgcam_onnx.explain(bottlenecked(), x, method="fgcam", base_layer="six", target=1, **SETTINGS).map
    np.testing.assert_array_equal(auto, same)
    none: dict[str, Any] = {"bias": False, "cells": False, "guided": False, "lowpass": 0.0}
    plain = fgcam_onnx.explain(bottlenecked(), x, method="auto", base_layer="bottleneck", target=1, **none)
    published = fgcam_onnx.explain(bottlenecked(), x, method="fgcam", target=1)
    np.testing.assert_array_equal(plain.map, published.map)


def test_with_biases_a_unit_shares_what_its_input_made() -> None:
    """One Conv behind a rectified layer, by hand: shares of x+ w+ over their sum and the positive bias."""
    rng = np.random.default_rng(4)
    weights = {
        "first": rng.standard_normal((3, 2, 1, 1)).astype(np.float32),
        "w": rng.standard_normal((4, 3, 1, 1)).astype(np.float32),
        "b": np.asarray([0.7, -0.7, 2.0, 0.0], np.float32),
        "fc": rng.standard_normal((5, 4)).astype(np.float32),
    }
    nodes = [
        node("Conv", ["input", "first"], "h"),
        node("Relu", ["h"], "a"),
        node("Conv", ["a", "w", "b"], "z"),
        node("Relu", ["z"], "base"),
        node("GlobalAveragePool", ["base"], "mean"),
        node("Flatten", ["mean"], "flat"),
        node("Gemm", ["flat", "fc"], "logits", transB=1),
    ]
    model = model_of(nodes, weights, inputs={"input": ["N", 2, 4, 3]}, outputs=["logits"])
    x = rng.standard_normal((1, 2, 4, 3)).astype(np.float32)
    a = np.maximum(np.einsum("oi,ihw->ohw", weights["first"][:, :, 0, 0], x[0]), 0).astype(np.float64)
    w = weights["w"][:, :, 0, 0].astype(np.float64)
    base = np.maximum(np.einsum("oi,ihw->ohw", w, a) + weights["b"][:, None, None], 0)
    r = weights["fc"][2, :, None, None] / 12 * base
    messages = np.maximum(w[:, :, None, None] * a[None], 0)
    for bias in (True, False):
        z = messages.sum(1) + (np.maximum(weights["b"], 0)[:, None, None] if bias else 0)
        expected = (messages * (r / np.where(z == 0, 1, z))[:, None]).sum((0, 1))
        found = fgcam_onnx.explain(model, x, layers="a", target=2, bias=bias).map[0]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def folded(*, kept: bool) -> onnx.ModelProto:
    """Return a net whose normalization is a node of its own, or is folded into the convolution before it."""
    rng = np.random.default_rng(6)
    w, scale, shift = rng.standard_normal((4, 3, 3, 3)), rng.uniform(0.5, 2, 4), rng.standard_normal(4)
    mean, variance = rng.standard_normal(4), rng.uniform(0.5, 2, 4)
    factor = scale / np.sqrt(variance + 1e-5)
    weights: dict[str, Any] = {"fc": rng.standard_normal((5, 4))}
    if kept:
        weights |= {"w": w, "s": scale, "t": shift, "m": mean, "v": variance}
        start = [node("Conv", ["input", "w"], "c"), node("BatchNormalization", ["c", *"stmv"], "y")]
    else:
        weights |= {"w": w * factor[:, None, None, None], "t": shift - mean * factor}
        start = [node("Conv", ["input", "w", "t"], "y")]
    rest = [
        node("Relu", ["y"], "a"),
        node("Conv", ["a", "w2", "b2"], "z", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", ["z"], "base"),
        node("GlobalAveragePool", ["base"], "g"),
        node("Flatten", ["g"], "f"),
        node("Gemm", ["f", "fc"], "logits", transB=1),
    ]
    weights |= {"w2": rng.standard_normal((4, 4, 3, 3)), "b2": rng.standard_normal(4)}
    weights = {n: np.asarray(v, np.float32) for n, v in weights.items()}
    return model_of([*start, *rest], weights, inputs={"input": ["N", 3, 12, 10]}, outputs=["logits"])


def test_auto_is_the_same_whether_a_normalization_was_folded_or_not() -> None:
    kept, merged = (fgcam_onnx.explain(folded(kept=k), images(), method="auto", target=1).map for k in (True, False))
    scale = np.abs(merged).max()
    np.testing.assert_allclose(kept / scale, merged / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize("target", ["argmax", "input"])
def test_an_exported_file_gives_the_map(tmp_path: Path, target: Any) -> None:
    import onnxruntime

    path = tmp_path / "explained.onnx"
    fgcam_onnx.export(bottlenecked(), path, method="auto", target=target)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = images(3, size=(13, 11))
    feeds = {"input": x} | ({"target": np.asarray([2, 1, 0])} if target == "input" else {})
    e = fgcam_onnx.explain(bottlenecked(), x, method="auto", target=[2, 1, 0] if target == "input" else None)
    (found,) = session.run(["explanation"], feeds)
    np.testing.assert_allclose(found / np.abs(e.map).max(), e.map / np.abs(e.map).max(), rtol=0, atol=1e-5)
