"""Audits of the bundled nets against changed copies of them."""

from __future__ import annotations

import html
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
from audited import RESNET, VGG, changed, weight, with_background, with_softmax
from PIL import Image

from fgcam_onnx import audit
from fgcam_onnx.auditing.culprits import holds
from fgcam_onnx.auditing.harmless import CHANGES
from fgcam_onnx.errors import FgcamError, LayerError, OptionError, OutputError, TargetError
from fgcam_onnx.heads import Stated
from fgcam_onnx.imaging import preprocess_from
from fgcam_onnx.targets import Classes

FAST: dict[str, Any] = {"threads": 1, "changes": ["shift"]}


@pytest.fixture(scope="module")
def photos(bundled: Path) -> Path:
    return bundled / "pictures"


@pytest.mark.parametrize("name", CHANGES)
def test_a_harmless_change_is_small_repeats_and_changes_something(bundled: Path, name: str) -> None:
    with Image.open(bundled / "pictures" / "star.png") as image:
        view = image.convert("RGB")
    change = CHANGES[name]
    made, again = (np.asarray(change.picture(view, 3), float) for _ in range(2))
    assert (made == again).all()
    assert np.abs(made - np.asarray(view, float)).mean() < 6
    assert (made != np.asarray(view, float)).any() or change.optimization != "all"


@pytest.mark.parametrize(("width", "step"), [(32, 7), (56, 4), (224, 1), (448, 1)])
def test_a_shift_is_as_far_in_a_small_picture_as_in_a_large_one(width: int, step: int) -> None:
    """Along a picture whose grey rises by a level where a pixel of 224 would be, and never by more than a pixel."""
    ramp = np.broadcast_to((np.arange(width) * step % 256)[None, :, None], (4, width, 3)).astype(np.uint8)
    made = np.asarray(CHANGES["shift"].picture(Image.fromarray(ramp), 0), int)
    fallen = (ramp.astype(int) - made)[:, 1:256]
    np.testing.assert_array_equal(fallen[:, : min(width, 256 // step) - 1], 1)
    np.testing.assert_array_equal(made[:, 0], ramp[:, 0])


def test_a_net_against_itself_has_no_drift_and_passes(bundled: Path, photos: Path) -> None:
    found = audit(bundled / VGG, bundled / VGG, images=[photos], **FAST)
    assert found.outcome == "passes"
    assert all(line.value is not None for line in found.lines)
    for line in found.lines:
        np.testing.assert_allclose(line.measure.drift(found.values(line.measure.name)), 0, rtol=0, atol=1e-6)


@pytest.mark.parametrize("exporter", ["dynamo", "keras"])
def test_the_same_net_of_another_exporter_and_layout_passes(bundled: Path, photos: Path, exporter: str) -> None:
    found = audit(bundled / VGG, bundled / f"vgg_shapes.{exporter}.onnx", images=[photos], **FAST)
    assert found.outcome == "passes"
    assert found.sameness.one is True
    assert np.nanmin(found.values("pearson")) > 1 - 1e-4
    assert np.nanmax(found.values("confidence")) < 1e-4


def test_a_background_class_in_front_is_an_offset(bundled: Path, photos: Path, tmp_path: Path) -> None:
    more = changed(bundled / VGG, tmp_path / "more.onnx", with_background)
    with pytest.raises(TargetError, match=r"8 classes, the candidate 9; is it --class-offset 1\?"):
        audit(bundled / VGG, more, images=[photos], **FAST)
    for pair, offset in (((bundled / VGG, more), 1), ((more, bundled / VGG), -1)):
        found = audit(*pair, images=[photos], class_offset=offset, **FAST)
        assert found.outcome == "passes"
        assert np.nanmax(found.values("flips")) == 0
        assert np.nanmin(found.values("pearson")) > 1 - 1e-5
        assert np.nanmax(found.values("confidence")) < 1e-5


def test_names_of_the_references_classes_do_not_hide_that_the_candidate_has_others(
    bundled: Path, photos: Path, tmp_path: Path
) -> None:
    more = changed(bundled / VGG, tmp_path / "more.onnx", with_background)
    names = Stated(labels=tuple(f"class {n}" for n in range(8)))
    with pytest.raises(TargetError, match=r"8 classes, the candidate 9"):
        audit(bundled / VGG, more, images=[photos], head=names, **FAST)


def test_a_softmax_in_one_file_is_no_difference(bundled: Path, photos: Path, tmp_path: Path) -> None:
    squashed = changed(bundled / VGG, tmp_path / "sure.onnx", with_softmax)
    found = audit(bundled / VGG, squashed, images=[photos], **FAST)
    assert found.outcome == "passes"
    for name in ("confidence", "logit"):
        assert np.nanmax(found.values(name)) < 1e-5


def test_negated_weights_fail_and_the_reason_names_measures(bundled: Path, photos: Path, tmp_path: Path) -> None:
    bad = changed(bundled / VGG, tmp_path / "bad.onnx", lambda m: weight(m, "Conv", 3, lambda w: -w))
    found = audit(bundled / VGG, bad, images=[photos], **FAST)
    assert found.outcome == "fails"
    assert found.reason.startswith("Beyond the floor: flips by 0.")
    assert found.ranked()[0]["values"]["flips"] == 1


def test_a_picture_prepared_in_another_way_fails(bundled: Path, photos: Path) -> None:
    other = replace(preprocess_from((bundled / VGG).with_suffix(".json")), mean=(0.9, 0.1, 0.5))
    found = audit(bundled / VGG, bundled / VGG, images=[photos], candidate_preprocess=other, **FAST)
    assert found.outcome == "fails"


def test_a_layer_is_found_by_name_or_refused(bundled: Path, photos: Path) -> None:
    options = {**FAST, "images": [photos / "star.png"], "layer": "/features/features.10/MaxPool_output_0"}
    found = audit(bundled / VGG, bundled / VGG, **options)
    assert found.about["layers"] == "the tensor of the same name"
    keras = audit(bundled / VGG, bundled / "vgg_shapes.keras.onnx", **options)
    assert keras.about["layers"] == "the deepest layer of the same size"
    assert keras.about["candidate"]["size"] == [24, 24]
    with pytest.raises(LayerError, match="candidate-layer"):
        audit(bundled / VGG, bundled / RESNET, **{**options, "layer": "/features/features.20/Relu_output_0"})


def test_few_pictures_and_unreadable_ones_are_said(bundled: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    found = audit(bundled / VGG, bundled / VGG, images=[photos / "star.png", tmp_path / "bad.png"], **FAST)
    assert found.outcome == "undecided"
    assert found.reason.startswith("Too few pictures")
    assert len(found.errors) == 1


def test_what_pictures_do_not_tell_is_no_pass_and_says_how_many_would(
    bundled: Path, photos: Path, tmp_path: Path
) -> None:
    found = audit(bundled / VGG, bundled / VGG, images=[photos], **FAST)
    rows = []
    for n, row in enumerate(found.known):
        furthest = 1 - min(floor["spearman"] for floor in row["floor"].values())
        rows.append({**row, "values": {**row["values"], "spearman": 1 - furthest - (0.1 if n % 2 else -0.05)}})
    unsure = replace(found, rows=rows)
    assert unsure.outcome == "undecided"
    assert unsure.reason.startswith("Neither surely beyond the floor nor within: spearman by ")
    assert re.search(r"\. About [\d,]+ pictures like these would probably tell\.$", unsure.reason)
    assert not holds(unsure, rows)
    _, xml = unsure.save(tmp_path)
    suite = ElementTree.parse(xml).getroot()
    assert (suite.attrib["errors"], suite.attrib["failures"]) == ("1", "0")
    (told,) = suite.iter("error")
    assert "nor within: spearman" in told.attrib["message"]


def test_an_audit_is_of_one_thing_of_each_picture(bundled: Path, photos: Path) -> None:
    for target in (Classes((1, 2)), [1] * 9):
        with pytest.raises(OptionError, match="one thing of each picture"):
            audit(bundled / VGG, bundled / VGG, images=[photos], target=target, **FAST)


def test_a_file_that_cannot_be_read_is_told_by_its_side(bundled: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    for pair, which in (
        ((tmp_path / "bad.onnx", bundled / VGG), "reference"),
        ((bundled / VGG, tmp_path / "bad.onnx"), "candidate"),
    ):
        with pytest.raises(FgcamError, match=f"^the {which}: "):
            audit(*pair, images=[photos], **FAST)


def stopping(after: int) -> Any:
    def progress(done: int, total: int) -> None:
        if done >= after:
            raise KeyboardInterrupt

    return progress


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(bundled: Path, photos: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {**FAST, "images": [photos], "batch": 4, "pictures": 2}
    pair = (bundled / VGG, bundled / "vgg_shapes.dynamo.onnx")
    with pytest.raises(OptionError, match="no run to go on from"):
        audit(*pair, out=tmp_path / "b", resume=True, **options)
    audit(*pair, out=tmp_path / "a", **options)
    with pytest.raises(KeyboardInterrupt):
        audit(*pair, out=tmp_path / "b", progress=stopping(8), **options)
    assert not list((tmp_path / "b").glob("audit.*"))
    with open(tmp_path / "b" / "rows.jsonl", "a") as file:
        file.write('{"half a row')
    audit(*pair, out=tmp_path / "b", resume=True, **options)
    for name in ("audit.json", "audit.html", "audit.xml"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    with pytest.raises(OptionError, match="holds a run with other"):
        audit(*pair, out=tmp_path / "b", **{**options, "seed": 1})
    shutil.copytree(photos, tmp_path / "photos")
    Image.new("RGB", (96, 96)).save(tmp_path / "photos" / "star.png")
    with pytest.raises(OptionError, match="holds a run with other pictures"):
        audit(*pair, out=tmp_path / "b", **{**options, "images": [tmp_path / "photos"]})


def test_metrics_stand_beside_each_other(bundled: Path, photos: Path) -> None:
    from fgcam_onnx.metrics import find_metric

    metrics = [find_metric("drop"), find_metric("gini")]
    found = audit(bundled / VGG, bundled / VGG, images=[photos], metrics=metrics, fail_over={"drop": 0.0}, **FAST)
    drop = found.judged[0]
    assert drop.reference == drop.candidate
    assert drop.verdict is not None
    assert drop.verdict.outcome == "fails"
    with pytest.raises(OptionError, match="explain a model again"):
        audit(bundled / VGG, bundled / VGG, images=[photos], metrics=[find_metric("class_sensitivity")], **FAST)


def test_the_page_and_junit_say_the_verdict_and_escape_names(bundled: Path, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    for file in photos.glob("*.png"):
        shutil.copy(file, folder / f"<b>{file.name}")
    bad = changed(bundled / VGG, tmp_path / "bad.onnx", lambda m: weight(m, "Conv", 3, lambda w: -w))
    found = audit(bundled / VGG, bad, images=[folder], out=tmp_path / "out", labels=["<i>x"] * 8, pictures=3, **FAST)
    page = (tmp_path / "out" / "audit.html").read_text()
    assert "<b>" not in page
    assert "<i>" not in page
    assert "&lt;b&gt;star.png" in page
    assert "<strong>Fails</strong>" in page
    assert page.count('type="range"') == 3
    assert not [a for a in ("http://", "https://", 'src="/') if a in page]
    suite = ElementTree.parse(tmp_path / "out" / "audit.xml").getroot()
    assert int(suite.attrib["tests"]) == len(found.verdicts)
    assert int(suite.attrib["failures"]) == sum(v.outcome == "fails" for v in found.verdicts) > 0
    told = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert told["outcome"] == "fails"
    assert len(told["rows"]) == 9


def test_errors_say_which_of_the_two_models_they_are_of(bundled: Path, photos: Path) -> None:
    with pytest.raises(FgcamError, match=r"the reference: .*no_such"):
        audit(bundled / VGG, bundled / VGG, images=[photos], layer="no_such", **FAST)
    with pytest.raises(FgcamError, match=r"the candidate: .*no_such"):
        audit(bundled / VGG, bundled / VGG, images=[photos], candidate_layer="no_such", **FAST)
    with pytest.raises(FgcamError, match="int8='exact' has no effect"):
        audit(bundled / VGG, bundled / VGG, images=[photos], candidate_options={"int8": "exact"}, **FAST)


def test_layers_are_blamed_on_the_worst_pictures_and_shown(bundled: Path, photos: Path, tmp_path: Path) -> None:
    bad = changed(bundled / VGG, tmp_path / "bad.onnx", lambda m: weight(m, "Conv", 3, lambda w: -w))
    found = audit(bundled / VGG, bad, images=[photos], blame=True, out=tmp_path / "out", pictures=0, **FAST)
    fourth = [n for n in onnx.load(bundled / VGG).graph.node if n.op_type == "Conv"][3]
    assert found.profile is not None
    assert found.profile.pictures == 8
    guilty = found.profile.layers[0]
    assert fourth.name in (guilty.node, *guilty.nodes)
    assert any("sign" in oddity for oddity in guilty.oddities)
    page = (tmp_path / "out" / "audit.html").read_text()
    assert all(html.escape(oddity) in page for oddity in guilty.oddities)
    assert "candidate up to here" in page
    assert f"<title>blamed: {html.escape(guilty.name)}</title>" in page
    told = json.loads((tmp_path / "out" / "audit.json").read_text())["profile"]
    assert told["layers"][0]["oddities"] == list(guilty.oddities)
    assert len(told["depth"]) == len(found.profile.depth)
    assert found.mended is None


def test_a_candidate_that_fails_is_mended_until_it_passes(bundled: Path, photos: Path, tmp_path: Path) -> None:
    bad = changed(bundled / VGG, tmp_path / "bad.onnx", lambda m: weight(m, "Conv", 3, lambda w: -w))
    mended = tmp_path / "mended.onnx"
    found = audit(bundled / VGG, bad, images=[photos], mend=mended, **FAST)
    assert found.outcome == "fails"
    assert found.mended is not None
    assert len(found.mended.floats) == 1
    shutil.copy(bad.with_suffix(".json"), mended.with_suffix(".json"))
    assert audit(bundled / VGG, mended, images=[photos], **FAST).outcome == "passes"


def test_nothing_is_written_where_nothing_is_to_be_mended(bundled: Path, photos: Path, tmp_path: Path) -> None:
    mended = tmp_path / "mended.onnx"
    found = audit(bundled / VGG, bundled / VGG, images=[photos], mend=mended, **FAST)
    assert found.outcome == "passes"
    assert found.mended is None
    assert not mended.exists()


def test_a_verdict_stands_where_no_layer_can_be_blamed(bundled: Path, photos: Path, tmp_path: Path) -> None:
    mended, out = tmp_path / "mended.onnx", tmp_path / "out"
    found = audit(bundled / VGG, bundled / RESNET, images=[photos], mend=mended, out=out, pictures=0, **FAST)
    assert found.outcome == "fails"
    assert any(note.startswith("No layer is blamed: the models have no layers in common") for note in found.notes)
    assert found.mended is None
    assert not mended.exists()
    assert "No layer is blamed" in (out / "audit.html").read_text()


@pytest.mark.parametrize("which", ["reference", "candidate"])
def test_a_mended_file_never_replaces_a_model(bundled: Path, photos: Path, tmp_path: Path, which: str) -> None:
    files = {n: tmp_path / f"{n}.onnx" for n in ("reference", "candidate")}
    for file in files.values():
        shutil.copy(bundled / VGG, file)
    link = tmp_path / "link.onnx"
    link.symlink_to(files[which])
    before = files[which].read_bytes()
    for given in (files[which], tmp_path / "." / files[which].name, link):
        with pytest.raises(OptionError, match=f"would replace the {which}"):
            audit(**files, images=[photos], mend=given, out=tmp_path / "out", **FAST)
    assert files[which].read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_a_place_that_a_mended_file_cannot_have_is_refused_before_the_run(
    bundled: Path, photos: Path, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    for given in (file / "mended.onnx", Path("/proc/mended.onnx"), tmp_path):
        with pytest.raises(OutputError):
            audit(bundled / VGG, bundled / VGG, images=[photos], mend=given, out=tmp_path / "out", **FAST)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_mended_candidate_has_to_pass_on_every_picture_that_was_judged(bundled: Path, photos: Path) -> None:
    found = audit(bundled / VGG, bundled / VGG, images=[photos], **FAST)
    first, *rest = found.rows
    lost = {"item": first["item"], "error": "not finite"}
    assert holds(found, found.rows)
    assert not holds(found, [lost, *rest])
    assert holds(replace(found, rows=[lost, *rest]), found.rows)
