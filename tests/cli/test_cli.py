"""``fgcam`` as a user runs it, in this process unless the process is the point."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fgcam_onnx import Explainer
from fgcam_onnx.imaging import preprocess_from, read_image

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "exported_models"
RESNET = MODELS / "resnet_shapes.dynamo.onnx"
VGG = MODELS / "vgg_shapes.torchscript.onnx"
PICTURES = MODELS / "pictures"


def summary(folder: str = "explanations") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(folder) / "explanations.json").read_text())
    return found


def files(folder: str = "explanations") -> set[str]:
    return {p.name for p in Path(folder).iterdir()}


# ---- explain


@pytest.mark.parametrize(
    "model", sorted(MODELS.glob("*net_shapes.*.onnx")) + sorted(MODELS.glob("vgg*.onnx")), ids=lambda p: p.stem
)
def test_every_bundled_classifier_of_convolutions_names_and_explains_a_picture_without_an_option(
    fgcam: Any, model: Path
) -> None:
    ran = fgcam("explain", model, PICTURES / "star.png")
    assert ran.code == 0
    assert ran.err == ""
    assert "3 star" in ran.out
    assert model.with_suffix(".json").name in ran.out
    assert files() == {"star.input.star.png", "explanations.json"}
    with Image.open("explanations/star.input.star.png") as shown:
        assert shown.format == "PNG"
    (row,) = summary()["images"]
    (explained,) = row["explanations"]
    assert (explained["target"], explained["label"]) == (3, "star")
    assert 0.9 < explained["probability"] <= 1
    assert Path(explained["files"][0]).is_file()
    assert 0.8 < explained["conservation"]["input"] < 1.2


def test_raw_maps_are_those_of_the_api(fgcam: Any) -> None:
    ran = fgcam(
        "explain",
        RESNET,
        PICTURES / "ring.png",
        "--raw",
        "--layer",
        "input",
        "--layer",
        "layer2",
        "-o",
        "maps",
    )
    assert ran.code == 0
    assert files("maps") == {"ring.input.ring.npy", "ring.layer2.ring.npy", "explanations.json"}
    x = preprocess_from(RESNET.with_suffix(".json"))
    array = x.bound((None, 3, 96, 96), np.dtype(np.float32))(read_image(PICTURES / "ring.png"))
    wanted = Explainer(RESNET, layers=("input", "layer2"))(array)
    for layer in ("input", "layer2"):
        found = np.load(f"maps/ring.{layer}.ring.npy", allow_pickle=False)
        np.testing.assert_allclose(found, wanted.maps[layer][0], rtol=0, atol=1e-5 * np.abs(found).max())


def test_json_on_standard_output_is_the_summary_and_nothing_else(fgcam: Any) -> None:
    ran = fgcam("explain", RESNET, PICTURES / "two.png", "--json", "--target", "top:3")
    assert ran.code == 0
    assert json.loads(ran.out) == summary()
    (row,) = summary()["images"]
    scores = [e["score"] for e in row["explanations"]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert {e["label"] for e in row["explanations"][:2]} == {"ring", "star"}
    assert "two.sheet.png" in files()


@pytest.mark.parametrize(("target", "label"), [("5", "ring"), ("star", "star"), ("top:1", "ring")])
def test_a_target_is_a_number_a_label_or_the_top(fgcam: Any, target: str, label: str) -> None:
    assert fgcam("explain", RESNET, PICTURES / "two.png", "--target", target).code == 0
    assert files() == {f"two.input.{label}.png", "explanations.json"}


def test_all_layers_are_explained(fgcam: Any) -> None:
    assert fgcam("explain", VGG, PICTURES / "star.png", "--layer", "all", "--raw").code == 0
    assert len(files()) == 19 + 1
    (row,) = summary()["images"]
    assert len(row["explanations"][0]["files"]) == 19


@pytest.mark.parametrize(
    "options", [["--base", "scorecam"], ["--denoise"], ["--method", "gradcam", "--layer", "layer2"]]
)
def test_bases_denoising_and_methods_differ(fgcam: Any, options: list[str]) -> None:
    picture = PICTURES / "star.png"
    layer = options[options.index("--layer") + 1] if "--layer" in options else "input"
    assert fgcam("explain", RESNET, picture, "--raw", "-o", "a", "--layer", layer).code == 0
    assert fgcam("explain", RESNET, picture, "--raw", "-o", "b", *options).code == 0
    first, second = (np.load(f"{folder}/star.{layer}.star.npy") for folder in "ab")
    assert first.shape == second.shape
    assert not np.allclose(first, second, rtol=1e-3, atol=0)


def test_folders_and_patterns_are_expanded_and_stems_that_collide_are_numbered(fgcam: Any) -> None:
    for folder, name in (("a", "x.png"), ("b", "x.png"), ("b", "X.png"), ("b", "x_2.png")):
        Path(folder).mkdir(exist_ok=True)
        read_image(PICTURES / "star.png").save(Path(folder) / name)
    ran = fgcam("explain", RESNET, "a", "b/*.png", PICTURES / "ring.png", "--raw")
    assert ran.code == 0
    assert len({name.lower() for name in files()}) == 5 + 1
    assert sum(name.endswith(".npy") for name in files()) == 5


def test_file_names_that_are_not_text_are_no_obstacle(fgcam: Any) -> None:
    name = os.fsdecode(b"a\xff.png")
    try:
        read_image(PICTURES / "star.png").save(name)
    except OSError:
        pytest.skip("this file system takes text only")
    ran = fgcam("explain", RESNET, name)
    assert ran.code == 0
    assert (summary()["images"][0]["image"]) == name


def test_one_bad_picture_does_not_lose_the_others(fgcam: Any) -> None:
    good = read_image(PICTURES / "star.png")
    good.save("good.png")
    good.save("whole.jpg")
    Path("cut.jpg").write_bytes(Path("whole.jpg").read_bytes()[:400])
    Path("text.png").write_text("not a picture")
    ran = fgcam("explain", RESNET, "cut.jpg", "good.png", "text.png", "missing.png", "whole.jpg")
    assert ran.code == 1
    assert {"good.input.star.png", "whole.input.star.png"} < files()
    for name in ("cut.jpg", "text.png", "missing.png"):
        assert f"{name}: " in ran.err
        assert f"{name}: {name}" not in ran.err
    assert "3 of 5 pictures failed" in ran.err
    rows = summary()["images"]
    assert [("error" in r) for r in rows] == [True, False, True, True, False]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.onnx", "x.png"], ["none.onnx", "no such file"]),
        ([PICTURES / "star.png", "x.png"], ["not an ONNX file"]),
        ([RESNET, "nothing/*.png"], ["nothing/*.png"]),
        ([RESNET, PICTURES / "star.png", "--layer", "layr2"], ["layr2", "Did you mean", "layer2"]),
        ([RESNET, PICTURES / "star.png", "--base-layer", "layr2"], ["layr2", "layer2"]),
        ([RESNET, PICTURES / "star.png", "--target", "strar"], ["strar", "star"]),
        ([RESNET, PICTURES / "star.png", "--target", "8"], ["0 to 7"]),
        ([RESNET, PICTURES / "star.png", "--target", "top:x"], ["top:K"]),
        ([RESNET, PICTURES / "star.png", "--target", "top:²"], ["top:K"]),
        ([RESNET, PICTURES / "star.png", "--target", "--1"], ["--1"]),
        ([RESNET, PICTURES / "star.png", "--target", "²"], ["²"]),
        ([RESNET, PICTURES / "star.png", "--target", "-1"], ["0 to 7"]),
        ([RESNET, PICTURES / "star.png", "--target", ""], ["label"]),
        ([RESNET, PICTURES / "star.png", "--preprocess", "imagnet"], ["imagnet", "imagenet"]),
        ([RESNET, PICTURES / "star.png", "--method", "fgcm"], ["fgcm", "fgcam"]),
        ([RESNET, PICTURES / "star.png", "--base", "scorcam"], ["scorcam", "scorecam"]),
        ([RESNET, PICTURES / "star.png", "--residual", "x"], ["residual", "positive"]),
        ([RESNET, PICTURES / "star.png", "--device", "tpu"], ["tpu", "cuda"]),
        ([RESNET, PICTURES / "star.png", "--size", "64"], ["96"]),
        ([RESNET, PICTURES / "star.png", "--labels", "none.txt"], ["none.txt"]),
        ([RESNET, PICTURES / "star.png", "--colormap", "turbos"], ["turbos", "turbo"]),
        ([RESNET, PICTURES / "star.png", "--output", "logit"], ["logit", "logits"]),
        ([RESNET, PICTURES / "star.png", "--input", "inptu"], ["inptu", "input"]),
    ],
    ids=lambda v: " ".join(str(a) for a in v[1:]).replace(str(ROOT), "") if isinstance(v, list) else None,
)  # fmt: skip
def test_expected_errors_are_one_line_that_says_what_to_do(
    fgcam: Any, arguments: list[object], words: list[str]
) -> None:
    ran = fgcam("explain", *arguments)
    assert ran.code == 1
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    for word in words:
        assert word in ran.err
    assert ran.out == ""


def test_a_label_needs_a_labels_file(fgcam: Any) -> None:
    Path("alone.onnx").write_bytes(RESNET.read_bytes())
    ran = fgcam("explain", "alone.onnx", PICTURES / "star.png", "--target", "star")
    assert ran.code == 1
    assert "--labels" in ran.err
    assert fgcam("explain", "alone.onnx", PICTURES / "star.png", "--target", "3").code == 0
    assert "guess" in summary()["preprocess"]


def test_output_that_cannot_be_written_is_said_before_the_work_is_done(fgcam: Any) -> None:
    Path("taken").touch()
    ran = fgcam("explain", RESNET, PICTURES / "star.png", "-o", "taken")
    assert ran.code == 1
    assert "taken" in ran.err
    ran = fgcam("explain", RESNET, PICTURES / "star.png", "-o", "taken/deeper")
    assert ran.code == 1
    assert Path("taken").read_bytes() == b""


def test_a_file_that_cannot_be_replaced_is_named(fgcam: Any) -> None:
    Path("explanations/star.input.star.png").mkdir(parents=True)
    ran = fgcam("explain", RESNET, PICTURES / "star.png")
    assert ran.code == 1
    assert "star.input.star.png" in ran.err
    assert files() == {"star.input.star.png", "explanations.json"}
    assert "star.input.star.png" in summary()["images"][0]["error"]


@pytest.mark.parametrize("shape", [["N", 27648], ["N", 96, 288], ["N"], [96, 288]])
def test_inputs_that_are_not_pictures_are_refused_by_their_shape(fgcam: Any, shape: list[Any]) -> None:
    from nets import model_of, node

    model = model_of([node("Relu", ["input"], "logits")], {}, inputs={"input": shape}, outputs=["logits"])
    Path("flat.onnx").write_bytes(model.SerializeToString())
    ran = fgcam("explain", "flat.onnx", PICTURES / "star.png")
    assert ran.code == 1
    assert "'input' is" in ran.err
    assert "N x C x H x W" in ran.err


def test_cuda_without_its_wheel_names_the_wheel(fgcam: Any) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("the GPU wheel is installed")
    ran = fgcam("explain", RESNET, PICTURES / "star.png", "--device", "cuda")
    assert ran.code == 1
    assert "onnxruntime-gpu" in ran.err


def test_labels_that_are_the_same_do_not_overwrite_each_other(fgcam: Any) -> None:
    Path("labels.txt").write_text("same\n" * 8)
    ran = fgcam("explain", RESNET, PICTURES / "star.png", "--labels", "labels.txt", "--target", "top:3", "--raw")
    assert ran.code == 0
    assert len(files()) == 3 + 1
