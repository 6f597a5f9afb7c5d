"""A picture whose name is not UTF-8, as old archives have them, is one like the others."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

NET = "resnet_shapes.dynamo.onnx"


@pytest.fixture
def pictures(bundled: Path, tmp_path: Path) -> Path:
    """Return a folder of one picture, of which the name has a byte of Latin-1."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    try:
        shutil.copy(bundled / "pictures" / "two.png", os.fsencode(folder) + b"/caf\xe9.png")
    except OSError:
        pytest.skip("this file system takes names of UTF-8 alone")
    return folder


def test_batch_writes_its_row(fgcam: Any, bundled: Path, pictures: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install 'fgcam-onnx[batch]'")
    ran = fgcam("batch", bundled / NET, pictures, "-o", "maps", "--method", "gradcam")
    assert ran.code == 0, ran.err
    assert parquet.read_table("maps/part-00000000.parquet")["id"].to_pylist() == ["caf\\udce9.png"]
    again = fgcam("batch", bundled / NET, pictures, "-o", "maps", "--method", "gradcam", "--resume")
    assert "1 stood there before" in again.out


def test_audit_and_evaluate_judge_it(fgcam: Any, bundled: Path, pictures: Path) -> None:
    ran = fgcam("audit", bundled / NET, bundled / NET, pictures, "-o", "audit")
    assert "unexpected" not in ran.err
    assert not json.loads(Path("audit/audit.json").read_text()).get("errors")
    options = ("--methods", "gradcam", "--metrics", "insertion@16", "--no-controls")
    ran = fgcam("evaluate", bundled / NET, pictures, *options, "-o", "judged")
    assert ran.code == 0, ran.err


def test_a_mended_file_at_a_link_to_itself_is_refused(fgcam: Any, bundled: Path, pictures: Path) -> None:
    os.symlink("loop", "loop")
    ran = fgcam("audit", bundled / NET, bundled / NET, pictures, "--mend", "loop/mended.onnx", "-o", "audit")
    assert ran.code == 2
    assert "loop/mended.onnx" in ran.err
