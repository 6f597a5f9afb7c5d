"""One picture, every stage, several methods: the maps are the explainer's, the sheet is readable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nets import BASE, images, small_cnn
from PIL import Image

from fgcam_onnx import Explainer, load
from fgcam_onnx.errors import InputError, LayerError, OptionError, TargetError
from fgcam_onnx.imaging.grids import labelled_grid
from fgcam_onnx.methods import METHODS
from fgcam_onnx.sweep import USUAL, stage_layers, sweep
from fgcam_onnx.targets import Classes, Difference

MODELS = Path(__file__).parent.parent / "exported_models"
RESNET = MODELS / "resnet_shapes.dynamo.onnx"
TWO = MODELS / "pictures" / "two.png"


def test_stages_are_one_layer_for_each_resolution_down_to_the_base() -> None:
    for proto, wanted in ((small_cnn(), [(12, 10), (6, 5)]), (RESNET, [(48, 48), (24, 24), (12, 12), (6, 6)])):
        model = load(proto)
        logits = Explainer(model).score.logits
        stages = stage_layers(model, logits=logits)
        assert [layer.spatial for layer in stages] == wanted
        assert all(layer.every_path for layer in stages)
    assert stage_layers(load(small_cnn()), logits="logits")[-1].name == BASE


def test_maps_are_those_of_the_explainer() -> None:
    found = sweep(small_cnn(), images(1), target=Difference(1, 2), methods=["gradcam", "fgcam"])
    assert found.methods == ("gradcam", "fgcam")
    assert found.layers == ("input", "layer1.relu", "layer2.relu")
    assert found.places[0] == "12 x 10, 3 channels"
    assert set(found.maps) == {(a, m) for a in found.layers for m in found.methods} - {("input", "gradcam")}
    assert (found.target, found.described) == (-1, "class 1 - class 2")
    for (layer, method), values in found.maps.items():
        wanted = Explainer(small_cnn(), method=method, layers=layer)(images(1), target=Difference(1, 2)).map[0]
        np.testing.assert_allclose(values, wanted, rtol=0, atol=1e-5 * float(np.abs(wanted).max()))
    assert sweep(small_cnn(), images(1)).methods == tuple(m for m in USUAL if m in METHODS)


def test_what_fails_at_one_layer_leaves_the_others() -> None:
    shallow: dict[str, Any] = {"methods": ["fgcam"], "base_layer": "/pool/MaxPool_output_0"}
    found = sweep(small_cnn(), images(1), layers=["input", BASE], **shallow)
    assert set(found.maps) == {("input", "fgcam")}
    assert list(found.failures) == [(BASE, "fgcam")]
    assert found.failures[BASE, "fgcam"]
    with pytest.raises(LayerError):
        sweep(small_cnn(), images(1), layers=[BASE], **shallow)


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"methods": ["gradcm"]}, OptionError, "gradcam"), ({"layers": ["layer3"]}, LayerError, "layer3"),
        ({"target": 9}, TargetError, "0 to 4"), ({"target": Classes((0, 1))}, OptionError, "one target"),
        ({"method": "gradcam"}, OptionError, "methods"), ({"x": images(2)}, InputError, "one picture"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(options: dict[str, Any], error: type[Exception], word: str) -> None:
    given = {"x": images(1)} | options
    with pytest.raises(error, match=word):
        sweep(small_cnn(), given.pop("x"), **given)


def test_a_sheet_has_a_cell_for_each_map(fgcam: Any) -> None:
    ran = fgcam("sweep", RESNET, TWO, "--target", "star", "--method", "gradcam", "--method", "fgcam", "--tile", "64")
    assert ran.code == 0, ran.err
    assert "star" in ran.out
    assert "two.sweep.png" in ran.out
    with Image.open("two.sweep.png") as sheet:
        assert sheet.mode == "RGB"
        assert sheet.width > 2 * 64
        assert sheet.height > 5 * 64
        colours = np.asarray(sheet)
    # each of 9 overlays and the picture has colours; the cell of gradcam at the input has none
    assert (np.ptp(colours[:, 180:], axis=2) > 40).sum() > 9 * 500


def test_the_report_names_layers_methods_and_failures(fgcam: Any) -> None:
    ran = fgcam(
        "sweep", RESNET, TWO, "--layer", "layer3", "--layer", "layer4", "--method", "gradcam", "--json", "-o", "a/b.png"
    )
    report = json.loads(ran.out)
    assert (report["layers"], report["methods"], report["failures"]) == (["layer3", "layer4"], ["gradcam"], [])
    assert report["label"] == "ring"
    assert Path("a/b.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--target", "top:2"], "one target"), (["-o", "sheet.jpg"], ".png"), (["--method", "gradcm"], "gradcam"),
        (["--layer", "layr3"], "layer3"), (["--target", "strar"], "star"),
    ],
)  # fmt: skip
def test_faults_are_one_line(fgcam: Any, arguments: list[str], word: str) -> None:
    ran = fgcam("sweep", RESNET, TWO, *arguments)
    assert ran.code == 1
    assert word in ran.err
    assert not list(Path().glob("*.png"))


# ---- the grid


def test_cells_lie_in_their_row_and_column() -> None:
    red, green = Image.new("RGB", (10, 10), "red"), Image.new("RGB", (20, 10), "lime")
    rows, columns = [("one", "a"), ("two", "b")], ["x", "y", "z"]
    sheet = labelled_grid({(0, 2): red, (1, 0): green, (1, 1): "no map"}, rows=rows, columns=columns, tile=64)
    colours = np.asarray(sheet).astype(int)
    for wanted, row, column, area in (((255, 0, 0), 0, 2, 64 * 64), ((0, 255, 0), 1, 0, 64 * 32)):
        at = np.argwhere((colours == wanted).all(2))
        assert len(at) == area
        assert int((at[:, 1].mean() - 180) // 68) == column
        assert int((at[:, 0].mean() - (sheet.height - 2 * 68)) // 68) == row
    assert (colours[: sheet.height - 2 * 68].min(2) < 128).any()  # the columns' labels
    assert (colours[:, :180].min(2) < 128).any()  # the rows'


def test_long_names_end_what_they_have_in_common() -> None:
    names = [("model/encoder/blocks/0/attention/output/dense", ""), ("é" * 90, "")]
    assert labelled_grid({}, rows=names, columns=["m" * 90], title="t" * 900).width < 500
    for given in ({"rows": []}, {"columns": []}, {"tile": 10}):
        with pytest.raises(OptionError):
            labelled_grid({}, **({"rows": names, "columns": ["x"], "tile": 64} | given))
    with pytest.raises(OptionError, match="too large"):
        labelled_grid({}, rows=names * 200, columns=["x"] * 200, tile=1024)
