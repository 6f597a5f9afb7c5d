"""``fgcam inspect``, help, and how the command starts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nets import inserted, model_of, node, small_cnn, two_eyed, two_headed
from onnx import ModelProto, helper

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "exported_models"
RESNET = MODELS / "resnet_shapes.dynamo.onnx"
VGG = MODELS / "vgg_shapes.torchscript.onnx"


def test_inspect_says_what_there_is(fgcam: Any) -> None:
    ran = fgcam("inspect", RESNET)
    assert (ran.code, ran.err) == (0, "")
    for word in (
        "N x 3 x 96 x 96",
        "N x 8",
        "8 targets",
        "layer4",
        "every operator has a rule",
        RESNET.with_suffix(".json").name,
    ):
        assert word in ran.out
    assert "unk__" not in ran.out
    assert len(fgcam("inspect", RESNET, "--all").out.splitlines()) > len(ran.out.splitlines())


def test_inspect_fits_eighty_columns_and_is_not_broken_in_a_pipe(fgcam: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, fgcam("inspect", VGG).out.splitlines()[1:])) <= 80
    monkeypatch.delenv("COLUMNS")
    assert "/features/features.24/MaxPool  features.24  MaxPool" in fgcam("inspect", VGG).out


def test_inspect_as_json_is_complete(fgcam: Any) -> None:
    report = json.loads(fgcam("inspect", RESNET, "--json").out)
    assert report["inputs"] == [{"name": "input", "dtype": "float32", "shape": ["N", 3, 96, 96]}]
    assert report["outputs"] == [{"name": "logits", "dtype": "float32", "shape": ["N", 8]}]
    assert report["score"] == {"output": "logits", "logits": "logits", "skipped": "", "classes": 8}
    assert report["layers"][0]["rank"] == 1
    assert report["layers"][0]["channels"] == 88
    assert report["support"]["fgcam"] == {"missing": {}, "blocked": 0}
    assert report["notes"] == []


def test_inspect_shows_a_model_that_leaves_a_choice_or_has_an_unknown_operator(fgcam: Any) -> None:
    Path("heads.onnx").write_bytes(two_headed().SerializeToString())
    Path("eyes.onnx").write_bytes(two_eyed().SerializeToString())
    custom = inserted(
        small_cnn(),
        "/pool/MaxPool_output_0",
        node("Wiggle", ["/pool/MaxPool_output_0"], "w", domain="own"),
        result="w",
    )
    custom.opset_import.append(helper.make_opsetid("own", 1))
    Path("own.onnx").write_bytes(custom.SerializeToString())
    for name, word in (("heads", "--output"), ("eyes", "--input"), ("own", "own.Wiggle")):
        ran = fgcam("inspect", f"{name}.onnx")
        assert ran.code == 0
        assert word in ran.out
    assert fgcam("inspect", "heads.onnx", "--output", "logits").code == 0
    assert "note" not in fgcam("inspect", "eyes.onnx", "--input", "input").out
    assert fgcam("inspect", "heads.onnx", "--output", "x").code == 1


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["explain", "--help"], ["inspect", "-h"]])
def test_help_is_there(fgcam: Any, arguments: list[str]) -> None:
    ran = fgcam(*arguments)
    assert ran.code == 0
    assert "Usage: " in ran.out


def test_misspelt_commands_and_options_are_suggested(fgcam: Any) -> None:
    ran = fgcam("explan", "x")
    assert ran.code == 2
    assert "explain" in ran.err
    ran = fgcam("explain", RESNET, "x", "--layers", "a")
    assert ran.code == 2
    assert "--layer" in ran.err


def test_help_starts_without_the_heavy_packages() -> None:
    code = (
        "import sys, fgcam_onnx\n"
        "from fgcam_onnx.cli import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        "heavy = 'onnx onnxruntime onnx_graphsurgeon numpy matplotlib rich PIL'.split()\n"
        "print('LOADED', [n for n in heavy if n in sys.modules])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.endswith("LOADED []\n")


def test_the_installed_command_and_the_script_run() -> None:
    for command in ([sys.executable, "-m", "fgcam_onnx"], [sys.executable, str(ROOT / "cli.py")]):
        ran = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        assert "fgcam" in ran.stdout


def test_nothing_is_drawn_where_the_error_stream_is_no_terminal() -> None:
    command = [sys.executable, str(ROOT / "cli.py"), "inspect", str(RESNET), "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    assert json.loads(ran.stdout)["opset"] == 18


def free_sized() -> ModelProto:
    """Return a net that takes pictures of any size."""
    model = small_cnn()
    for dim, symbol in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], ("h", "w"), strict=True):
        dim.dim_param = symbol
    return model


def test_a_size_that_is_open_is_asked_for_and_shown_at_the_one_given(fgcam: Any) -> None:
    Path("free.onnx").write_bytes(free_sized().SerializeToString())
    asked = json.loads(fgcam("inspect", "free.onnx", "--json").out)
    assert (asked["layers"], asked["support"]) == ([], {})
    assert asked["notes"] == ["the size of input 'input' is open: which layers there are shows at one (--size HxW)"]
    for height, width in ((24, 16), (16, 40)):
        report = json.loads(fgcam("inspect", "free.onnx", "--size", f"{height}x{width}", "--json").out)
        assert report["inputs"][0]["shape"][2:] == [height, width]
        assert report["layers"][0]["spatial"] == [height // 2, width // 2]
        assert report["support"]["gradient"] == {"missing": {}, "blocked": 0}
        assert report["notes"] == []


def test_a_size_that_is_open_is_that_of_the_file_beside_the_model(fgcam: Any) -> None:
    Path("free.onnx").write_bytes(free_sized().SerializeToString())
    Path("free.json").write_text(json.dumps({"size": [32, 24], "scale": 1, "mean": [0], "std": [1]}))
    report = json.loads(fgcam("inspect", "free.onnx", "--json").out)
    assert report["layers"][0]["spatial"] == [16, 12]
    assert report["notes"] == ["layers are those at 32 x 24, the size in free.json"]


def test_a_size_that_the_model_fixes_otherwise_is_refused(fgcam: Any) -> None:
    ran = fgcam("inspect", RESNET, "--size", "64")
    assert ran.code == 1
    assert "is 3 x 96 x 96, not 64 x 64" in ran.err


@pytest.mark.parametrize("paths", [("/c/Conv", "/c_1/Conv", "/c_2/Conv"), ("/c/Conv",) * 3])
def test_the_calls_of_a_module_that_is_called_again_are_listed(fgcam: Any, paths: tuple[str, ...]) -> None:
    """One exporter numbers the calls, another gives each the same path."""
    weights = {"w": np.ones((3, 3, 3, 3), np.float32), "v": np.ones((3, 2), np.float32)}
    tensors = ["x", "one", "two", "three"]
    nodes = [
        helper.make_node("Conv", [before, "w"], [after], name=path, pads=[1] * 4)
        for before, after, path in zip(tensors, tensors[1:], paths, strict=False)
    ]
    nodes += [node("GlobalAveragePool", ["three"], "p"), node("Flatten", ["p"], "f"), node("Gemm", ["f", "v"], "y")]
    model = model_of(nodes, weights, inputs={"x": ["N", 3, 8, 8]}, outputs=["y"])
    Path("again.onnx").write_bytes(model.SerializeToString())
    layers = json.loads(fgcam("inspect", "again.onnx", "--json").out)["layers"]
    assert {x["name"]: x["call"] for x in layers} == {"one": [1, 3], "two": [2, 3], "three": [3, 3]}
    assert "call 2 of 3" in fgcam("inspect", "again.onnx").out
    assert all(x["call"] is None for x in json.loads(fgcam("inspect", VGG, "--json").out)["layers"])
