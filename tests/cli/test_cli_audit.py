"""``fgcam audit``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from audited import VGG, changed, weight

from fgcam_onnx.cli.audit import parse_thresholds
from fgcam_onnx.errors import OptionError

DYNAMO = "vgg_shapes.dynamo.onnx"


@pytest.fixture(scope="module")
def photos(bundled: Path) -> Path:
    return bundled / "pictures"


def test_it_prints_the_verdict_writes_four_files_and_repeats_itself(
    fgcam: Any, bundled: Path, photos: Path, tmp_path: Path
) -> None:
    ran = fgcam("audit", bundled / VGG, bundled / DYNAMO, photos, "-o", tmp_path / "a", "--gallery", 2)
    assert ran.code == 0, ran.err
    for text in (
        "spearman ↑",
        "Passes: flips, confidence, spearman, ssim: surely within what the floor allows.",
        "one net: 9 of 9",
        "of the same name",
    ):
        assert text in ran.out
    assert {p.name for p in (tmp_path / "a").iterdir()} == {
        "audit.html", "audit.json", "audit.xml", "journal.jsonl", "manifest.json", "rows.jsonl",
    }  # fmt: skip
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert len(manifest["images"]) == 9
    assert {Path(f).name for f in manifest["files"]} == {VGG, DYNAMO, "shapes.labels.txt"}
    again = fgcam("audit", "--from", tmp_path / "a" / "manifest.json", "-o", tmp_path / "b")
    assert again.code == 0, again.err
    for name in ("audit.json", "audit.html", "audit.xml"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_threshold_fails_it_with_code_one(fgcam: Any, bundled: Path, photos: Path, tmp_path: Path) -> None:
    bad = changed(bundled / VGG, tmp_path / "bad.onnx", lambda m: weight(m, "Conv", 3, lambda w: -w))
    ran = fgcam(
        "audit", bundled / VGG, bad, photos, "--fail-over", "flips=0.02", "--fail-under", "spearman=-1,ssim=0", "--json"
    )
    assert ran.code == 1, ran.err
    told = json.loads(ran.out)
    assert told["outcome"] == "fails"
    assert {m["name"] for m in told["measures"] if m["verdict"]} == {"flips", "spearman", "ssim"}
    assert told["reason"].startswith("Flips is 0.")


def test_what_cannot_be_judged_has_code_two(fgcam: Any, bundled: Path, photos: Path, tmp_path: Path) -> None:
    few = fgcam("audit", bundled / VGG, bundled / DYNAMO, photos / "star.png", "-o", tmp_path / "few")
    assert few.code == 2
    assert "Too few pictures to judge: 1, at least 8 are needed" in few.out
    for arguments, said in (
        ((bundled / VGG, tmp_path / "none.onnx", photos), "none.onnx"),
        ((bundled / VGG, bundled / DYNAMO, photos, "--fail-over", "spearman=1"), "say fail_under (--fail-under)"),
        ((bundled / VGG, bundled / DYNAMO, photos, "--target", "top:2"), "one thing of each picture"),
        ((bundled / VGG, bundled / DYNAMO, photos, "--target", "classes:1,2"), "one thing of each picture"),
        ((bundled / VGG, bundled / DYNAMO, photos, "-o", tmp_path / "few"), "holds a run with other pictures"),
        ((bundled / VGG, bundled / DYNAMO, photos, "--resume", "-o", tmp_path / "new"), "no run to go on from"),
        ((bundled / VGG,), "Name a REFERENCE"),
    ):
        ran = fgcam("audit", *arguments)
        assert ran.code == 2, arguments
        assert said in ran.err


def test_the_candidates_own_options_are_its_alone(fgcam: Any, bundled: Path, photos: Path, tmp_path: Path) -> None:
    ran = fgcam(
        "audit", bundled / VGG, bundled / VGG, photos, "--candidate-optimization", "off", "--candidate-preprocess",
        (bundled / DYNAMO).with_suffix(".json"), "--metric", "gini", "--json", "-o", tmp_path / "out",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert told["reference"]["options"]["optimization"] == "all"
    assert told["candidate"]["options"]["optimization"] == "off"
    assert told["metrics"][0]["name"] == "gini"


def test_what_is_for_ray_is_refused_without_it(fgcam: Any, bundled: Path, photos: Path, tmp_path: Path) -> None:
    ran = fgcam("audit", bundled / VGG, bundled / DYNAMO, photos, "--workers", 2, "-o", tmp_path / "a")
    assert ran.code == 2
    assert "are for the engine ray" in ran.err
    assert not (tmp_path / "a").exists()


def test_a_target_is_anything_that_can_be_named(fgcam: Any, bundled: Path, photos: Path, tmp_path: Path) -> None:
    ran = fgcam(
        "audit", bundled / VGG, bundled / DYNAMO, photos, "--target", "diff:1,2", "--json", "-o", tmp_path / "o"
    )
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert {row["label"] for row in told["rows"]} == {"triangle - square"}
    assert "the target that was named" in (tmp_path / "o" / "audit.html").read_text()


def test_a_run_that_is_interrupted_says_how_it_goes_on(
    fgcam: Any, bundled: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fgcam_onnx.auditing.audit", pressed)
    ran = fgcam("audit", bundled / VGG, bundled / DYNAMO, photos, "-o", tmp_path / "out")
    assert ran.code == 130
    assert "the same command goes on where it was" in ran.err


def test_thresholds_are_parsed() -> None:
    assert parse_thresholds("--fail-over", ["flips=0.02, emd = 3", "logit=1e-2"]) == {
        "flips": 0.02, "emd": 3.0, "logit": 0.01,
    }  # fmt: skip
    for pairs, match in ((["flips"], "NAME=N"), (["flips=x"], "NAME=N"), (["flips=1", "flips=2"], "twice")):
        with pytest.raises(OptionError, match=match):
            parse_thresholds("--fail-over", pairs)
