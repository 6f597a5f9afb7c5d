"""``fgcam evaluate`` and ``fgcam metrics``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fgcam_onnx.cli.evaluate import parse_metrics, parse_variant
from fgcam_onnx.errors import OptionError
from fgcam_onnx.metrics import METRICS, USUAL

VGG, RESNET = "vgg_shapes.dynamo.onnx", "resnet_shapes.dynamo.onnx"


def test_it_prints_the_table_and_writes_three_files(fgcam: Any, bundled: Path, tmp_path: Path) -> None:
    ran = fgcam(
        "evaluate", bundled / VGG, bundled / "pictures", "--masks", bundled / "pictures" / "masks",
        "--methods", "gradcam", "--layers", "input", "--layers", "features.24",
        "--metrics", "drop,energy_small", "-o", tmp_path / "out",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert {p.name for p in (tmp_path / "out").glob("evaluation.*")} == {
        "evaluation.csv", "evaluation.html", "evaluation.json",
    }  # fmt: skip
    for text in ("gradcam at features.24", "control: all ones", "drop ↓ ⚠", "energy_small ↑", "⚠ drop is won by"):
        assert text in ran.out
    told = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert [m["name"] for m in told["metrics"]] == ["drop", "energy_small"]


def test_what_is_for_ray_is_refused_without_it(fgcam: Any, bundled: Path, tmp_path: Path) -> None:
    ran = fgcam("evaluate", bundled / VGG, bundled / "pictures", "--gpus-per-worker", 0.5, "-o", tmp_path / "out")
    assert ran.code == 1
    assert "are for the engine ray" in ran.err
    assert not (tmp_path / "out").exists()


def test_boxes_classes_and_json(fgcam: Any, bundled: Path, tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text("file,x0,y0,x1,y1,class\nstar.png,10,10,40,40,star\n")
    (tmp_path / "classes.csv").write_text("file,class\nstar.png,star\n")
    ran = fgcam(
        "evaluate", bundled / VGG, bundled / "pictures" / "star.png", "--boxes", tmp_path / "boxes.csv",
        "--labels-from", tmp_path / "classes.csv", "--method", "lrp+composite=epsilonplus",
        "--metric", "iou", "--no-controls", "--json",
        "-o", tmp_path / "out",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert [row["row"] for row in told["rows"]] == ["lrp+composite=epsilonplus at input"]
    assert told["methods"]["lrp+composite=epsilonplus"] == {"method": "lrp", "composite": "epsilonplus"}
    assert told["notes"] == [
        "1 picture: no difference between maps is sure below 6",
        "where the object is: boxes of the class that is explained",
    ]


def test_auto_and_fgcam_stand_beside_each_other(fgcam: Any, bundled: Path, tmp_path: Path) -> None:
    ran = fgcam(
        "evaluate", bundled / RESNET, bundled / "pictures" / "star.png", "--methods", "auto,fgcam,fgcam+cells=true",
        "--metrics", "gini,sanity_cascading", "--no-controls", "--json", "-o", tmp_path / "out",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    rows = {row["row"]: row["values"]["gini"]["mean"] for row in json.loads(ran.out)["rows"]}
    assert list(rows) == ["auto at input", "fgcam at input", "fgcam+cells=true at input"]
    assert len(set(rows.values())) == 3


def test_a_picture_that_fails_is_said_and_the_code_is_one(fgcam: Any, bundled: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"x")
    ran = fgcam(
        "evaluate", bundled / VGG, bundled / "pictures" / "star.png", tmp_path / "bad.png", "--methods", "gradcam",
        "--metrics", "gini", "-o", tmp_path / "out",
    )  # fmt: skip
    assert ran.code == 1
    assert "1 of 2 pictures failed" in ran.err
    assert "bad.png" in ran.err


def test_boxes_and_masks_together_and_a_folder_that_is_none_are_refused(
    fgcam: Any, bundled: Path, tmp_path: Path
) -> None:
    common = ("evaluate", bundled / VGG, bundled / "pictures", "-o", tmp_path / "out")
    assert "pass one" in fgcam(*common, "--boxes", "a.csv", "--masks", "b").err
    assert "not a folder" in fgcam(*common, "--masks", tmp_path / "none").err


def test_metrics_are_listed_with_what_they_need(fgcam: Any) -> None:
    rows = {row["name"]: row for row in json.loads(fgcam("metrics", "--json").out)}
    assert set(rows) == set(METRICS)
    assert rows["drop"]["runs"] == 2
    assert rows["insertion"]["usual"] == 16
    assert rows["energy"]["needs"] == ["boxes or masks"]
    assert rows["class_sensitivity"]["needs"] == ["more maps"]
    shown = fgcam("metrics", "road").out
    assert "road ↑" in shown
    assert "arXiv:2202.00449" in shown
    assert "Did you mean 'insertion'" in fgcam("metrics", "insertoin").err


def test_metrics_are_parsed_with_cells_and_steps() -> None:
    names = [m.name for m in parse_metrics(["drop", "insertion@8"], cells=None, steps=None, regions=False)]
    assert names == ["drop", "insertion@8"]
    found = parse_metrics(["drop", "insertion@8"], cells=4, steps=10, regions=False)
    assert [m.name for m in found] == ["drop@4", "insertion@8"]
    assert found[1].reads["kept"].shares == tuple(k / 10 for k in range(1, 10))
    assert {m.cells for m in parse_metrics([], cells=2, steps=None, regions=True)} == {2}
    assert parse_metrics([], cells=None, steps=None, regions=True) == list(USUAL)
    for names, match in ((["drop@x"], "NAME@CELLS"), (["drop@0"], "1 pixel"), (["drp"], "unknown metric")):
        with pytest.raises(OptionError, match=match):
            parse_metrics(names, cells=None, steps=None, regions=True)
    with pytest.raises(OptionError, match="read a curve"):
        parse_metrics(["drop"], cells=None, steps=5, regions=True)


def test_methods_are_parsed_with_their_options() -> None:
    found = parse_variant("fgcam+base=scorecam+denoise=yes+residual=ratio")
    assert (found.method, found.options) == ("fgcam", {"base": "scorecam", "denoise": True, "residual": "ratio"})
    assert parse_variant("rise+masks=20").options == {"masks": 20}
    for text, match in (
        ("rise+msks=2", "masks"),
        ("fgcam+denoise=maybe", "true or false"),
        ("fgcm", "fgcam"),
        ("rise+masks", "NAME=VALUE"),
    ):
        with pytest.raises(OptionError, match=match):
            parse_variant(text)
