"""Sheets, figures, tables and heat maps hold what the explanation holds, at its place."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nets import images, small_cnn
from PIL import Image

from fgcam_onnx import Explainer
from fgcam_onnx.errors import InputError, OptionError, TargetError
from fgcam_onnx.imaging import coloured, shaded
from fgcam_onnx.sweep import sweep

MODELS = Path(__file__).parents[2] / "exported_models"
RESNET, TWO = MODELS / "resnet_shapes.dynamo.onnx", MODELS / "pictures" / "two.png"
STAR = TWO.with_name("star.png")


@pytest.fixture(scope="module")
def e() -> Any:
    return Explainer(RESNET, layers=["input", "layer2"])([TWO, STAR], target="top:2")


def test_the_overlay_is_on_the_photograph_that_was_given(tmp_path: Path) -> None:
    wide = Image.new("RGB", (300, 120), "white")
    wide.paste(Image.open(STAR).convert("RGB"), (102, 12))
    e = Explainer(RESNET, method="gradcam", preprocess={"preset": "tf", "crop_share": 1.0})(wide)
    assert e.overlay().size == (300, 120)
    np.testing.assert_array_equal(np.asarray(e.overlay()), np.asarray(e.overlay(wide)))
    assert e.overlay(on="model").size == (96, 96)
    assert e.overlay(bar=True).height > 120
    strong, weak = (np.asarray(e.overlay(alpha=a), np.float64) for a in (1.0, 0.0))
    np.testing.assert_array_equal(weak, np.asarray(wide))
    assert np.abs(strong - weak).mean() > 10


def test_a_heat_map_has_the_colours_of_the_map_and_a_bar_below(e: Any) -> None:
    shown = np.asarray(e.heatmap(index=1, layer="layer2", bar=False))
    shades = shaded(e.maps["layer2"][1], view=(96, 96))
    wanted = coloured(shades).resize((224, 224), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(shown, np.asarray(wanted))
    assert e.heatmap(index=1, layer="layer2").height > 224


def test_classes_are_ranked_with_names_and_probabilities(e: Any) -> None:
    top = e.top(3, index=2)  # the second picture's first row
    order = np.argsort(-e.scores[2])[:3]
    assert [r.index for r in top] == order.tolist()
    exp = np.exp(e.scores[2].astype(np.float64) - e.scores[2].max())
    for r in top:
        assert r.probability == pytest.approx(exp[r.index] / exp.sum(), rel=1e-5)
        assert r.score == pytest.approx(float(e.scores[2, r.index]))
    assert top[0].label == "star"
    assert str(top[0]) == f"star {top[0].probability:.3f}"
    with pytest.raises(OptionError, match="whole number"):
        e.top(0)
    with pytest.raises(InputError, match="no image 9"):
        e.top(index=9)


def test_a_sheet_has_a_row_for_each_picture_and_target_and_a_column_for_each_layer(e: Any) -> None:
    rows = e.gallery()
    assert [row.title for row in rows[:2]] == ["ring", "star"]
    assert all(name in row.told for row, name in zip(rows, ["two.png"] * 2 + ["star.png"] * 2, strict=True))
    one = Explainer(RESNET, layers=["input", "layer2"])(TWO)
    assert e.sheet().height > 3.5 * one.sheet().height * 0.9
    assert e.sheet().width == one.sheet().width
    assert e.sheet(tile=64).width < e.sheet().width
    with pytest.raises(OptionError, match=r"unknown style 'colormpa'.*colormap"):
        e.sheet(colormpa="turbo")


def test_a_figure_has_axes_and_colour_bars_of_the_maps_ranges(e: Any) -> None:
    figure = e.figure()
    titles = [axis.get_title() for axis in figure.axes[:3]]
    assert titles == ["picture", "input", "layer2"]
    bars = [axis for axis in figure.axes if axis.get_label() == "<colorbar>"]
    assert len(bars) == 4 * 2
    assert bars[1].get_ylim()[1] == pytest.approx(shaded(e.maps["layer2"][0], view=(96, 96)).top)


def test_a_data_frame_has_a_row_for_each_map(e: Any) -> None:
    table = e.to_dataframe()
    assert len(table) == 4 * 2
    assert table["picture"].tolist() == ["two.png"] * 4 + ["star.png"] * 4
    row = table[(table.label == "star") & (table.layer == "layer2")].iloc[0]
    assert row["sum"] == pytest.approx(float(e.maps["layer2"][1].sum(dtype=np.float64)))
    assert row.probability == pytest.approx(float(e.probabilities[1, 3]))
    assert row.conservation == pytest.approx(float(e.conservation["layer2"][1]))
    bare = Explainer(small_cnn(), method="gradcam")(images(2)).to_dataframe()
    assert bare["picture"].tolist() == ["image 0", "image 1"]
    assert all(math.isnan(v) for v in bare["conservation"])


def test_what_ranks_no_classes_is_not_ranked() -> None:
    from target_nets import dense_net

    size = [d.dim_value for d in dense_net().graph.input[0].type.tensor_type.shape.dim][1:]
    found = Explainer(dense_net(), method="gradcam")(np.ones((1, *size), np.float32))
    assert found.probabilities is None
    with pytest.raises(TargetError, match="no scores of classes"):
        found.top()


def test_a_sweep_takes_a_picture_and_draws_itself() -> None:
    found = sweep(RESNET, TWO, methods=["gradcam", "layercam"], layers=["layer3", "layer4"], target="star")
    assert found.label == "star"
    wanted = Explainer(RESNET, method="layercam", layers="layer4")(TWO, target="star")
    np.testing.assert_allclose(found.maps["layer4", "layercam"], wanted.map[0], rtol=0, atol=1e-6)
    assert found.probability == pytest.approx(float(wanted.probabilities[0, 3]))  # type: ignore[index]
    assert found.sheet().size > (400, 400)
    assert len(found.figure().axes) >= 6
    assert repr(found).startswith("<Sweep of star, probability 0.151: gradcam, layercam at layer3, layer4>")
