"""Sampled methods: the peers' maps, textbook loops, and draws that depend on nothing but the seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nets import BASE, small_cnn
from numpy.testing import assert_allclose, assert_array_equal
from test_inputs import GOLDENS, KEPT, NETS, gradients_at, inputs, off, pictures_for

from fgcam_onnx import Explainer
from fgcam_onnx.cam.sampling import generator, normal_noise, rise_masks, smooth_grad_cam_pp, window_starts
from fgcam_onnx.errors import OptionError
from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.loading.loading import load
from fgcam_onnx.methods import METHODS
from fgcam_onnx.runtime import Session

SAMPLED: dict[str, dict[str, Any]] = {
    "integratedgradients": {"steps": 9},
    "occlusion": {"window": 4, "stride": 3},
    "rise": {"masks": 21},
    "smoothgrad": {"samples": 7},
    "smoothgradcam++": {"samples": 7, "layers": "layer1"},
}

# ---- the peers' maps

ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "occlusion 16 8": ("occlusion", {}),
    "occlusion 15 7": ("occlusion", {"window": 15, "stride": 7}),
    "smoothgrad plain": ("smoothgrad", {"samples": 6}),
    "smoothgrad squared": ("smoothgrad", {"samples": 6, "kind": "squared"}),
    "smoothgrad vargrad": ("smoothgrad", {"samples": 6, "kind": "vargrad"}),
}


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("row", ROWS)
def test_the_map_is_captums(bundled: Path, net: str, row: str) -> None:
    """captum 0.9.0 on the same net in PyTorch, given the same noise: tools/peers/peers_captum.py."""
    method, settings = ROWS[row]
    golden = np.load(GOLDENS / f"inputs_{net}.npz")
    model = bundled / f"{net}.torchscript.onnx"
    found = Explainer(model, method=method, **settings)(pictures_for(model)).map[:, ::KEPT, ::KEPT]
    assert off(found, golden[row]) < 1e-5
    assert off(found * 1.01, golden[row]) > 1e-5, "negative control"


@pytest.mark.parametrize(("net", "layer"), [("vgg_shapes", "features"), ("resnet_shapes", "layer3")])
def test_weights_of_smooth_grad_cam_pp_are_torch_cams(bundled: Path, net: str, layer: str) -> None:
    """torch-cam 0.5.0's weights of one noisy sample; for several it takes the last one's gradient alone."""
    golden = np.load(GOLDENS / f"inputs_{net}.npz")
    model = bundled / f"{net}.torchscript.onnx"
    x, explainer = pictures_for(model), Explainer(model, method="smoothgradcam++", samples=1, layers=layer)
    (chosen,) = explainer.options()[0].layers
    emitter = Emitter(load(model))
    emitter.output("a", emitter.value(chosen.name))
    a = Session(emitter.build()).run({"input": x})["a"]
    expected = (golden["smoothgradcam++ weights"][:, :, None, None] * a).sum(axis=1)
    one = explainer(x).map
    assert off(one, expected) < 1e-4
    found = Explainer(model, method="smoothgradcam++", samples=6, layers=layer)(x).map
    # the denominator of alpha may come near 0, where rounding shows
    assert off(found, golden["smoothgradcam++"]) < 3e-4
    assert off(one, golden["smoothgradcam++"]) > 1e-2, "negative control: one sample is not six"


# ---- textbook loops


@pytest.mark.parametrize(("window", "stride", "baseline"), [(4, 3, 0.0), (10, 10, 0.5), (1, 1, -1.0), (5, 2, 0.0)])
def test_occlusion_is_the_textbooks(window: int, stride: int, baseline: float) -> None:
    model, x = small_cnn(), inputs(1)
    session = Session(load(model))
    score = session.run({"input": x})["logits"][0, 2]
    drops, covers = np.zeros((12, 10)), np.zeros((12, 10))
    top = 0
    while True:
        left = 0
        while True:
            covered = x.copy()
            covered[0, :, top : top + window, left : left + window] = baseline
            drops[top : top + window, left : left + window] += score - session.run({"input": covered})["logits"][0, 2]
            covers[top : top + window, left : left + window] += 1
            if left + window >= 10:
                break
            left += stride
        if top + window >= 12:
            break
        top += stride
    found = Explainer(model, method="occlusion", window=window, stride=stride, baseline=baseline)(x, target=2).map
    assert covers.min() >= 1
    assert_allclose(found[0], drops / covers, rtol=1e-4, atol=1e-6)


def test_windows_cover_every_position_and_only_the_last_sticks_out() -> None:
    for length, window, stride in ((10, 3, 2), (10, 4, 3), (7, 7, 1), (96, 16, 8), (96, 15, 7)):
        starts = window_starts(length, window, stride)
        assert set(range(length)) <= {s + k for s in starts for k in range(window)}
        assert all(s + window <= length for s in starts[:-1])


@pytest.mark.parametrize(("p", "baseline"), [(0.5, 0.0), (0.2, 0.7)])
def test_rise_is_the_textbooks(p: float, baseline: float) -> None:
    model, x, count = small_cnn(tail="Softmax"), inputs(2), 12
    session, masks = Session(load(model)), rise_masks((12, 10), range(count), cells=4, p=p, seed=5)
    chances = np.zeros((2, count))
    for m, mask in enumerate(masks):
        for n in range(2):
            masked = x[n : n + 1] * mask + baseline * (1 - mask)
            chances[n, m] = session.run({"input": masked.astype(np.float32)})["output"][0, 3]
    settings = {"masks": count, "cells": 4, "p": p, "baseline": baseline, "seed": 5}
    for centred in (False, True):
        weights = chances - centred * chances.mean(axis=1, keepdims=True)
        expected = np.einsum("nm,mhw->nhw", weights, masks) / (count * p)
        found = Explainer(model, method="rise", centred=centred, **settings)(x, target=3)
        assert_allclose(found.map, expected, rtol=1e-4, atol=1e-6)
        assert found.conservation == {}


def test_rise_reads_a_sigmoid_where_the_model_ends_in_one() -> None:
    model, x = small_cnn(tail="Sigmoid"), inputs(1)
    (mask,) = rise_masks((12, 10), range(1), cells=7, p=0.5, seed=0)
    probability = Session(load(model)).run({"input": x * mask})["output"][0, 1]
    found = Explainer(model, method="rise", masks=1, centred=False)(x, target=1).map
    assert_allclose(found[0], probability * mask / 0.5, rtol=1e-4)


def test_a_rise_mask_is_cells_enlarged_bilinearly_and_shifted() -> None:
    """Read off each mask at one pixel at a time, half-pixel positions, ends repeated."""
    height, width, grid = 12, 10, 4
    for number in range(5):
        (mask,) = rise_masks((height, width), [number], cells=grid, p=0.5, seed=9)
        rng = generator(9, number)
        cells = rng.random((grid, grid)) < 0.5
        top, left = int(rng.integers(3)), int(rng.integers(3))
        for r, c in np.ndindex(height, width):
            ys, xs = ((k + 0.5) * grid / ((grid + 1) * 3) - 0.5 for k in (r + top, c + left))
            value = 0.0
            for i in (int(np.floor(ys)), int(np.floor(ys)) + 1):
                for j in (int(np.floor(xs)), int(np.floor(xs)) + 1):
                    share = (1 - abs(ys - i)) * (1 - abs(xs - j))
                    value += share * cells[np.clip(i, 0, grid - 1), np.clip(j, 0, grid - 1)]
            assert_allclose(mask[r, c], value, atol=1e-5)


def test_rise_masks_have_the_share_that_was_asked_for() -> None:
    for p in (0.2, 0.5, 0.9):
        masks = rise_masks((30, 23), range(400), cells=7, p=p, seed=1)
        assert masks.min() >= 0
        assert masks.max() <= 1
        assert_allclose(masks.mean(), p, atol=0.02)


def test_smooth_grad_is_the_textbooks() -> None:
    model, x, count = small_cnn(), inputs(2), 4
    gradients = []
    for m in range(count):
        noise = np.random.default_rng([3, m]).standard_normal((3, 12, 10), np.float32)
        spread = 0.3 * np.ptp(x, axis=(1, 2, 3)).reshape(-1, 1, 1, 1)
        gradients.append(gradients_at(model, (x + spread * noise).astype(np.float32), 0, ("input",))["g/input"])
    g = np.stack(gradients).astype(np.float64)
    for kind, expected in (("plain", g.mean(0)), ("squared", (g**2).mean(0)), ("vargrad", g.var(0))):
        explainer = Explainer(model, method="smoothgrad", samples=count, noise=0.3, seed=3, kind=kind)
        expected = np.abs(expected).max(axis=1)
        assert_allclose(explainer(x, target=0).map, expected, rtol=1e-3, atol=1e-5 * expected.max())


def test_smooth_grad_without_noise_is_saliency() -> None:
    x, name = inputs(2), "/layer1/relu/Relu_output_0"
    for layers in (None, [name, "input"]):
        plain = Explainer(small_cnn(), method="saliency", layers=layers)(x)
        found = Explainer(small_cnn(), method="smoothgrad", samples=3, noise=0.0, layers=layers)(x)
        for layer, values in plain.maps.items():
            assert_allclose(found.maps[layer], values, rtol=1e-5, atol=1e-8)


def test_smooth_grad_cam_pp_is_a_loop_over_positions() -> None:
    rng = np.random.default_rng(0)
    a = np.abs(rng.standard_normal((2, 3, 2, 2)))
    g = rng.standard_normal((5, 2, 3, 2, 2))
    powers = (g.mean(0), (g**2).mean(0), (g**3).mean(0))
    found = smooth_grad_cam_pp(a, powers, (2, 3))
    for n, k in np.ndindex(2, 3):
        total = (a[n, k] * powers[2][n, k]).sum()
        weight = 0.0
        for place in np.ndindex(2, 2):
            first, second = powers[0][n, k][place], powers[1][n, k][place]
            weight += second / (2 * second + total + 1e-8) * max(first, 0)
        assert_allclose(found[n, k], weight * a[n, k], rtol=1e-10)


def test_fgcam_refines_smooth_grad_cam_pp_with_its_settings() -> None:
    x = inputs()
    explainer = Explainer(small_cnn(), base="smoothgradcam++", samples=3, layers=[BASE, "input"])
    coarse = Explainer(small_cnn(), method="smoothgradcam++", samples=3)(x).map
    found = explainer(x)
    assert_allclose(found.maps[BASE], coarse, rtol=1e-4, atol=1e-6)
    assert found.maps["input"].shape == (2, 12, 10)
    with pytest.raises(OptionError, match="fgcam has no setting 'masks'"):
        Explainer(small_cnn(), base="smoothgradcam++", masks=3)


# ---- draws


@pytest.mark.parametrize("method", SAMPLED)
def test_a_map_depends_on_the_seed_but_not_on_the_batch(method: str) -> None:
    """Neither on how many are run at once, nor on the picture's place, nor on a batch that the model fixes."""
    x = inputs(3)
    settings = SAMPLED[method]
    expected = Explainer(small_cnn(batch=1), method=method, **settings)(x[2:]).map
    for batch in (1, 4, 64):
        found = Explainer(small_cnn(), method=method, batch=batch, **settings)(x).map[2:]
        assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())
    if "seed" in METHODS[method].settings:
        other = Explainer(small_cnn(), method=method, **settings, seed=1)(x).map[2:]
        assert off(other, expected) > 1e-2


def test_more_draws_begin_with_the_same() -> None:
    assert_array_equal(normal_noise((2, 3), range(4), seed=1), normal_noise((2, 3), range(9), seed=1)[:4])
    few, many = (rise_masks((9, 8), numbers, cells=3, p=0.5, seed=2) for numbers in (range(2, 4), range(6)))
    assert_array_equal(few, many[2:4])


@pytest.mark.parametrize("method", SAMPLED)
def test_the_target_stays_the_clean_pictures(method: str) -> None:
    """Noise and masks change what the model sees most; what is explained stays."""
    x = inputs(4, seed=7)
    settings = SAMPLED[method] | ({"noise": 3.0} if "noise" in METHODS[method].settings else {})
    found = Explainer(small_cnn(), method=method, **settings)(x)
    named = Explainer(small_cnn(), method=method, **settings)(x, target=found.target)
    assert_allclose(found.map, named.map, rtol=1e-6, atol=0)


@pytest.mark.parametrize("method", SAMPLED)
def test_progress_counts_to_the_end(method: str) -> None:
    told: list[tuple[int, int]] = []
    Explainer(small_cnn(), method=method, batch=4, progress=lambda *d: told.append(d), **SAMPLED[method])(inputs(2))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    assert len(told) > 2


# ---- refusals


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("occlusion", {"window": 11}, "larger than the input, 12 x 10"),
        ("occlusion", {"window": 4, "stride": 5}, "left out"),
        ("occlusion", {"window": 0}, "window must be at least 1, not 0"),
        ("rise", {"p": 0.0}, "p is the share"),
        ("rise", {"masks": 0}, "masks must be at least 1"),
        ("rise", {"seed": -1}, "seed must be at least 0"),
        ("rise", {"p": 1}, ""),
        ("integratedgradients", {"rule": "gauslegendre"}, "Did you mean 'gausslegendre'"),
        ("integratedgradients", {"rule": "trapezoid", "steps": 1}, "at least 2"),
        ("integratedgradients", {"steps": 0}, "at least 1"),
        ("smoothgrad", {"kind": "square"}, "Did you mean 'squared'"),
        ("smoothgrad", {"samples": 0}, "samples must be at least 1"),
        ("smoothgrad", {"noise": float("nan")}, "noise of smoothgrad is a finite number"),
        ("smoothgradcam++", {"noise": -0.1}, "noise must be at least 0"),
        ("rise", {"masks": 10.0}, "masks of rise is of type int, not 10.0"),
        ("gradcam", {"masks": 10}, "it has no settings of its own"),
    ],
)
def test_settings_that_make_no_sense_are_refused(method: str, settings: dict[str, Any], message: str) -> None:
    def run() -> None:
        Explainer(small_cnn(), method=method, **settings)(inputs(1))

    if not message:
        run()
        return
    with pytest.raises(OptionError, match=message):
        run()
