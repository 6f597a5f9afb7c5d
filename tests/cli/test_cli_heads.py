"""What an output means, on the command line: inspected, explained, said, and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import head_nets as nets
import numpy as np
import onnx
import pytest
from PIL import Image

RESNET = Path(__file__).parents[2] / "exported_models" / "resnet_shapes.dynamo.onnx"
AS_IT_IS = ("--preprocess", "unit", "--method", "gradcam", "--layer", "act")


def given(model: onnx.ModelProto, side: int) -> Any:
    """Write a model and a picture of its size; return the picture as the model takes it."""
    onnx.save(model, "net.onnx")
    pixels = nets.rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("p.png")
    return (pixels.transpose(2, 0, 1)[None] / 255).astype(np.float32)


def explained(fgcam: Any, *arguments: str) -> Any:
    ran = fgcam("explain", "net.onnx", "p.png", *AS_IT_IS, *arguments, "-o", "out", "--json")
    assert ran.code == 0, ran.err
    record = json.loads(ran.out)
    (found,) = record["images"][0]["explanations"]
    return record, found


def test_a_label_of_a_segmentation_is_its_region(fgcam: Any) -> None:
    x = given(nets.segmenter(), 8)
    Path("l.txt").write_text("road\ncar\nsky\n")
    logits = nets.run(nets.segmenter(), x)[0]
    shown = int(logits.argmax(0).ravel()[0])
    name = ("road", "car", "sky")[shown]
    record, found = explained(fgcam, "--labels", "l.txt", "--target", name)
    assert (found["label"], found["target"], found["probability"]) == (f"region of {name}", -1, None)
    assert found["score"] == pytest.approx(float(logits[shown][logits.argmax(0) == shown].sum()), rel=1e-4)
    assert record["head"]["kind"] == "map"
    largest = explained(fgcam, "--labels", "l.txt")[1]
    assert largest["label"].startswith("largest region of ")
    again = fgcam("explain", "--from", "out/explanations.json", "-o", "again", "--json")
    assert json.loads(again.out)["images"][0]["explanations"][0]["score"] == largest["score"]


def test_a_raw_number_has_no_probability(fgcam: Any) -> None:
    x = given(nets.classifier(1), 8)
    _, found = explained(fgcam)
    assert (found["probability"], found["label"]) == (None, "the output")
    assert found["score"] == pytest.approx(float(nets.run(nets.classifier(1), x)[0, 0]), rel=1e-4)


@pytest.mark.parametrize("end", ["Sigmoid", "Softmax<axis=1>", ""])
def test_a_probability_is_that_of_the_end(
    fgcam: Any, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nets.classifier(4, end=end)
    y = nets.run(model, given(model, 8))[0]
    if not end:
        y = np.exp(y) / np.exp(y).sum()
    assert explained(fgcam, "--target", "2")[1]["probability"] == pytest.approx(float(y[2]), rel=1e-3)


def test_what_is_asked_of_a_detector_is_answered(fgcam: Any) -> None:
    model = nets.yolo(objectness=True, turned=False, extra=3, joined=False)
    y = nets.run(model, given(model, 32))[0]
    asked = {
        ("--objectness", "--classes", "5"): y[:, 4:5] * y[:, 5:10],
        ("--no-objectness", "--classes", "6"): y[:, 4:10],
    }
    for flags, scores in asked.items():
        _, found = explained(fgcam, "--head", "boxes", *flags)
        assert found["score"] == pytest.approx(float(scores.max()), rel=1e-4)
        assert found["label"].startswith(f"class {scores.max(0).argmax()} in top box")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--head", "maps"], ["maps", "map"]), (["--target", "top:2"], ["region:CLASS"]),
        (["--target", "diff:0,1"], ["region:CLASS", "element:I,J,K"]),
        (["--labels", "two.txt"], ["2 labels for 3 classes"]),
        (["--head", "embedding"], ["like:PICTURE"]), (["--target", "7"], ["classes 0 to 2"]),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_with_the_choices(
    fgcam: Any, arguments: list[str], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(nets.segmenter(), 8)
    Path("two.txt").write_text("a\nb\n")
    ran = fgcam("explain", "net.onnx", "p.png", *AS_IT_IS, *arguments, "-o", "out")
    assert ran.code in (1, 2)
    for word in words:
        assert word in ran.err


def test_inspect_says_what_an_output_means(fgcam: Any) -> None:
    given(nets.plates(), 8)
    ran = fgcam("inspect", "net.onnx")
    assert "at several positions, 11 classes" in ran.out
    assert "a softmax" in ran.out
    head = json.loads(fgcam("inspect", "net.onnx", "--json").out)["head"]
    assert (head["kind"], head["classes"], head["probability"], head["assumed"]) == ("several", 11, "softmax", False)
    assert "element:I,J" in head["choices"]


def test_a_file_says_what_its_output_meant(fgcam: Any, tmp_path: Path) -> None:
    ran = fgcam("export", RESNET, "-o", tmp_path / "out.onnx", "--method", "gradcam", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(json.loads(ran.out)["metadata"]["head"])["classes"] == 8


def test_which_class_is_no_object_is_asked_and_taken(fgcam: Any) -> None:
    given(nets.beside("Softmax<axis=2>"), 32)
    asked = fgcam("explain", "net.onnx", "p.png", *AS_IT_IS, "--output", "y", "-o", "out")
    assert asked.code == 1
    assert "--background first, last or none" in asked.err
    seen = fgcam("inspect", "net.onnx", "--output", "y")
    assert "not to be read: --background" in seen.out
    record, found = explained(fgcam, "--output", "y", "--background", "first")
    assert (record["head"]["background"], record["options"]["background"]) == (0, "first")
    assert "class 0" not in found["label"]


def test_a_sweep_is_repeated_from_what_it_wrote(fgcam: Any) -> None:
    given(nets.classifier(4), 8)
    options = ("--preprocess", "unit", "--method", "gradcam", "--method", "saliency", "--layer", "act", "--no-bar")
    assert fgcam("sweep", "net.onnx", "p.png", *options, "-o", "a.png").code == 0
    record = json.loads(Path("a.json").read_text())
    assert (record["command"], record["options"]["bar"], record["methods"]) == ("sweep", False, ["gradcam", "saliency"])
    again = fgcam("sweep", "--from", "a.json", "-o", "b.png")
    assert again.code == 0, again.err
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    assert "leave out --tile" in fgcam("sweep", "--from", "a.json", "--tile", "64").err
    assert "a record of fgcam sweep" in fgcam("explain", "--from", "a.json").err
    assert "Name a MODEL" in fgcam("sweep", "net.onnx").err
    Path("p.png").write_bytes(Path("a.png").read_bytes())
    assert "its SHA-256 is another" in fgcam("sweep", "--from", "a.json").err
