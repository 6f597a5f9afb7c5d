"""How maps are shown, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from nets import BASE, images, small_cnn, written
from PIL import Image

import fgcam_onnx
from fgcam_onnx.cli import cli
from fgcam_onnx.explainer import Explainer
from fgcam_onnx.imaging import overlay, shaded
from fgcam_onnx.targets import Difference, Probability, Sum

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8))


def test_recipro_cam_is_shown_from_its_least_value_to_its_largest() -> None:
    e = fgcam_onnx.explain(small_cnn(), images(), method="reciprocam")
    assert e.relative == (True, True)
    below = type(e)(**{**vars(e), "maps": {n: m - m.max() - 1 for n, m in e.maps.items()}})
    shown = np.asarray(below.overlay(PICTURE))
    np.testing.assert_array_equal(shown, np.asarray(overlay(PICTURE, e.map[0] - e.map[0].min(), gamma=1)))
    assert np.abs(shown.astype(int) - np.asarray(overlay(PICTURE, below.map[0]))).max() > 20
    np.testing.assert_array_equal(below.overlay(PICTURE, signed=True), overlay(PICTURE, below.map[0], signed=True))
    assert np.ptp(below.fused()) == 1


def test_the_colour_scale_of_such_a_map_goes_from_its_least_value_to_its_largest() -> None:
    values = np.array([[-3, -2.5], [-1, -2]])
    shades = shaded(values, relative=True, percentile=100)
    assert shades.range == (-3, -1)
    np.testing.assert_allclose(shades.shares, (values + 3) / 2, rtol=1e-6, atol=0)
    assert shaded(values, percentile=100).range == (0, 0)
    assert shaded(values, relative=True, signed=True, percentile=100).range == (-3, 3)


def test_what_shows_nothing_of_such_a_map_is_that_it_is_even_not_that_it_is_negative() -> None:
    e = fgcam_onnx.explain(small_cnn(), images(), method="reciprocam")
    (name,) = e.maps
    even = np.full_like(e.map[0], 0.25)
    below = type(e)(**{**vars(e), "maps": {name: np.stack([e.map[0] - e.map[0].max() - 1, even])}})
    assert below.empty == {name: ("", "the same everywhere")}
    assert type(e)(**{**vars(below), "relative": ()}).empty == {name: ("nothing positive", "")}
    assert shaded(even, relative=True).notes == ("map: the same everywhere",)


def test_a_contrast_is_shown_whole_and_other_targets_are_not() -> None:
    explainer = Explainer(small_cnn(), method="gradcam")
    x = images()
    assert explainer(x, target=Difference(0, 1)).relative == (True, True)
    assert explainer(x, target=Probability(0)).relative == (True, True)
    assert explainer(x, target=Sum((0, 1))).relative == (False, False)
    assert explainer(x, target=[Sum((0, 1)), Difference(2, 1)]).relative == (False, True)
    assert explainer(x, target=1).relative == (False, False)


def test_an_exported_recipro_cam_is_scaled_from_its_least_value(tmp_path: Path) -> None:
    import onnxruntime

    path = tmp_path / "e.onnx"
    fgcam_onnx.export(small_cnn(), path, method="reciprocam", normalize="minmax")
    found = onnxruntime.InferenceSession(path).run(["explanation"], {"input": images()})[0]
    raw = fgcam_onnx.explain(small_cnn(), images(), method="reciprocam").map
    low, high = (f(raw, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    np.testing.assert_allclose(found, (raw - low) / (high - low), rtol=0, atol=1e-5)


# ---- classes of negative logit


@pytest.mark.parametrize("composite", ["epsilon", "epsilonplus", "epsilonalpha2beta1", "epsilongammabox", "attnlrp"])
def test_lrp_is_positive_where_something_speaks_for_the_class_whatever_its_logit(composite: str) -> None:
    """At the last layer it is each position's contribution to the logit, over the logit's magnitude."""
    x = images(4)
    scores = fgcam_onnx.explain(small_cnn(seed=1), x, method="gradcam").scores
    lowest = scores.argmin(axis=1)
    assert (scores.min(axis=1) < -0.1).all()
    maps = fgcam_onnx.explain(small_cnn(seed=1), x, method="hirescam", layers=BASE, target=lowest).map
    expected = maps / np.abs(scores.min(axis=1))[:, None, None]
    found = fgcam_onnx.explain(small_cnn(seed=1), x, method="lrp", composite=composite, layers=BASE, target=lowest)
    if composite != "epsilongammabox":
        np.testing.assert_allclose(found.map, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    plain = fgcam_onnx.explain(
        small_cnn(seed=1), x, method="lrp", composite=composite, layers=BASE, target=lowest, start="plain"
    )
    np.testing.assert_array_equal(plain.map, -found.map)


@pytest.mark.parametrize("composite", ["zplus", "alpha2beta1", "excitationbackprop", "guidedbackprop"])
def test_rules_whose_denominators_have_one_sign_start_from_one(composite: str) -> None:
    x = images(4)
    lowest = fgcam_onnx.explain(small_cnn(seed=1), x, method="gradcam").scores.argmin(axis=1)
    found, plain = (
        fgcam_onnx.explain(small_cnn(seed=1), x, method="lrp", composite=composite, target=lowest, **start).map
        for start in ({}, {"start": "plain"})
    )
    np.testing.assert_array_equal(found, plain)


# ---- remarks


def test_a_cam_before_the_last_stage_is_said_to_be_at_chance() -> None:
    early = "/layer1/relu/Relu_output_0"
    (remark,) = Explainer(small_cnn(), method="gradcam", layers=[early, BASE]).remarks
    assert "12 x 10" in remark
    assert "chance" in remark
    assert Explainer(small_cnn(), method="fgcam", base_layer=early).remarks == (remark,)
    for method, layer in (("gradcam", BASE), ("layercam", early), ("relevancecam", early), ("fgcam", early)):
        assert Explainer(small_cnn(), method=method, layers=layer).remarks == ()


def test_recipro_cam_says_what_it_costs_at_a_layer_of_thousands_of_places() -> None:
    model = small_cnn(size=(96, 80))
    early = "/layer1/relu/Relu_output_0"
    (remark,) = Explainer(model, method="reciprocam", layers=early, batch=16).remarks
    assert "7680 times for each picture, once for each of its 96 x 80 places, 16 at a time" in remark
    assert "places" in remark.split("; ")[1]
    assert Explainer(small_cnn(), method="reciprocam").remarks == ()


def test_the_page_that_a_remark_names_has_that_section() -> None:
    (remark,) = Explainer(small_cnn(), method="xgradcam", layers="/layer1/relu/Relu_output_0").remarks
    page, section = remark.rsplit("(", 1)[1].rstrip(")").split(", ")
    assert f"## {section}" in (Path(__file__).parent.parent / page).read_text()


def test_pictures_are_written_as_explanations_are_drawn(tmp_path: Path) -> None:
    """Recipro-CAM beside a method in whose maps 0 means something, and both fused over one layer."""
    from fgcam_onnx.imaging import Preprocess

    PICTURE.save(tmp_path / "p.png")
    model = written(small_cnn(), tmp_path)
    done = CliRunner().invoke(
        cli, ["explain", str(model), str(tmp_path / "p.png"), "--method", "reciprocam", "--method", "layercam",
               "-o", str(tmp_path / "out"), "--preprocess", "unit", "--no-bar", "--on", "model"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    explainer = Explainer(model, method="reciprocam")
    spec = explainer.model.inputs[0]
    x = Preprocess().bound(spec.shape, spec.dtype)(PICTURE)
    for method in ("reciprocam", "layercam"):
        (path,) = (tmp_path / "out").glob(f"p.{method}.*.png")
        expected = fgcam_onnx.explain(model, x, method=method).overlay(PICTURE)
        np.testing.assert_array_equal(np.asarray(Image.open(path)), np.asarray(expected))


def test_explain_prints_what_is_wrong_with_a_map(tmp_path: Path) -> None:
    model = written(small_cnn(), tmp_path)
    PICTURE.save(tmp_path / "p.png")
    done = CliRunner().invoke(
        cli, ["explain", str(model), str(tmp_path / "p.png"), "--method", "gradcam", "--layer", "layer1.relu",
               "-o", str(tmp_path / "out"), "--preprocess", "unit"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "note: gradcam at" in done.stderr


def test_inspect_says_what_auto_takes_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    done = CliRunner().invoke(cli, ["inspect", str(written(small_cnn(), tmp_path))])
    assert (
        f"auto: gradcam at {BASE}, the deepest layer that is never negative; refined to the input and guided by it"
        in done.output
    )
