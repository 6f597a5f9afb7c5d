"""Signals, volumes, clips and rows of numbers on the command line: maps as in Python, drawn as what they are."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from onnx import ModelProto
from parsed import drawn, parsed
from PIL import Image

from fgcam_onnx import explain
from fgcam_onnx.imaging import PRESETS, find_images, read_image

RAW = ("--method", "gradcam", "--target", "1", "--raw")


def net(channels: int, *size: int) -> ModelProto:
    axes = len(size)
    return parsed(
        f"""g (float[N,{channels},{",".join(map(str, size))}] x) => (float[N,3] y) {{
        a = Conv(x, W)  r = Relu(a)  p = GlobalAveragePool(r)  f = Flatten<axis=1>(p)  y = MatMul(f, V) }}""",
        W=drawn(1, 4, channels, *[3] * axes), V=drawn(2, 4, 3),
    )  # fmt: skip


def put(folder: Path, model: ModelProto) -> Path:
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


def sound(path: Path, samples: np.ndarray, *, width: int = 2) -> None:
    """Write (samples, channels) whole numbers of ``width`` bytes as a WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(8000)
        shifted = samples + 128 if width == 1 else samples
        file.writeframes(b"".join(int(v).to_bytes(width, "little", signed=width > 1) for v in shifted.ravel()))


def clip(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 256, (16, 20, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03}.png")
    return find_images([folder])


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_a_sound_is_a_signal_from_minus_one_to_one(fgcam: Any, tmp_path: Path, width: int) -> None:
    model, top = put(tmp_path, net(2, 40)), 2 ** (8 * width - 1)
    samples = np.random.default_rng(width).integers(-top, top, (40, 2))
    sound(tmp_path / "a.wav", samples, width=width)
    fgcam("explain", model, tmp_path / "a.wav", *RAW, "-o", tmp_path / "out")
    x = (samples.T[None] / top).astype(np.float32)
    expected = explain(model, x, method="gradcam", target=1).map
    assert_allclose(np.load(tmp_path / "out" / "a.r.1.npy"), expected[0], rtol=1e-6, atol=0)


def test_a_scan_is_a_volume_of_the_axes_that_nibabel_has(fgcam: Any, tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel", reason="scans are read by the extra nifti")
    model, values = put(tmp_path, net(1, 6, 7, 8)), drawn(3, 6, 7, 8)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii.gz")
    fgcam("explain", model, tmp_path / "a.nii.gz", *RAW, "-o", tmp_path / "out")
    expected = explain(model, values[None, None], method="gradcam", target=1).map
    (found,) = (np.load(p) for p in (tmp_path / "out").glob("*.npy"))
    assert_allclose(found, expected[0], rtol=1e-5, atol=1e-7)


def test_a_folder_of_frames_is_a_clip(fgcam: Any, tmp_path: Path) -> None:
    model, paths = put(tmp_path, net(3, 4, 16, 16)), clip(tmp_path / "clip", 10)
    fgcam("explain", model, tmp_path / "clip", "--preprocess", "unit", *RAW, "-o", tmp_path / "out")
    unit = PRESETS["unit"].bound(("N", 3, 16, 16), np.dtype(np.float32))
    x = np.stack([np.asarray(unit(read_image(paths[i])))[0] for i in (0, 3, 6, 9)], axis=1)[None]
    expected = explain(model, x, method="gradcam", target=1).map
    assert_allclose(np.load(tmp_path / "out" / "clip.r.1.npy"), expected[0], rtol=1e-6, atol=0)


def test_frames_that_the_graph_folds_into_the_batch_are_slices_of_one_map(fgcam: Any, tmp_path: Path) -> None:
    frames = parsed(
        """g (float[N,4,3,16,16] x) => (float[N,3] y) { i = Reshape(x, S)  a = Conv(i, W)  r = Relu(a)
        p = GlobalAveragePool(r)  q = Reshape(p, Q)  m = ReduceMean<keepdims=0>(q, one)  y = MatMul(m, V) }""",
        S=np.array([-1, 3, 16, 16]), Q=np.array([-1, 4, 5]), one=np.array([1]), W=drawn(1, 5, 3, 3, 3),
        V=drawn(2, 5, 3),
    )  # fmt: skip
    model, _ = put(tmp_path, frames), clip(tmp_path / "clip", 4)
    given = ("--preprocess", "unit", "--target", "1", "--raw", "-o", tmp_path / "out")
    fgcam("explain", model, tmp_path / "clip", "--method", "saliency", *given)
    fgcam("explain", model, tmp_path / "clip", "--method", "gradcam", *given)
    assert np.load(tmp_path / "out" / "clip.input.1.npy").shape == (4, 16, 16)
    assert np.load(tmp_path / "out" / "clip.r.1.npy").shape == (4, 14, 14)


SHAPES = {"curve.png": (2, 30), "slices.png": (1, 5, 12, 10)}


@pytest.mark.parametrize(("name", "shape"), SHAPES.items())
def test_what_is_no_picture_is_drawn_as_what_it_is(
    fgcam: Any, tmp_path: Path, name: str, shape: tuple[int, ...]
) -> None:
    model = put(tmp_path, net(*shape))
    np.save(tmp_path / "a.npy", drawn(4, *shape))
    out = tmp_path / "out"
    fgcam("explain", model, tmp_path / "a.npy", "--method", "saliency", "--target", "1", "-o", out)
    told = json.loads((out / "explanations.json").read_text(encoding="utf-8"))["images"][0]
    assert told["seen"] == {"channels": shape[0], "size": list(shape[1:])}
    files = [Path(f) for f in told["explanations"][0]["files"]]
    with Image.open(files[0]) as picture:
        pixels = np.asarray(picture.convert("RGB"), int)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
    if len(shape) == 4:
        with Image.open(files[1]) as moving:
            assert (moving.n_frames, moving.info["loop"]) == (5, 0)
        assert find_images([tmp_path / "a.npy"]) == [tmp_path / "a.npy"]


def test_a_row_of_numbers_is_a_table_and_bars(fgcam: Any, tmp_path: Path) -> None:
    dense = parsed(
        "g (float[N,6] x) => (float[N,3] y) { h = Gemm(x, W, b)  r = Relu(h)  y = Gemm(r, V, c) }",
        W=drawn(1, 6, 8), b=drawn(2, 8), V=drawn(3, 8, 3), c=drawn(4, 3),
    )  # fmt: skip
    model, x = put(tmp_path, dense), drawn(5, 6)
    np.save(tmp_path / "a.npy", x)
    out = tmp_path / "out"
    fgcam("explain", model, tmp_path / "a.npy", "--method", "inputxgradient", "--target", "1", "--signed", "-o", out)
    lines = (out / "a.input.1.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "index,value,map"
    found = np.asarray([[float(v) for v in line.split(",")] for line in lines[1:]])
    expected = explain(model, x[None], method="inputxgradient", target=1).map[0]
    assert_allclose(found.T, [np.arange(6), x, expected], rtol=1e-6, atol=1e-8)


REFUSED = {
    "a picture where a clip is wanted": (
        "clip/000.png",
        ("--preprocess", "unit"),
        "takes clips; give a folder of frames",
    ),
    "too few frames": ("short", ("--preprocess", "unit"), "holds 2 frames, and input 'x' takes 4"),
    "a sound of other length": ("a.wav", (), "input 'x' takes 5 dimensions (N x 3 x 4 x 16 x 16), got shape (1, 10)"),
    "smoothing in pixels": ("a.npy", ("--smooth", "2"), "are for pictures"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused(fgcam: Any, tmp_path: Path, case: str) -> None:
    given, options, said = REFUSED[case]
    model = put(tmp_path, net(3, 4, 16, 16))
    clip(tmp_path / "clip", 4)
    clip(tmp_path / "short", 2)
    sound(tmp_path / "a.wav", np.arange(10)[:, None])
    np.save(tmp_path / "a.npy", drawn(6, 3, 4, 16, 16))
    result = fgcam("explain", model, tmp_path / given, *options, "--method", "saliency", "-o", tmp_path / "out")
    assert result.code
    assert said in result.err


@pytest.mark.parametrize("command", ["sweep", "evaluate", "audit", "batch", "export"])
def test_commands_for_pictures_say_what_explains_a_signal(fgcam: Any, tmp_path: Path, command: str) -> None:
    model = put(tmp_path, net(1, 40))
    sound(tmp_path / "a.wav", np.arange(40)[:, None])
    given = {"audit": (model, model, tmp_path / "a.wav"), "export": (model, "--preprocess", "unit")}
    result = fgcam(command, *given.get(command, (model, tmp_path / "a.wav")), "-o", tmp_path / "out.png")
    assert result.code
    assert "`fgcam explain` takes signals" in result.err
