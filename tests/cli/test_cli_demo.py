"""``fgcam demo`` explains what comes with the package, wherever it is installed."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from floors import ROOT

from fgcam_onnx.cli import demo


def test_the_demo_explains_every_bundled_picture_and_says_where(fgcam: Any, bundled: Path) -> None:
    ran = fgcam("demo", "-o", "seen")
    assert ran.code == 0, ran.err
    assert str(bundled) in ran.out.replace("\n", "")
    told = json.loads(Path("seen/fgcam/explanations.json").read_text())
    assert len(told["images"]) == len(list((bundled / "pictures").glob("*.png")))
    assert not [image for image in told["images"] if image.get("error")]
    assert len(list(Path("seen/two").glob("two.input.*.png"))) == 2


def test_models_that_are_not_there_are_one_line(fgcam: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "PLACES", (tmp_path / "none",))
    ran = fgcam("demo")
    assert ran.code == 1
    assert "install the package again" in ran.err


def test_the_wheel_gets_what_the_demo_reads(bundled: Path) -> None:
    """The patterns of the build match the files that the command names; nothing else says what is packaged."""
    built = (ROOT / "setup.py").read_text()
    for name in re.findall(r'"((?:vgg|resnet)_shapes\.\w+)"', Path(demo.__file__).read_text()):
        assert f'"{name}.*"' in built
        assert {p.suffix for p in bundled.glob(f"{name}.*")} == {".json", ".onnx"}
    assert "packages" not in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
