from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fgcam_onnx.errors import OptionError
from fgcam_onnx.imaging import PRESETS, Preprocess, find_sidecar, preprocess_from, sidecar_labels

VIT = {
    "do_normalize": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "size": 224,
}
RESNET = {
    "image_processor_type": "ConvNextImageProcessor",
    "crop_pct": 0.875,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 3,
    "size": {"shortest_edge": 224},
}
CLIP = {
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "size": {"shortest_edge": 256},
    "do_normalize": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "image_mean": [0.48, 0.46, 0.41],
    "image_std": [0.27, 0.26, 0.28],
    "resample": 3,
    "do_convert_rgb": True,
}


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_presets_go_by_name() -> None:
    assert {name: preprocess_from(name) for name in PRESETS} == dict(PRESETS)
    with pytest.raises(OptionError, match=r"Did you mean 'imagenet'\?.*Presets: imagenet, tf"):
        preprocess_from("imagnet")


def test_json_toml_and_mapping_say_the_same(tmp_path: Path) -> None:
    inner = {"size": [240, 320], "scale": "1/127.5", "mean": 1, "channels": "BGR", "resize": "pad"}
    lines = ["[preprocess]", *(f"{key} = {json.dumps(value)}" for key, value in inner.items())]
    (tmp_path / "a.toml").write_text("\n".join(['note = "x"', *lines]))
    expected = Preprocess(size=(240, 320), scale=1 / 127.5, mean=(1.0,), channels="BGR", resize="pad")
    for spec in (
        inner,
        {"preprocess": inner, "anything": 1},
        write(tmp_path / "a.json", inner),
        str(write(tmp_path / "b.json", {"preprocess": inner, "labels": "x.txt"})),
        tmp_path / "a.toml",
    ):
        assert preprocess_from(spec) == expected


def test_a_formula_with_a_channel_order_is_read() -> None:
    spec = {
        "y": "(x * scale - mean) / std",
        "note": "as trained",
        "scale": 1.0,
        "mean": [103.939, 116.779, 123.68],
        "std": [1, 1, 1],
        "channel_order": "BGR",
    }
    assert preprocess_from(spec) == Preprocess(
        scale=1.0, mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0), channels="BGR"
    )


def test_a_preset_can_be_changed_in_parts() -> None:
    seen = preprocess_from({"preset": "imagenet", "size": 288, "crop_share": 1.0})
    assert seen == Preprocess(
        size=(288, 288), crop_share=1.0, mean=PRESETS["imagenet"].mean, std=PRESETS["imagenet"].std
    )
    assert preprocess_from({"preprocess": "tf"}) == PRESETS["tf"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"meen": 1}, "'meen' is not known. Did you mean 'mean'"),
        ({"preset": "imagenett"}, "Did you mean 'imagenet'"),
        ({"preset": 3}, "preset 3"),
        ({"channels": "RGB", "channel_order": "BGR"}, "channels is given twice"),
        ({"preprocess": [1]}, r"not \[1\]"),
        ({"preprocess": {"preprocess": {}}}, "preset's name or a mapping"),
        ({"scale": "1/0"}, "1/0"),
        ({"scale": "a/b"}, "a/b"),
        ({"scale": "inf"}, "finite"),
        ({"std": 0}, "zero"),
        ({"size": 9000}, "8192"),
        ({"size": "224px"}, "size '224px'"),
    ],
)
def test_mistakes_in_a_mapping_are_named(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        preprocess_from(spec)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "broken.toml").write_text("= 3")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "deep.json").write_text("[" * 200_000)
    (tmp_path / "large.json").write_text('{"note": "' + "x" * 2**20 + '"}')
    for name in (
        "broken.json",
        "broken.toml",
        "binary.json",
        "list.json",
        "deep.json",
        "large.json",
        "no.json",
    ):
        with pytest.raises(OptionError, match=name):
            preprocess_from(tmp_path / name)
    (tmp_path / "fits.json").write_text('{"note": "' + "x" * (2**20 - 100) + '"}')
    assert preprocess_from(tmp_path / "fits.json") == Preprocess()


def test_hugging_face_settings_are_read() -> None:
    assert preprocess_from(VIT) == Preprocess(size=(224, 224), resize="stretch", mean=(0.5,) * 3, std=(0.5,) * 3)
    assert preprocess_from(RESNET) == Preprocess(
        size=(224, 224),
        crop_share=0.875,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        interpolation="bicubic",
    )
    assert preprocess_from(CLIP) == Preprocess(
        size=(224, 224),
        crop_share=0.875,
        mean=(0.48, 0.46, 0.41),
        std=(0.27, 0.26, 0.28),
        interpolation="bicubic",
    )


def test_hugging_face_pixels_match_the_steps_written_out() -> None:
    image = Image.fromarray(np.random.default_rng(2).integers(0, 256, (300, 420, 3), dtype=np.uint8))
    resized = image.resize((int(256 * 420 / 300), 256), Image.Resampling.BICUBIC)
    left = (resized.width - 224) // 2
    pixels = np.asarray(resized).astype(np.float64)[16:240, left : left + 224] * CLIP["rescale_factor"]
    expected = ((pixels - CLIP["image_mean"]) / CLIP["image_std"]).transpose(2, 0, 1)[None]
    seen = preprocess_from(CLIP).bound((1, 3, 224, 224), "float32")(image)
    np.testing.assert_allclose(seen, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"size": {"height": 200, "width": 300}}, {"size": (200, 300)}),
        ({"do_rescale": False, "do_normalize": False}, {"scale": 1.0, "mean": (0.0,), "std": (1.0,)}),
        ({"rescale_factor": 1 / 127.5}, {"scale": 1 / 127.5}),
        ({"do_resize": False}, {"size": None, "resize": "stretch"}),
        ({"include_top": True}, {"mean": (0.5,) * 3, "std": (0.25,) * 3}),
        (
            {"do_flip_channel_order": True, "image_mean": [0.1, 0.2, 0.3]},
            {"channels": "BGR", "mean": (0.3, 0.2, 0.1)},
        ),
        ({"crop_pct": 0.9, "size": 384}, {"size": (384, 384), "resize": "stretch"}),
        ({"crop_pct": 0.9}, {"resize": "crop", "crop_share": 224 / 248}),
        (
            {"do_center_crop": True, "crop_size": 224, "size": 248},
            {"resize": "crop", "crop_share": 224 / 248},
        ),
        ({"image_mean": 0.5, "image_std": 0.5}, {"mean": (0.5,), "std": (0.5,)}),
    ],
)
def test_hugging_face_variants(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    seen = vars(preprocess_from({**VIT, **changes}))
    assert {key: seen[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"do_pad": True}, "do_pad"),
        ({"resample": 4}, "resample 4"),
        ({"resample": [2]}, "resample"),
        ({"size": {"shortest_edge": 800, "longest_edge": 1333}}, "leaves the shape"),
        ({"do_center_crop": True, "crop_size": 224, "size": {"height": 256, "width": 256}}, "stretch"),
        ({"do_center_crop": True, "crop_size": {"height": 2, "width": 3}, "size": 9}, "no equivalent"),
        ({"do_center_crop": True, "crop_size": 300, "size": 224}, "no equivalent"),
        ({"image_mean": ["a"]}, "image_mean"),
        ({"image_std": [0, 0, 0]}, "zero"),
        ({"crop_pct": 1e-320}, "crop_pct"),
        ({"crop_pct": 0.9, "size": None}, "crop_pct without a size"),
        ({"do_center_crop": True, "crop_size": -1, "size": None}, "crop_size without a size"),
        ({"size": {"height": "a", "width": 3}}, "size"),
    ],
)
def test_hugging_face_settings_without_an_equivalent_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        preprocess_from({**VIT, **changes})


def test_the_sidecar_beside_a_model_is_found_in_order(tmp_path: Path) -> None:
    model = tmp_path / "net.v2.onnx"
    model.write_bytes(b"")
    assert find_sidecar(model) is None
    config = write(tmp_path / "preprocessor_config.json", VIT)
    assert find_sidecar(model) == config
    toml = tmp_path / "net.v2.toml"
    toml.write_text("mean = 0.5\n")
    assert find_sidecar(str(model)) == toml
    own = write(tmp_path / "net.v2.json", {"preprocess": {"preset": "tf"}})
    assert find_sidecar(model) == own
    assert find_sidecar(tmp_path / "other.onnx") == config


@pytest.mark.parametrize("content", ["{", "[1, 2]", "{}", '{"size": 3, "stride": 32}', '{"names": {"0": "cat"}}'])
def test_files_about_something_else_are_passed_over(tmp_path: Path, content: str) -> None:
    (tmp_path / "net.json").write_text(content)
    (tmp_path / "preprocessor_config.json").write_text(content)
    assert find_sidecar(tmp_path / "net.onnx") is None


def test_a_malformed_preprocess_entry_is_not_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "net.json", {"preprocess": {"meen": 1}})
    with pytest.raises(OptionError, match=r"net\.json.*mean"):
        find_sidecar(tmp_path / "net.onnx")
    write(path, {"mean": 1, "stdd": 2})
    assert find_sidecar(tmp_path / "net.onnx") == path


def test_labels_are_found_inside_the_sidecars_folder_only(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    (folder / "sub").mkdir(parents=True)
    for file in (folder / "sub" / "names.txt", tmp_path / "secret.txt"):
        file.write_text("a\nb\n")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    side = folder / "net.json"
    assert sidecar_labels(write(side, {"labels": "sub/names.txt"})) == folder / "sub" / "names.txt"
    assert sidecar_labels(write(side, {"labels": "sub/../sub/names.txt"})) == folder / "sub" / "names.txt"
    assert sidecar_labels(write(side, {"preprocess": "tf"})) is None
    for bad in (
        "../secret.txt",
        str(tmp_path / "secret.txt"),
        "link.txt",
        "absent.txt",
        "sub",
        "",
        3,
        "a\0b",
    ):
        with pytest.raises(OptionError, match="labels"):
            sidecar_labels(write(side, {"labels": bad}))


def test_a_sidecar_may_name_labels_alone(tmp_path: Path) -> None:
    side = write(tmp_path / "net.json", {"labels": "names.txt"})
    assert find_sidecar(tmp_path / "net.onnx") == side
    assert preprocess_from(side) == Preprocess()


@pytest.mark.parametrize("crop", ["a", {"height": "a", "width": "a"}, [8, 8], None, 0.5])
def test_a_crop_whose_size_is_no_number_is_refused(crop: object) -> None:
    config = {"do_center_crop": True, "crop_size": crop, "size": {"shortest_edge": 10}, "do_normalize": True}
    with pytest.raises(OptionError, match="crop_size"):
        preprocess_from(config)
