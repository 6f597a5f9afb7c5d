"""Files that people name: a pipe is not waited for, and no name is too long to be asked about."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fgcam_onnx
from fgcam_onnx.cli.targets import read_weights
from fgcam_onnx.errors import FgcamError
from fgcam_onnx.evaluation import read_boxes, read_classes
from fgcam_onnx.files import opened
from fgcam_onnx.imaging import preprocess_from, read_image, read_labels
from fgcam_onnx.imaging.arrays import read_arrays
from fgcam_onnx.imaging.writing import check_writable, sha256_of

PACKAGE = Path(fgcam_onnx.__file__).parent
ASKED = {"exists", "is_dir", "is_file", "is_fifo", "is_socket", "read_text"}
"""Methods of a path that raise for a name that no file system takes, or that wait for a pipe."""

READERS: list[tuple[Callable[[Path], Any], str]] = [
    (read_labels, "labels.txt"), (read_labels, "labels.json"),
    (preprocess_from, "how.json"), (preprocess_from, "how.toml"),
    (read_weights, "seed.npy"), (read_arrays, "x.npy"), (read_arrays, "x.npz"), (read_arrays, "x.wav"),
    (read_boxes, "boxes.json"), (read_boxes, "boxes.csv"), (read_boxes, "boxes.xml"), (read_classes, "classes.csv"),
    (read_classes, "classes.json"), (read_image, "picture.png"), (sha256_of, "any"), (fgcam_onnx.load, "net.onnx"),
]  # fmt: skip


@pytest.mark.parametrize(("read", "name"), READERS, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_pipe_and_a_name_that_is_too_long_are_refused(read: Any, name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    for path in (tmp_path / name, tmp_path / ("a" * 300 + name), tmp_path / f"a\0{name}"):
        with pytest.raises(FgcamError):
            read(path)


def test_where_nothing_can_be_written_is_said_before(tmp_path: Path) -> None:
    for name in ("a\0b", "pipe"):
        if name == "pipe":
            os.mkfifo(tmp_path / name)
        with pytest.raises(FgcamError):
            check_writable(tmp_path / name)


def test_a_regular_file_is_opened_and_a_folder_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with opened(tmp_path / "file") as file:
        assert file.read() == b"x"
    with pytest.raises(IsADirectoryError):
        opened(tmp_path)


def test_no_path_is_asked_what_it_raises_on() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ASKED
        and not node.args and ast.unparse(node.func.value) != "os.path"
    ]  # fmt: skip
    assert found == []
