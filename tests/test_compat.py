"""pytorch-grad-cam's shape of call: its numbers (written by tools/peers/peers_compat.py), its faults refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nets import BASE, images, model_of, node, small_cnn, small_weights

from fgcam_onnx import compat
from fgcam_onnx.compat import (
    METHODS_BY_CLASS,
    BaseCAM,
    BinaryClassifierOutputTarget,
    ClassifierOutputReST,
    ClassifierOutputSoftmaxTarget,
    ClassifierOutputTarget,
    RawScoresOutputTarget,
    SemanticSegmentationTarget,
    cams,
    show_cam_on_image,
)
from fgcam_onnx.errors import InputError, LayerError, OptionError, TargetError
from fgcam_onnx.imaging.colormaps import opencv_colors
from fgcam_onnx.methods import METHODS
from fgcam_onnx.targets import Difference, Predicted

FIRST = "/layer1/relu/Relu_output_0"
SIZE = (31, 23)
ATOL = 1e-5


@pytest.fixture(scope="module")
def theirs() -> Any:
    with np.load(Path(__file__).parent / "goldens" / "compat.npz") as found:
        return dict(found)


def call(name: str = "GradCAM", *, layers: Any = (BASE,), targets: Any = None, **options: Any) -> Any:
    with getattr(compat, name)(model=small_cnn(size=SIZE), target_layers=list(layers)) as cam:
        return cam(input_tensor=images(3, size=SIZE), targets=targets, **options)


@pytest.mark.parametrize(
    ("golden", "layers", "targets", "options"),
    [
        ("top", [BASE], None, {}),
        ("class", [BASE], [ClassifierOutputTarget(3)] * 3, {}),
        ("mixed", [BASE], [ClassifierOutputTarget(c) for c in (0, 4, 2)], {}),
        ("layers", [FIRST, BASE], [ClassifierOutputTarget(1)] * 3, {}),
        ("augmented", [BASE], [ClassifierOutputTarget(1)] * 3, {"aug_smooth": True}),
        ("probability", [BASE], [ClassifierOutputSoftmaxTarget(2)] * 3, {}),
        ("rest", [BASE], [ClassifierOutputReST(2)] * 3, {}),
    ],
)
def test_maps_are_pytorch_grad_cams(theirs: Any, golden: str, layers: Any, targets: Any, options: Any) -> None:
    found = call(layers=layers, targets=targets, **options)
    assert found.dtype == np.float32
    assert found.shape == (3, *SIZE)
    assert 0 <= found.min() <= found.max() <= 1
    np.testing.assert_allclose(found, theirs[golden], rtol=0, atol=ATOL)


def test_fullgrad_is_theirs_but_for_what_is_added_to_their_denominators(theirs: Any) -> None:
    """Theirs divides each channel by its maximum + 1e-7, which is up to 1.3 % of the maxima of this net."""
    found = call("FullGrad", targets=[ClassifierOutputTarget(c) for c in (0, 4, 2)])
    np.testing.assert_allclose(found, theirs["FullGrad"], rtol=0, atol=0.013)


@pytest.mark.parametrize("name", ["GradCAMElementWise", "GradCAMPlusPlus", "HiResCAM", "LayerCAM", "XGradCAM"])
def test_other_methods_are_theirs(theirs: Any, name: str) -> None:
    found = call(name, targets=[ClassifierOutputTarget(c) for c in (0, 4, 2)])
    np.testing.assert_allclose(found, theirs[name], rtol=0, atol=ATOL)


def test_another_class_is_another_map(theirs: Any) -> None:
    """Negative control."""
    assert np.abs(call(targets=[ClassifierOutputTarget(1)] * 3) - theirs["class"]).max() > 0.05


def segmenter() -> Any:
    head = np.random.default_rng(21).standard_normal((2, 8, 1, 1)).astype(np.float32)
    weights = {n: a for n, a in small_weights().items() if n.startswith("layer1")} | {"head": head}
    nodes = [
        node("Conv", ["input", "layer1.conv.weight", "layer1.conv.bias"], "hidden", kernel_shape=[3, 3], pads=[1] * 4),
        node("Relu", ["hidden"], FIRST),
        node("Conv", [FIRST, "head"], "out", kernel_shape=[1, 1]),
    ]
    return model_of(nodes, weights, inputs={"input": ["N", 3, *SIZE]}, outputs=["out"])


def test_a_segmentation_target_is_theirs(theirs: Any) -> None:
    mask = (np.random.default_rng(22).random(SIZE) < 0.3).astype(np.float32)
    with compat.GradCAM(segmenter(), [FIRST]) as cam:
        found = cam(images(2, size=SIZE), [SemanticSegmentationTarget(1, mask)] * 2)
        assert cam.outputs.shape == (2, 2, *SIZE)
    np.testing.assert_allclose(found, theirs["region"], rtol=0, atol=ATOL)


def test_the_outputs_of_the_last_call_are_kept() -> None:
    cam = compat.GradCAM(model=small_cnn(size=SIZE), target_layers=[BASE])
    cam(images(2, size=SIZE), [0, 1])
    assert cam.outputs.shape == (2, 5)


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_targets_that_are_not_one_for_each_image_are_refused(count: int) -> None:
    with pytest.raises(TargetError, match=f"{count} targets for 3 images"):
        call(targets=[ClassifierOutputTarget(1)] * count)


def test_targets_may_be_those_of_this_package() -> None:
    found = call(targets=[Difference(0, 1), 2, ClassifierOutputTarget(3)])
    np.testing.assert_array_equal(found[1], call(targets=[2, 2, 2])[1])
    with pytest.raises(TargetError, match=r"Weighted"):
        call(targets=[lambda output: output[3]] * 3)


def test_one_output_is_explained_in_either_direction() -> None:
    z = np.array([[2.0], [-1.0]], np.float32)
    for target, weight in ((BinaryClassifierOutputTarget(1), 1), (BinaryClassifierOutputTarget(0), -1)):
        np.testing.assert_array_equal(target.aim(Predicted(z)).weights, np.full((2, 1), weight))
    np.testing.assert_array_equal(RawScoresOutputTarget().aim(Predicted(z)).weights, np.ones((2, 1)))
    with pytest.raises(TargetError, match="one output"):
        BinaryClassifierOutputTarget(1).aim(Predicted(np.ones((1, 2), np.float32)))


@pytest.mark.parametrize("name", sorted(METHODS_BY_CLASS))
def test_each_class_is_a_method_or_says_that_it_is_not_there(name: str) -> None:
    assert issubclass(getattr(compat, name), BaseCAM)
    if METHODS_BY_CLASS[name] not in METHODS:
        with pytest.raises(OptionError, match=METHODS_BY_CLASS[name].replace("+", r"\+")):
            call(name)
    else:
        assert call(name).shape == (3, *SIZE)


def test_unknown_classes_are_no_attributes() -> None:
    with pytest.raises(AttributeError, match="GradCam"):
        _ = compat.GradCam
    assert "LayerCAM" in dir(compat)


def test_arguments_that_do_not_fit_are_refused() -> None:
    with pytest.raises(OptionError, match="reshape_transform"):
        compat.GradCAM(small_cnn(), [BASE], reshape_transform=lambda x: x)
    for layers in (BASE, [object()]):
        with pytest.raises(OptionError, match="names of layers"):
            compat.GradCAM(small_cnn(), layers)
    with pytest.raises(LayerError):
        compat.GradCAM(small_cnn(), ["/layer3"])
    with pytest.raises(InputError, match=r"\[3, 31, 23\]"):
        compat.GradCAM(small_cnn(size=SIZE), [BASE])(images(1, size=SIZE)[0])


def test_eigen_smooth_is_passed_on_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    original = cams.Explainer

    def recorded(model: Any, **options: Any) -> Any:
        asked.append(options)
        return original(model, method="gradcam", layers=[BASE])

    monkeypatch.setattr(cams, "Explainer", recorded)
    cam = compat.GradCAM(small_cnn(size=SIZE), [BASE])
    cam(images(1, size=SIZE))
    cam(images(1, size=SIZE), eigen_smooth=True)
    assert [o.get("eigen_smooth") for o in asked] == [None, True]


# ---- pictures


@pytest.mark.parametrize("number", [1, 2, 16, 20])
@pytest.mark.parametrize("rgb", [False, True])
def test_a_map_over_a_picture_is_theirs(theirs: Any, number: int, rgb: bool) -> None:
    rng = np.random.default_rng(5)
    image, mask = rng.random((20, 30, 3)).astype(np.float32), rng.random((20, 30)).astype(np.float32)
    found = show_cam_on_image(image, mask, use_rgb=rgb, colormap=number, image_weight=0.3)
    wanted = theirs[f"shown/{number}/{int(rgb)}"]
    assert found.dtype == wanted.dtype
    assert np.abs(found.astype(int) - wanted).max() <= 1
    other = show_cam_on_image(image, mask, use_rgb=not rgb, colormap=number, image_weight=0.3)
    assert np.abs(other.astype(int) - wanted).max() > 1  # negative control


def test_jet_is_opencvs_and_not_matplotlibs(theirs: Any) -> None:
    import matplotlib

    assert np.abs(opencv_colors(2).astype(int) - theirs["jet"]).max() <= 1
    other = np.round(matplotlib.colormaps["jet"](np.arange(256))[:, :3] * 255)
    assert np.abs(other - theirs["jet"]).max() > 20


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"img": np.full((2, 2, 3), 2.0)}, "at most 1"), ({"mask": np.full((2, 2), 1.5)}, "0 to 1"),
        ({"mask": np.full((2, 2), np.nan)}, "0 to 1"), ({"mask": np.ones((3, 2))}, r"\(3, 2\)"),
        ({"image_weight": 1.5}, "0 to 1"), ({"colormap": 4}, "turbo"),
    ],
)  # fmt: skip
def test_pictures_that_do_not_fit_are_refused(changes: dict[str, Any], word: str) -> None:
    given: dict[str, Any] = {"img": np.ones((2, 2, 3)), "mask": np.ones((2, 2))} | changes
    with pytest.raises((InputError, OptionError), match=word):
        show_cam_on_image(given.pop("img"), given.pop("mask"), **given)


def test_a_black_picture_stays_black() -> None:
    assert show_cam_on_image(np.zeros((2, 2, 3)), np.zeros((2, 2)), image_weight=1.0).max() == 0
