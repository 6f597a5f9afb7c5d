"""Callables for Quantus and PAIR's saliency library: checked by plain loops, and with the packages where they are."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from nets import BASE, images, small_cnn

from fgcam_onnx import Explainer
from fgcam_onnx.adapters import KEYS, quantus_explain, quantus_model, saliency_call
from fgcam_onnx.errors import InputError, OptionError, TargetError
from fgcam_onnx.targets import Difference

TARGET = 3


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(small_cnn(), method="gradcam")


def picture(seed: int = 0) -> Any:
    """A picture (H, W, C), as saliency takes it."""
    return np.moveaxis(images(1, seed=seed)[0], 0, -1)


def integrated(call: Any, x: Any, *, steps: int) -> Any:
    """Integrated gradients from 0 as PAIR's library sums them: both ends, one image at a time."""
    total = np.zeros_like(x)
    for alpha in np.linspace(0, 1, steps):
        total += call((alpha * x)[None], expected_keys=["INPUT_OUTPUT_GRADIENTS"])["INPUT_OUTPUT_GRADIENTS"][0]
    return total * x / steps


# ---- saliency


def test_gradients_are_the_slopes_of_the_score(explainer: Explainer) -> None:
    call = saliency_call(explainer, target=TARGET)
    x, rng = picture(), np.random.default_rng(4)
    found = call(x[None])
    assert set(found) == set(KEYS)
    assert found["INPUT_OUTPUT_GRADIENTS"].shape == (1, *x.shape)
    slopes, wanted = [], []
    for _ in range(20):
        step = (rng.standard_normal(x.shape) * 2e-3).astype(np.float32)
        ends = call(np.stack([x + step, x - step]), expected_keys=["OUTPUT_LAYER_VALUES"])["OUTPUT_LAYER_VALUES"]
        slopes.append(float(ends[0] - ends[1]) / 2)
        wanted.append(float((found["INPUT_OUTPUT_GRADIENTS"][0] * step).sum()))
    np.testing.assert_allclose(slopes, wanted, rtol=0, atol=0.02 * np.abs(wanted).max())
    with pytest.raises(AssertionError, match="Not equal"):  # negative control
        np.testing.assert_allclose(slopes, 1.1 * np.array(wanted), rtol=0, atol=0.02 * np.abs(wanted).max())


def test_integrated_gradients_add_up_to_the_change_of_the_score(explainer: Explainer) -> None:
    call = saliency_call(explainer, target=TARGET)
    x = picture()
    scores = [float(call(v[None])["OUTPUT_LAYER_VALUES"][0]) for v in (x, np.zeros_like(x))]
    assert integrated(call, x, steps=400).sum() == pytest.approx(scores[0] - scores[1], rel=0.02)


def test_grad_cam_from_the_arrays_is_the_explainers(explainer: Explainer) -> None:
    found = saliency_call(explainer)(picture()[None], {"target": TARGET})
    a, g = found["CONVOLUTION_LAYER_VALUES"], found["CONVOLUTION_OUTPUT_GRADIENTS"]
    assert a.shape == (1, 6, 5, 16)
    weighed = (a * g.mean((1, 2), keepdims=True)).sum(-1)
    np.testing.assert_allclose(weighed, explainer(images(1), target=TARGET).map, rtol=1e-4, atol=1e-6)
    channels_first = saliency_call(explainer, target=TARGET, channels_last=False)(images(1))
    np.testing.assert_array_equal(channels_first["CONVOLUTION_LAYER_VALUES"], np.moveaxis(a, -1, 1))
    np.testing.assert_array_equal(
        channels_first["INPUT_OUTPUT_GRADIENTS"], np.moveaxis(found["INPUT_OUTPUT_GRADIENTS"], -1, 1)
    )


def test_other_targets_are_taken_too(explainer: Explainer) -> None:
    x = picture()[None]
    found, one, two = (saliency_call(explainer, target=t)(x) for t in (Difference(1, 2), 1, 2))
    for key in ("INPUT_OUTPUT_GRADIENTS", "OUTPUT_LAYER_VALUES"):
        np.testing.assert_allclose(found[key], one[key] - two[key], rtol=1e-4, atol=1e-6)


def test_inputs_of_any_size_are_taken_where_the_model_does() -> None:
    call = saliency_call(Explainer(small_cnn(size=("H", "W")), method="gradcam"), target=0)
    for height, width in ((12, 10), (8, 14)):
        assert call(np.ones((2, height, width, 3)))["INPUT_OUTPUT_GRADIENTS"].shape == (2, height, width, 3)


def test_what_is_not_known_is_refused(explainer: Explainer) -> None:
    x = picture()[None]
    with pytest.raises(TargetError, match="would change along a path"):
        saliency_call(explainer)(x)
    with pytest.raises(OptionError, match="neuron"):
        saliency_call(explainer)(x, {"neuron": 3})
    with pytest.raises(OptionError, match=r"INPUT_GRADIENTS.*Did you mean"):
        saliency_call(explainer, target=0)(x, expected_keys=["INPUT_GRADIENTS"])
    with pytest.raises(InputError):
        saliency_call(explainer, target=0)(x[0])


def test_the_saliency_library_runs_on_the_callable(explainer: Explainer) -> None:
    core = pytest.importorskip("saliency.core", reason="PAIR's saliency is not installed")
    call, x = saliency_call(explainer, target=TARGET), picture()
    wanted = integrated(call, x, steps=25)
    found = core.IntegratedGradients().GetMask(x, call, x_steps=25, batch_size=10)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    gradient = core.GradientSaliency().GetMask(x, call)
    np.testing.assert_array_equal(gradient, call(x[None])["INPUT_OUTPUT_GRADIENTS"][0])
    cam = core.GradCam().GetMask(x, call, should_resize=False, three_dims=False)
    raw = np.maximum(explainer(images(1), target=TARGET).map[0], 0)
    np.testing.assert_allclose(cam, raw, rtol=0, atol=1e-5 * raw.max())
    for method in (core.Occlusion(), core.BlurIG()):
        options = {"size": 3} if isinstance(method, core.Occlusion) else {}
        mask = method.GetMask(x, call, **options)
        assert np.isfinite(mask).all()
        assert mask.any()


# ---- Quantus


class Module:
    """Stands in for torch.nn.Module: calls its forward."""

    def __call__(self, x: Any) -> Any:
        return self.forward(x)  # type: ignore[attr-defined]


class Tensor:
    """Stands in for a tensor, with what the module uses of it."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return self

    def numpy(self) -> Any:
        return self.array

    def new_tensor(self, array: Any) -> Tensor:
        return Tensor(array)


def test_the_module_gives_the_logits_and_is_its_own_copy(explainer: Explainer) -> None:
    model = quantus_model(explainer, Module)
    assert isinstance(model, Module)
    np.testing.assert_array_equal(model(Tensor(images())).array, explainer.predict(images()))
    assert copy.deepcopy(model) is model


def test_an_explaining_function_gives_a_map_for_each_target(explainer: Explainer) -> None:
    x = images(3)
    explain = quantus_explain(explainer)
    found = explain(None, x, np.array([0, 4, 1]))
    assert found.shape == (3, 1, 12, 10)
    assert found.dtype == np.float32
    raw = explainer(x, target=[0, 4, 1]).map
    np.testing.assert_allclose(found[:, 0, 1::2, 1::2][:, 2, 2], found[:, 0, 5, 5], rtol=0, atol=0)
    # halfway between four centres of the coarse map lies their mean: 6 x 5 positions on 12 x 10 pixels, so 1/4 and 3/4
    weights = np.array([0.75, 0.25])
    wanted = np.einsum("i,j,nij->n", weights, weights, raw[:, 2:4, 2:4])
    np.testing.assert_allclose(found[:, 0, 5, 5], wanted, rtol=1e-5)
    np.testing.assert_array_equal(explain(quantus_model(explainer, Module), x, [0, 4, 1]), found)
    fine = Explainer(small_cnn(), layers=("input", BASE))
    np.testing.assert_allclose(
        quantus_explain(fine, layer="input")(None, x, [1] * 3)[:, 0], fine(x, target=1).maps["input"], rtol=1e-6
    )


def test_another_model_or_layer_is_refused(explainer: Explainer) -> None:
    with pytest.raises(OptionError, match=r"Module that was passed"):
        quantus_explain(explainer)(Module(), images(), [0, 1])
    other = quantus_model(Explainer(small_cnn(seed=1)), Module)
    with pytest.raises(OptionError, match="exported model"):
        quantus_explain(explainer)(other, images(), [0, 1])
    with pytest.raises(OptionError, match="layer9"):
        quantus_explain(explainer, layer="layer9")(None, images(), [0, 1])
    with pytest.raises(TargetError):
        quantus_explain(explainer)(None, images(), [0])


@pytest.mark.filterwarnings("ignore")
def test_quantus_measures_the_exported_model(explainer: Explainer) -> None:
    quantus = pytest.importorskip("quantus", reason="Quantus is not installed")
    torch = pytest.importorskip("torch", reason="Quantus' models need torch, which is not installed")
    model, explain = quantus_model(explainer, torch.nn.Module), quantus_explain(explainer)
    x, y = images(4), explainer(images(4)).target
    logits = model(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(logits, explainer.predict(x))
    flipping = quantus.PixelFlipping(
        features_in_step=12, perturb_baseline=0.0, normalise=False, abs=False, disable_warnings=True
    )
    curves = flipping(
        model=model, x_batch=x, y_batch=y, a_batch=None, explain_func=explain, softmax=True, channel_first=True
    )
    order = np.argsort(-np.broadcast_to(explain(None, x, y), x.shape).reshape(4, -1), axis=1)
    flipped, wanted = x.copy().reshape(4, -1), []
    for step in range(30):
        for n in range(4):
            flipped[n, order[n, 12 * step : 12 * step + 12]] = 0
        raised = np.exp(explainer.predict(flipped.reshape(x.shape)).astype(np.float64))
        wanted.append((raised / raised.sum(1, keepdims=True))[np.arange(4), y])
    np.testing.assert_allclose(curves, np.stack(wanted, 1), rtol=1e-4)
