"""Fixtures: the published maps and the real models, where they are, and the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fgcam_onnx.cli import main

ROOT = Path(__file__).parent.parent


def _folder(variable: str, what: str) -> Path:
    value = os.environ.get(variable)
    if not value or not Path(value).is_dir():
        pytest.skip(f"{what} not here: set {variable} to their folder")
    return Path(value)


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """Ray with two cores, which must do for two workers and what reads for them."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'fgcam-onnx[ray]'")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000)
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield ray
    ray.shutdown()


@pytest.fixture(scope="session")
def golden() -> Path:
    return _folder("FGCAM_GOLDEN", "the published code's maps are")


@pytest.fixture(scope="session")
def assets() -> Path:
    return _folder("FGCAM_ASSETS", "real models and photographs are")


@pytest.fixture(scope="session")
def bundled() -> Path:
    return ROOT / "exported_models"


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def fgcam(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return a function that runs the command line in an empty folder; none may leave scraps."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["fgcam", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        assert not [p for p in work.rglob("*") if p.name.endswith(".tmp")]
        return Ran(int(left.value.code or 0), captured.out, captured.err)

    return run
