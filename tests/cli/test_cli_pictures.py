"""``fgcam explain`` on pictures: where maps are drawn, what is written on them, and runs that are repeated."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fgcam_onnx import Explainer
from fgcam_onnx.imaging import preprocess_from, read_image

MODELS = Path(__file__).parents[2] / "exported_models"
RESNET = MODELS / "resnet_shapes.dynamo.onnx"
PICTURES = MODELS / "pictures"
NUMBERS = ["--scale", "0.00392157", "--mean", "0.476", "--std", "0.158"]


@pytest.fixture
def alone() -> Path:
    """A model without a file beside it that says how pictures are prepared."""
    shutil.copyfile(RESNET, "alone.onnx")
    return Path("alone.onnx")


def summary(folder: str = "explanations") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(folder) / "explanations.json").read_text())
    return found


def wide() -> Path:
    """Write a picture twice as wide as high, with a star in its middle."""
    picture = Image.new("RGB", (192, 96), (128, 128, 128))
    picture.paste(read_image(PICTURES / "star.png"), (48, 0))
    picture.save("wide.png")
    return Path("wide.png")


def size_of(path: str | Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def test_the_record_says_the_numbers_that_were_given_and_no_guess(fgcam: Any, alone: Path) -> None:
    ran = fgcam("explain", alone, PICTURES / "star.png", *NUMBERS)
    assert ran.code == 0
    told = summary()["preprocess"]
    assert (told["from"], told["guess"]) == ("--scale --mean --std", None)
    assert (told["scale"], told["mean"], told["std"]) == (0.00392157, [0.476], [0.158])
    assert (told["resize"], told["crop_share"], told["channels"], told["size"]) == ("crop", 0.875, "RGB", [96, 96])
    for words in ("1/0.875", "centre 96 x 96", "(0.476)"):
        assert words in ran.out
    assert "guess" not in ran.out


def test_a_guess_is_said_recorded_and_written_on_every_picture(fgcam: Any, alone: Path) -> None:
    arguments = ["explain", alone, PICTURES / "star.png", "--target", "classes:3,5", "--no-bar"]
    ran = fgcam(*arguments, "-o", "guessed")
    assert "imagenet, a guess, since nothing in the file tells" in ran.out
    assert summary("guessed")["preprocess"]["guess"].startswith("nothing in the file")
    assert fgcam(*arguments, "--preprocess", "imagenet", "-o", "said").code == 0
    assert summary("said")["preprocess"]["guess"] is None
    written = sorted(p.name for p in Path("said").glob("*.png"))
    assert len(written) == 3
    for name in written:
        (width, height), marked = size_of(f"said/{name}"), size_of(f"guessed/{name}")
        assert marked[1] > height
        assert marked[0] >= width


def test_the_record_has_the_hashes_of_all_that_was_read(fgcam: Any) -> None:
    shutil.copyfile(PICTURES / "ring.png", "a.png")
    Path("names.txt").write_text("\n".join("abcdefgh"))
    assert fgcam("explain", RESNET, "a.png", "--labels", "names.txt").code == 0
    told = summary()
    digest = lambda path: hashlib.sha256(Path(path).read_bytes()).hexdigest()
    assert told["files"] == {str(RESNET): digest(RESNET), "names.txt": digest("names.txt")}
    assert told["images"][0]["sha256"] == digest("a.png")
    assert told["images"][0]["placement"] == {"picture": [96, 96], "view": [96, 96], "box": [0.0, 0.0, 96.0, 96.0]}
    assert {"numpy", "onnx", "python", "fgcam-onnx"} <= told["versions"].keys()
    assert told["date"].endswith("+00:00")


@pytest.mark.parametrize(
    "options",
    [
        ["--target", "top:2", "--layer", "input", "--layer", "layer2", "--base", "scorecam", "--denoise"],
        ["--method", "gradcam", "--method", "rise", "--set", "masks=20", "--target", "star", "--crop"],
        [*NUMBERS, "--resize", "pad", "--channels", "BGR", "--aug-smooth"],
    ],
    ids=["targets", "methods", "numbers"],
)
def test_a_run_is_repeated_from_its_record(fgcam: Any, alone: Path, options: list[str]) -> None:
    options = [o for o in options if o != "--crop"]
    wide()
    pictures = ["wide.png", PICTURES / "two.png"]
    model = alone if "--scale" in options else RESNET
    assert fgcam("explain", model, *pictures, "--raw", "-o", "first", *options).code == 0
    ran = fgcam("explain", "--from", "first/explanations.json", "-o", "again")
    assert (ran.code, ran.err) == (0, "")
    names = sorted(p.name for p in Path("first").glob("*.npy"))
    assert names == sorted(p.name for p in Path("again").glob("*.npy"))
    assert len(names) >= 2
    for name in names:
        np.testing.assert_array_equal(np.load(f"first/{name}"), np.load(f"again/{name}"))
    first, again = summary("first"), summary("again")
    for told in (first, again):
        for image in told["images"]:
            for explained in image["explanations"]:
                explained.pop("files")
        told.pop("date")
    assert again == first


@pytest.mark.parametrize("name", ["/dev/zero", "nothing.json", "."])
def test_a_record_that_is_no_file_is_not_read(fgcam: Any, name: str) -> None:
    ran = fgcam("explain", "--from", name, "-o", "again")
    assert ran.code == 1
    assert f"{name}: cannot be read as a record" in ran.err


def test_a_record_whose_files_changed_is_not_repeated(fgcam: Any) -> None:
    shutil.copyfile(PICTURES / "ring.png", "a.png")
    assert fgcam("explain", RESNET, "a.png", "-o", "first").code == 0
    shutil.copyfile(PICTURES / "star.png", "a.png")
    ran = fgcam("explain", "--from", "first/explanations.json", "-o", "again")
    assert ran.code == 1
    assert "a.png: not the file that was explained" in ran.err
    Path("a.png").unlink()
    assert "a.png: not there" in fgcam("explain", "--from", "first/explanations.json").err


def test_what_would_change_a_repeated_run_is_refused(fgcam: Any) -> None:
    assert fgcam("explain", RESNET, PICTURES / "ring.png", "-o", "first").code == 0
    ran = fgcam("explain", "--from", "first/explanations.json", "--method", "gradcam", "--target", "3")
    assert ran.code == 1
    assert "leave out --method, --target" in ran.err
    Path("other.json").write_text("{}")
    assert "not a record" in fgcam("explain", "--from", "other.json").err
    assert fgcam("explain", RESNET).code == 2
    assert fgcam("explain").code == 2


def test_several_methods_come_on_one_sheet_each_with_its_own_options(fgcam: Any) -> None:
    methods = ["--method", "gradcam", "--method", "fgcam", "--method", "rise"]
    ran = fgcam(
        "explain", RESNET, PICTURES / "two.png", *methods, "--base", "fem", "--set", "masks=16", "--target", "star"
    )
    assert ran.code == 0
    told = summary()
    assert told["method"] == ["gradcam", "fgcam", "rise"]
    assert [m["base"] for m in told["methods"]] == [None, "fem", None]
    assert told["methods"][2]["settings"]["masks"] == 16
    names = [Path(f).name for e in told["images"][0]["explanations"] for f in e["files"]]
    assert [n.split(".")[1] for n in names] == ["gradcam", "fgcam", "rise"]
    assert Path("explanations/two.sheet.png").is_file()
    alike = told["images"][0]["likeness"]
    assert {tuple(pair["maps"]) for pair in alike} == {("gradcam", "fgcam"), ("gradcam", "rise"), ("fgcam", "rise")}


def test_the_likeness_of_classes_is_the_correlation_of_their_maps(fgcam: Any) -> None:
    assert fgcam("explain", RESNET, PICTURES / "two.png", "--target", "classes:star,ring", "--raw").code == 0
    (pair,) = summary()["images"][0]["likeness"]
    assert (pair["of"], pair["maps"]) == ("classes at input", ["star", "ring"])
    star, ring = (np.load(f"explanations/two.input.{name}.npy").reshape(-1) for name in ("star", "ring"))
    np.testing.assert_allclose(pair["correlation"], np.corrcoef(star, ring)[0, 1], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "gradcam", "--base", "scorecam"], ["base changes nothing of gradcam", "fgcam"]),
        (["--method", "gradcam", "--denoise"], ["denoise changes nothing of gradcam", "fgcam"]),
        (["--method", "rise", "--start", "logit"], ["start changes nothing of rise", "lrp"]),
        (["--method", "rise", "--straight-through"], ["saturation", "rise", "gradcam"]),
        (["--method", "rise", "--method", "occlusion", "--denoise"], ["denoise changes nothing of rise, occlusion"]),
        (["--method", "saliency", "--base-layer", "layer2"], ["base-layer changes nothing of saliency"]),
        (["--method", "gradcam", "--method", "rise", "--set", "nothing=3"], ["nothing"]),
        (["--raw", "--alpha", "0.3", "--smooth", "0"], ["--alpha, --smooth changes nothing of --raw"]),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else None,
)
def test_options_without_effect_are_refused(fgcam: Any, options: list[str], words: list[str]) -> None:
    ran = fgcam("explain", RESNET, PICTURES / "star.png", *options)
    assert ran.code == 1
    for word in words:
        assert word in ran.err


def test_overlays_lie_on_the_original_or_on_what_the_model_saw(fgcam: Any) -> None:
    path = wide()
    arguments = ["explain", RESNET, path, "--preprocess", "unit", "--target", "3", "--no-bar"]
    assert fgcam(*arguments, "-o", "original").code == 0
    assert fgcam(*arguments, "--on", "model", "-o", "model").code == 0
    assert size_of("original/wide.input.star.png") == (192, 96)
    assert size_of("model/wide.input.star.png") == (96, 96)
    x = preprocess_from("unit").bound((1, 3, 96, 96), "float32")(read_image(path))
    wanted = Explainer(RESNET)(x, target=3).overlay(read_image(path))
    with Image.open("original/wide.input.star.png") as shown:
        assert np.abs(np.asarray(shown).astype(int) - np.asarray(wanted)).max() <= 1


def test_smoothing_clip_and_gamma_can_be_switched_off(fgcam: Any) -> None:
    plain = ["--smooth", "0", "--clip", "100", "--gamma", "1", "--alpha", "1", "--no-bar", "--colormap", "gray"]
    arguments = ["explain", RESNET, PICTURES / "star.png", "--target", "star"]
    assert fgcam(*arguments, *plain, "-o", "plain").code == 0
    assert fgcam(*arguments, "--raw", "-o", "raw").code == 0
    values = np.maximum(np.load("raw/star.input.star.npy"), 0)
    share = values / values.max()
    with Image.open("plain/star.input.star.png") as shown:
        grey = np.asarray(shown)[:, :, 0] / 255
    solid = share > 0.65  # from there on the map's colour is all there is
    assert solid.any()
    np.testing.assert_allclose(grey[solid], share[solid], rtol=0, atol=2 / 255)


def test_inspect_says_what_would_be_guessed(fgcam: Any, alone: Path) -> None:
    assert "a guess is imagenet, since nothing in the file tells" in fgcam("inspect", alone).out
    assert "a guess" not in fgcam("inspect", RESNET).out
