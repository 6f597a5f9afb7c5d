"""Further inputs and arrays on the command line: the maps are those of Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from onnx import ModelProto
from parsed import drawn, parsed
from PIL import Image

from fgcam_onnx import explain
from fgcam_onnx.imaging import PRESETS, read_image

RAW = ("--method", "gradcam", "--target", "1", "--raw")


def towers() -> ModelProto:
    return parsed(
        """g (float[N,3,12,10] left, float[N,3,12,10] right, float[N,2] v) => (float[N,3] y) {
        a = Conv(left, W)  ra = Relu(a)  pa = GlobalAveragePool(ra)  b = Conv(right, W)  rb = Relu(b)
        pb = GlobalAveragePool(rb)  d = Sub(pa, pb)  e = Abs(d)  f = Flatten<axis=1>(e)  z = Concat<axis=1>(f, v)
        h = MatMul(z, V)  y = Tanh(h) }""",
        W=drawn(1, 4, 3, 3, 3), V=drawn(2, 6, 3),
    )  # fmt: skip


def bag() -> ModelProto:
    return parsed(
        """g (float[tiles,3,12,10] x) => (float[1,3] y) { a = Conv(x, W)  act = Relu(a)  p = GlobalAveragePool(act)
        v = Flatten<axis=1>(p)  e = MatMul(v, A)  s = Softmax<axis=0>(e)  t = Transpose<perm=[1,0]>(s)
        b = MatMul(t, v)  y = MatMul(b, V) }""",
        W=drawn(1, 4, 3, 3, 3), A=drawn(3, 4, 1), V=drawn(2, 4, 3),
    )  # fmt: skip


def put(folder: Path, model: ModelProto, *names: str) -> Path:
    """Write a model and pictures of noise."""
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    for i, name in enumerate(names):
        pixels = np.random.default_rng(i).integers(0, 256, (12, 10, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder / "model.onnx"


def prepared(*paths: Path) -> np.ndarray:
    unit = PRESETS["unit"].bound(("N", 3, 12, 10), np.dtype(np.float32))
    return np.concatenate([np.asarray(unit(read_image(p))) for p in paths])


def maps_in(folder: Path, pattern: str = "*.npy") -> list[np.ndarray]:
    return [np.load(p) for p in sorted(folder.glob(pattern))]


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_further_input_takes_a_picture_an_array_or_a_number(fgcam: Any, tmp_path: Path, side: str) -> None:
    model = put(tmp_path, towers(), "a.png", "b.png", "c.png")
    (other,) = {"left", "right"} - {side}
    np.save(tmp_path / "v.npy", drawn(9, 2))
    picture, beside = [tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "c.png"
    common = ("--input", side, "--preprocess", "unit", "--feed", f"{other}={beside}", *RAW)
    ran = fgcam("explain", model, *picture, *common, "--feed", f"v={tmp_path / 'v.npy'}", "-o", "out")
    assert ran.code == 0, ran.err
    x = {side: prepared(*picture), other: prepared(beside, beside), "v": np.stack([drawn(9, 2)] * 2)}
    expected = explain(towers(), x, method="gradcam", input=side, target=1).map
    assert_allclose(maps_in(Path("out")), expected, rtol=1e-5, atol=1e-7)
    ran = fgcam("explain", model, *picture, *common, "--feed", "v=-0.5", "-o", "same")
    expected = explain(towers(), x | {"v": np.full((2, 2), -0.5)}, method="gradcam", input=side, target=1).map
    assert_allclose(maps_in(Path("same")), expected, rtol=1e-5, atol=1e-7)


def test_arrays_go_where_pictures_go(fgcam: Any, tmp_path: Path) -> None:
    model, x = put(tmp_path, towers(), "c.png"), drawn(5, 2, 3, 12, 10)
    right, v = drawn(6, 1, 3, 12, 10), drawn(7, 1, 2)
    np.save(tmp_path / "one.npy", x[0])
    np.save(tmp_path / "right.npy", right)
    np.savez(tmp_path / "all.npz", left=x[1:], right=right, v=v)
    feeds = ("--feed", f"right={tmp_path / 'right.npy'}", "--feed", "v=0.25")
    ran = fgcam(
        "explain", model, tmp_path / "one.npy", tmp_path / "all.npz", "--input", "left", *feeds, *RAW, "-o", "out"
    )
    assert ran.code == 0, ran.err
    given = {"left": x, "right": right.repeat(2, 0), "v": np.concatenate([np.full((1, 2), 0.25), v])}
    expected = explain(towers(), given, method="gradcam", input="left", target=1).map
    assert_allclose(np.load("out/one.ra.1.npy"), expected[0], rtol=1e-5, atol=1e-7)
    assert_allclose(np.load("out/all.ra.1.npy"), expected[1], rtol=1e-5, atol=1e-7)
    drawn_over = fgcam("explain", model, tmp_path / "one.npy", "--input", "left", *feeds, "-o", "shown")
    assert drawn_over.code == 0, drawn_over.err
    assert list(Path("shown").glob("*.png"))


def test_pictures_of_a_bag_are_explained_together(fgcam: Any, tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(10)]
    model = put(tmp_path, bag(), *names)
    paths = [tmp_path / n for n in names]
    ran = fgcam("explain", model, *paths, "--preprocess", "unit", "--batch", 2, *RAW, "-o", "out")
    assert ran.code == 0, ran.err
    expected = explain(bag(), prepared(*paths), method="gradcam", target=1).map
    assert_allclose(maps_in(Path("out")), expected, rtol=1e-4, atol=1e-7)
    np.save(tmp_path / "tiles.npy", prepared(*paths))
    fgcam("explain", model, tmp_path / "tiles.npy", *RAW, "-o", "tiles")
    found = sorted(json.loads(Path("tiles/explanations.json").read_text())["images"][0]["explanations"], key=str)
    files = [np.load(f) for e in found for f in e["files"]]
    assert len(files) == 10
    assert_allclose(sorted(m.sum() for m in files), sorted(m.sum() for m in expected), rtol=1e-4)


def test_a_bag_of_which_a_picture_is_damaged_is_not_explained(fgcam: Any, tmp_path: Path) -> None:
    model = put(tmp_path, bag(), "a.png", "b.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    ran = fgcam("explain", model, tmp_path / "a.png", tmp_path / "b.png", *RAW, "-o", "out")
    assert ran.code == 1
    assert "a bag has one answer, and not all of it could be read" in ran.err
    assert not maps_in(Path("out"))


def test_a_vector_is_explained_from_an_array_without_pictures(fgcam: Any, tmp_path: Path) -> None:
    model, v = put(tmp_path, towers(), "a.png"), drawn(8, 1, 2)
    np.save(tmp_path / "v.npy", v)
    np.save(tmp_path / "a.npy", prepared(tmp_path / "a.png"))
    beside = ("--feed", f"left={tmp_path / 'a.npy'}", "--feed", "right=0.5")
    common = ("explain", model, tmp_path / "v.npy", "--input", "v", "--method", "inputxgradient", *beside)
    ran = fgcam(*common, "--target", 1, "--raw", "-o", "out")
    assert ran.code == 0, ran.err
    x = {"v": v, "left": prepared(tmp_path / "a.png"), "right": np.full((1, 3, 12, 10), 0.5)}
    expected = explain(towers(), x, method="inputxgradient", input="v", target=1).map
    assert_allclose(maps_in(Path("out")), expected, rtol=1e-4, atol=1e-7)
    assert fgcam(*common, "--target", 1, "-o", "drawn").code == 0
    assert sorted(p.suffix for p in Path("drawn").iterdir()) == [".csv", ".json", ".png"]


def test_a_run_with_further_inputs_is_repeated_from_its_record(fgcam: Any, tmp_path: Path) -> None:
    model = put(tmp_path, towers(), "a.png", "b.png")
    common = ("--input", "left", "--preprocess", "unit", "--feed", f"right={tmp_path / 'b.png'}", "--feed", "v=1")
    assert fgcam("explain", model, tmp_path / "a.png", *common, *RAW, "-o", "out").code == 0
    assert fgcam("explain", "--from", "out/explanations.json", "-o", "again").code == 0
    assert_allclose(maps_in(Path("again")), maps_in(Path("out")), rtol=0, atol=0)
    Image.new("RGB", (10, 12)).save(tmp_path / "b.png")
    assert "not the file that was explained" in fgcam("explain", "--from", "out/explanations.json", "-o", "x").err


REFUSED = {
    "also reads right ['N', 3, 12, 10], v ['N', 2]": (),
    "also reads v": ("--feed", "right=0"),
    "write NAME=FILE": ("--feed", "right"),
    "given twice": ("--feed", "v=1", "--feed", "v=2"),
    "the pictures are that input": ("--feed", "left=1"),
    "Did you mean 'right'": ("--feed", "rigth=1"),
    "no such file": ("--feed", "right=none.png", "--feed", "v=1"),
    "one row for each image": ("--feed", "right=0", "--feed", "v=three.npy"),
    "no arrays of numbers": ("--feed", "right=0", "--feed", "v=broken.npy"),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_fed_is_refused(fgcam: Any, tmp_path: Path, words: str) -> None:
    model = put(tmp_path, towers(), "a.png")
    np.save("three.npy", np.zeros((3, 2), np.float32))
    Path("broken.npy").write_bytes(b"\x93NUMPY")
    ran = fgcam("explain", model, tmp_path / "a.png", "--input", "left", "--preprocess", "unit", *REFUSED[words])
    assert ran.code != 0
    assert words in " ".join(ran.err.split())
