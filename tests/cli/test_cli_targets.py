"""``fgcam explain --target`` and ``--seed``: strings become targets, their maps and names come out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fgcam_onnx import Explainer
from fgcam_onnx.cli.targets import read_targets, read_weights
from fgcam_onnx.errors import OptionError, TargetError
from fgcam_onnx.imaging import preprocess_from, read_image
from fgcam_onnx.targets import Classes, Detection, Difference, Element, Region, Similarity, Sum, Weighted

MODELS = Path(__file__).parents[2] / "exported_models"
RESNET = MODELS / "resnet_shapes.dynamo.onnx"
TWO, STAR = MODELS / "pictures" / "two.png", MODELS / "pictures" / "star.png"
LABELS = ("cat, tabby", "dog", "sum:up", "a@b")


def pixels(path: Path) -> Any:
    spec = preprocess_from(RESNET.with_suffix(".json"))
    return spec.bound((None, 3, 96, 96), np.dtype(np.float32))(read_image(path))


def parsed(text: str | None, *, boxes: str = "auto") -> Any:
    """Parse a target that needs no model."""
    nothing: Any = None
    (target,), top = read_targets(text, labels=LABELS, explainer=nothing, preprocess=nothing, boxes=boxes)
    return target if top == 0 else f"top {top}"


@pytest.mark.parametrize(
    ("text", "target"),
    [
        (None, None), ("top", None), ("2", 2), ("dog", 1), ("tabby", 0), ("top:3", "top 3"), ("sum:up", 2),
        ("classes:dog,0", Classes((1, 0))), ("sum:0,tabby", Sum((0, 0))), ("diff:dog,cat", Difference(1, 0)),
        ("element:7", Element((7,))), ("element:1,2", Element((1, 2))), ("region:dog", Region(1)),
        ("region:dog@1,2,3.5,4", Region(1, box=(1, 2, 3.5, 4))), ("region:a@b", Region(3)),
        ("region:a@b@0,0,1,1", Region(3, box=(0, 0, 1, 1))),
        ("box:1,2,3,4", Detection((1, 2, 3, 4))), ("box:1,2,3,4@tabby", Detection((1, 2, 3, 4), 0)),
    ],
)  # fmt: skip
def test_a_text_is_a_target(text: str | None, target: Any) -> None:
    assert parsed(text) == target


def test_how_a_detector_writes_boxes_is_passed_on() -> None:
    assert parsed("box:1,2,3,4", boxes="yxyx").boxes == "yxyx"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("diff:1", "two classes"), ("diff:1,2,0", "two classes"), ("diff:cow,dog", "cow"), ("sum:", "not a class"),
        ("sum:top", "not a class"), ("element:x", "element:0"), ("element:-1", "element:0"),
        ("box:1,2,3", "x0,y0,x1,y1"),
        ("box:1,2,3,x@dog", "x0,y0,x1,y1"), ("region:@1,2,3,4", "not a class"), ("region:dog@1", "x0,y0,x1,y1"),
        ("like:", "path of a picture"), ("sums:1", "sums:1"), ("classes:1,,2", "not a class"),
    ],
)  # fmt: skip
def test_a_text_that_is_no_target_is_refused(text: str, word: str) -> None:
    with pytest.raises(TargetError, match=word):
        parsed(text)


@pytest.mark.parametrize(
    ("arguments", "target", "name"),
    [
        (["--target", "diff:star,circle"], Difference(3, 0), "star_-_circle"),
        (["--target", "sum:3,0"], Sum((3, 0)), "star___circle"),
        (["--target", "element:3"], Element(3), "element_3"),
        (["--target", f"like:{STAR}"], "star", "like_star"),
        (["--seed", "seed.npy"], Weighted(np.arange(8.0)), "weighted_sum"),
    ],
)  # fmt: skip
def test_what_the_command_line_writes_is_what_the_api_gives(
    fgcam: Any, arguments: list[str], target: Any, name: str
) -> None:
    np.save("seed.npy", np.arange(8.0))
    ran = fgcam("explain", RESNET, TWO, "--raw", "--method", "gradcam", *arguments, "-o", "out")
    assert ran.code == 0, ran.err
    explainer = Explainer(RESNET, method="gradcam")
    if target == "star":
        target = Similarity(explainer.predict(pixels(STAR))[0])
    wanted = explainer(pixels(TWO), target=target)
    (file,) = Path("out").glob("*.npy")
    assert file.name == f"two.{explainer.options()[1][0]}.{name}.npy"
    np.testing.assert_allclose(np.load(file), wanted.map[0], rtol=0, atol=1e-5 * float(np.abs(wanted.map).max()))
    (found,) = json.loads(Path("out/explanations.json").read_text())["images"][0]["explanations"]
    assert (found["target"], found["probability"]) == (-1, None)
    assert found["score"] == pytest.approx(float(wanted.score[0]), rel=1e-4)
    assert f"score {wanted.score[0]:.3g}"[:9] in ran.out


def test_several_classes_are_rows_of_one_picture(fgcam: Any) -> None:
    ran = fgcam("explain", RESNET, TWO, STAR, "--target", "classes:star,ring", "-o", "out", "--json")
    assert ran.code == 0
    rows = json.loads(ran.out)["images"]
    assert [[(e["target"], e["label"]) for e in r["explanations"]] for r in rows] == [[(3, "star"), (5, "ring")]] * 2
    assert Path("out/two.sheet.png").is_file()
    single = fgcam("explain", RESNET, STAR, "--target", "ring", "-o", "one", "--json")
    (wanted,) = json.loads(single.out)["images"][0]["explanations"]
    assert rows[1]["explanations"][1]["score"] == pytest.approx(wanted["score"], rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "3", "--seed", "seed.npy"], ["--seed", "give one"]),
        (["--seed", "none.npy"], ["none.npy"]),
        (["--seed", "seed.npy"], ["(3,)", "(8,)"]),
        (["--target", "region:star"], ["(N, classes, h, w)"]),
        (["--target", "diff:star,star"], ["itself"]),
        (["--target", "like:none.png"], ["none.png"]),
    ],
)
def test_targets_that_do_not_fit_are_an_error_of_one_line(fgcam: Any, arguments: list[str], words: list[str]) -> None:
    np.save("seed.npy", np.ones(3))
    ran = fgcam("explain", RESNET, STAR, *arguments)
    assert ran.code == 1
    for word in words:
        assert word in ran.err


def test_files_that_are_no_array_are_refused_and_nothing_in_them_runs(tmp_path: Path) -> None:
    path = tmp_path / "seed.npy"
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(OptionError, match="not an array"):
        read_weights(path)
    np.save(path, np.ones(5))
    whole = path.read_bytes()
    for data in (b"", b"PK\x03\x04", whole[:-8], whole.replace(b"(5,)", b"(9" + b"9" * 12 + b",)")[: len(whole)]):
        path.write_bytes(data)
        with pytest.raises(OptionError, match=r"seed\.npy"):
            read_weights(path)
    path.write_bytes(whole)
    np.testing.assert_array_equal(read_weights(path), np.ones(5))
    with pytest.raises(OptionError, match="cannot be read"):
        read_weights(tmp_path)
