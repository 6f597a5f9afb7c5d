from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from PIL import Image

from fgcam_onnx.errors import OutputError
from fgcam_onnx.imaging import save_json, save_npy, save_png, write_atomically


def test_pictures_arrays_and_json_come_back(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    folder = tmp_path / "new" / "deep"
    assert save_png(folder / "a.out", Image.fromarray(pixels)) == folder / "a.out"
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "a.out", formats=["PNG"])), pixels)
    save_npy(str(folder / "a"), pixels[::2].astype(np.float32))
    np.testing.assert_array_equal(np.load(folder / "a", allow_pickle=False), pixels[::2])
    save_json(folder / "a.json", {"é": np.float32(0.5), "b": np.arange(3), "c": Path("x"), "d": (1, None)})
    text = (folder / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"é": 0.5, "b": [0, 1, 2], "c": "x", "d": [1, None]}
    assert "é" in text
    assert sorted(os.listdir(folder)) == ["a", "a.json", "a.out"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def half(file: BinaryIO) -> None:
        file.write(b"new")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_atomically(path, half)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    def full(file: BinaryIO) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"a\.bin.*No space left"):
        write_atomically(tmp_path / "a.bin", full)
    assert os.listdir(tmp_path) == []


def test_new_files_have_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    save_json(tmp_path / "ours", 1)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "ours")]
    assert modes[0] == modes[1]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    save_json(tmp_path / "link.json", 1)
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == "1\n"


def test_places_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for bad in (tmp_path / "file" / "a.json", tmp_path / "folder", tmp_path / ("n" * 300), "/dev/null"):
        with pytest.raises(OutputError):
            save_json(bad, 1)
    with pytest.raises(OutputError, match="null character"):
        save_json("a\0b", 1)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission_is_an_output_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        save_json(tmp_path / "a.json", 1)


@pytest.mark.parametrize("bad", [float("nan"), {"a": object()}, {1j: 1}, np.array([np.inf])])
def test_what_has_no_json_form_is_refused(tmp_path: Path, bad: object) -> None:
    with pytest.raises(OutputError, match="JSON"):
        save_json(tmp_path / "a.json", bad)
    assert os.listdir(tmp_path) == []


def test_arrays_of_objects_and_odd_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Python objects"):
        save_npy(tmp_path / "a.npy", np.array([object()]))
    with pytest.raises(OutputError, match=r"a\.png"):
        save_png(tmp_path / "a.png", Image.new("CMYK", (2, 2)))
    assert os.listdir(tmp_path) == []
