"""pytorch-grad-cam's README with the import changed, and its numbers (written by tools/peers/peers_compat.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nets import BASE, images, small_cnn, small_weights
from numpy.testing import assert_allclose
from parsed import drawn, parsed, slope

from fgcam_onnx import compat
from fgcam_onnx.cam.factors import factors
from fgcam_onnx.compat import (
    BaseCAM,
    CamMultImageConfidenceChange,
    ClassifierOutputSoftmaxTarget,
    ClassifierOutputTarget,
    DeepFeatureFactorization,
    FinerCAM,
    FinerWeightedTarget,
    FullGrad,
    GradCAM,
    GradCAMElementWise,
    GuidedBackpropReLUModel,
    RefineCAM,
    ROADCombined,
    ROADLeastRelevantFirst,
    ROADMostRelevantFirst,
    deprocess_image,
    preprocess_image,
    show_cam_on_image,
    show_factorization_on_image,
)
from fgcam_onnx.errors import InputError, OptionError, TargetError
from fgcam_onnx.targets import Predicted

MODELS = Path(__file__).parents[1] / "exported_models"
FIRST = "/layer1/relu/Relu_output_0"
SIZE = (31, 23)


@pytest.fixture(scope="module")
def theirs() -> Any:
    with np.load(Path(__file__).parent / "goldens" / "compat.npz") as found:
        return dict(found)


def test_the_readme_runs_on_a_bundled_model() -> None:
    """Usage, guided backpropagation and metrics, in the README's order and names; cv2.merge is np.stack."""
    model, target_layers = MODELS / "resnet_shapes.dynamo.onnx", ["layer3"]
    rgb_img = np.random.default_rng(0).random((96, 96, 3)).astype(np.float32)
    input_tensor = preprocess_image(rgb_img, mean=[0.476] * 3, std=[0.158] * 3)
    targets = [ClassifierOutputTarget(6)]

    with GradCAM(model=model, target_layers=target_layers) as cam:
        grayscale_cams = cam(input_tensor=input_tensor, targets=targets)
        grayscale_cam = grayscale_cams[0, :]
        visualization = show_cam_on_image(rgb_img, grayscale_cam, use_rgb=True)
        model_outputs = cam.outputs
    assert visualization.shape == (96, 96, 3)
    assert model_outputs.shape == (1, 8)

    gb_model = GuidedBackpropReLUModel(model=model, device="cpu")
    gb = gb_model(input_tensor, target_category=None)
    cam_mask = np.stack([grayscale_cam, grayscale_cam, grayscale_cam], axis=-1)
    cam_gb = deprocess_image(cam_mask * gb)
    result = deprocess_image(gb)
    assert cam_gb.shape == result.shape == (96, 96, 3)
    assert np.abs(cam_gb.astype(int) - result).max() > 10

    inverse_cams = 1 - grayscale_cams
    metric_targets = [ClassifierOutputSoftmaxTarget(6)]
    scores, batch_visualizations = CamMultImageConfidenceChange()(
        input_tensor, inverse_cams, metric_targets, model, return_visualization=True
    )
    assert_allclose(batch_visualizations, input_tensor * inverse_cams[:, None], rtol=1e-6)
    assert deprocess_image(batch_visualizations[0, :]).shape == (3, 96, 96)
    cam_metric = ROADMostRelevantFirst(percentile=75)
    road, perturbation_visualizations = cam_metric(
        input_tensor, grayscale_cams, metric_targets, model, return_visualization=True
    )
    assert scores.shape == road.shape == (1,)
    changed = np.abs(perturbation_visualizations - input_tensor).max(axis=1) > 0
    assert 0.2 < changed.mean() < 0.3
    assert ROADCombined(percentiles=[20, 40])(input_tensor, grayscale_cams, metric_targets, model).shape == (1,)


FINER: dict[str, tuple[type[BaseCAM] | None, dict[str, Any]]] = {
    "finer": (None, {}),
    "finer alpha": (None, {"alpha": 0.6, "comparison_categories": [1, 2], "target_idx": 2}),
    "finer base": (GradCAMElementWise, {"comparison_categories": [1, 3]}),
}


@pytest.mark.parametrize("golden", FINER)
def test_finer_cam_and_its_comparisons_are_theirs(theirs: Any, golden: str) -> None:
    base, options = FINER[golden]
    with FinerCAM(small_cnn(size=SIZE), [BASE], base_method=base) as cam:
        found = cam(images(3, size=SIZE), **options)
        assert cam.outputs.shape == (3, 5)
    assert_allclose(found, theirs[golden], rtol=0, atol=1e-5)
    assert np.abs(found - theirs["top"]).max() > 0.01, "negative control"


def test_refine_cam_of_a_base_method_is_theirs(theirs: Any) -> None:
    cam = RefineCAM(small_cnn(size=SIZE), [FIRST, BASE], base_method=GradCAM)
    found = cam(images(3, size=SIZE), [ClassifierOutputTarget(1)] * 3)
    assert_allclose(found, theirs["refined base"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("main", [0, 2])
def test_the_weights_of_a_finer_target_are_its_slope(main: int) -> None:
    z = drawn(3, 2, 5)
    target = FinerWeightedTarget(main, [1, 3, 4], 0.7)
    found = target.aim(Predicted(z)).weights
    for at in np.ndindex(z.shape):
        moved = [z.astype(np.float64), z.astype(np.float64)]
        scores = []
        for sign, values in zip((1, -1), moved, strict=True):
            values[at] += sign * 1e-3
            q = np.exp(values[at[0], [1, 3, 4]])
            q /= q.sum()
            scores.append((q * (values[at[0], main] - 0.7 * values[at[0], [1, 3, 4]])).sum())
        assert_allclose(found[at], (scores[0] - scores[1]) / 2e-3, rtol=1e-3, atol=1e-5)


METRICS: dict[str, tuple[str, dict[str, Any]]] = {
    "multiplied": ("CamMultImageConfidenceChange", {}),
    "drop": ("DropInConfidence", {}),
    "increase": ("IncreaseInConfidence", {}),
    "most": ("ROADMostRelevantFirst", {"percentile": 75, "noise": 0.0}),
    "least": ("ROADLeastRelevantFirst", {"percentile": 30, "noise": 0.0}),
    "combined": ("ROADCombined", {"percentiles": [20, 40, 60, 80], "noise": 0.0}),
}


@pytest.mark.parametrize("golden", METRICS)
def test_metrics_are_theirs(theirs: Any, golden: str) -> None:
    name, options = METRICS[golden]
    targets = [ClassifierOutputSoftmaxTarget(c) for c in (0, 1, 3)]
    found = getattr(compat, name)(**options)(images(3, size=SIZE), theirs["metric maps"], targets, small_cnn(size=SIZE))
    assert found.dtype == np.float32
    assert_allclose(found, theirs[golden], rtol=1e-3, atol=1e-5)
    assert np.abs(theirs[golden]).max() > 1e-3, "negative control: not all is 0"


def test_guided_backpropagation_and_pictures_are_theirs(theirs: Any) -> None:
    guided = GuidedBackpropReLUModel(small_cnn(size=SIZE), "cpu")
    for key, category in (("guided", None), ("guided 2", 2)):
        found = guided(images(1, size=SIZE), category)
        assert_allclose(found, theirs[key], rtol=0, atol=1e-5 * np.abs(theirs[key]).max())
    assert np.abs(deprocess_image(theirs["guided"]).astype(int) - theirs["deprocessed"]).max() <= 1
    picture = np.random.default_rng(5).random((20, 30, 3)).astype(np.float32)
    for key, given in (("prepared", picture), ("prepared bytes", (picture * 255).astype(np.uint8))):
        found = preprocess_image(given, mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.4])
        assert_allclose(found, theirs[key], rtol=1e-5, atol=1e-6)


def test_factors_of_a_layer_are_theirs(theirs: Any) -> None:
    w, b = small_weights()["fc.weight"], small_weights()["fc.bias"]
    model = small_cnn(size=SIZE)
    own = DeepFeatureFactorization(model, BASE, computation_on_concepts=lambda c: c @ w.T + b)
    concepts, maps, scores = own(images(2, size=SIZE), 4)
    for found, key in ((concepts, "concepts"), (np.stack(maps), "concept maps"), (scores, "concept scores")):
        assert_allclose(found, theirs[key], rtol=0, atol=1e-4 * np.abs(theirs[key]).max())
    image = np.random.default_rng(6).random((*SIZE, 3))
    colors = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 0.0)]
    shown = show_factorization_on_image(image, theirs["concept maps"][0], colors=colors, image_weight=0.3)
    assert np.abs(shown.astype(int) - theirs["concepts shown"]).max() <= 2
    assert show_factorization_on_image(image, maps[0]).shape == (*SIZE, 3)
    with pytest.raises(InputError, match="one for each"):
        show_factorization_on_image(image, maps[0], colors=colors[:2])


def test_factors_give_a_matrix_of_that_rank_back() -> None:
    rng = np.random.default_rng(1)
    x = rng.random((12, 3)) @ rng.random((3, 40))
    w, h = factors(x, 3)
    assert min(w.min(), h.min()) >= 0
    assert np.abs(w @ h - x).max() < 0.02 * x.max()
    low, _ = factors(x, 1)
    assert np.abs(low @ np.linalg.lstsq(low, x, rcond=None)[0] - x).max() > 0.05 * x.max(), "negative control"


def test_the_guided_gradient_has_the_channels_last_and_is_a_gradient_where_nothing_is_cut() -> None:
    model = parsed(
        """g (float[1,3,4,5] x) => (float[1,2] y) { t = Tanh(x)  f = Flatten<axis=1>(t)  y = MatMul(f, V) }""",
        V=drawn(1, 60, 2),
    )  # fmt: skip
    x = drawn(2, 1, 3, 4, 5)
    expected = slope(model, {"x": x}, "x", at=(0, 1))[0].transpose(1, 2, 0)
    assert_allclose(GuidedBackpropReLUModel(model)(x, 1), expected, rtol=1e-3, atol=1e-4)
    with pytest.raises(InputError, match="one image, not 2"):
        GuidedBackpropReLUModel(small_cnn(size=SIZE))(images(2, size=SIZE))


def test_without_target_layers_each_method_has_its_own() -> None:
    x = images(2, size=SIZE)
    assert_allclose(GradCAM(small_cnn(size=SIZE))(x), GradCAM(small_cnn(size=SIZE), [BASE])(x), rtol=1e-6, atol=1e-6)
    assert FullGrad(small_cnn(size=SIZE))(x).shape == (2, *SIZE)


def test_what_does_not_fit_is_refused() -> None:
    x, maps, model = images(2, size=SIZE), np.random.default_rng(0).random((2, *SIZE)), small_cnn(size=SIZE)
    targets = [ClassifierOutputTarget(0)] * 2
    with pytest.raises(InputError, match="a map of the input's size"):
        CamMultImageConfidenceChange()(x, maps[:, :5], targets, model)
    with pytest.raises(TargetError, match="1 targets for 2 images"):
        CamMultImageConfidenceChange()(x, maps, targets[:1], model)
    with pytest.raises(OptionError, match="percentile is above 0"):
        ROADLeastRelevantFirst(percentile=0)
    with pytest.raises(InputError, match="nothing would stay"):
        ROADMostRelevantFirst(percentile=50)(x, np.ones((2, *SIZE)), targets, model)
    with pytest.raises(OptionError, match="base_method is a class"):
        FinerCAM(model, [BASE], base_method=BaseCAM.__call__)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="give target_layers"):
        RefineCAM(model, base_method=GradCAM)
    with pytest.raises(TargetError, match="both say"):
        FinerCAM(model, [BASE])(x, targets, target_idx=1)
    with pytest.raises(TargetError, match="compare a category with others"):
        FinerCAM(model, [BASE])(x, targets, comparison_categories=[])
    with pytest.raises(InputError, match="img is"):
        preprocess_image(np.zeros((4, 4, 3)), mean=[0.5] * 2)
