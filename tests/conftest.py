"""Fixtures that find the published maps and the real models, where they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def _folder(variable: str, what: str) -> Path:
    value = os.environ.get(variable)
    if not value or not Path(value).is_dir():
        pytest.skip(f"{what} not here: set {variable} to their folder")
    return Path(value)


@pytest.fixture(scope="session")
def golden() -> Path:
    return _folder("FGCAM_GOLDEN", "the published code's maps are")


@pytest.fixture(scope="session")
def assets() -> Path:
    return _folder("FGCAM_ASSETS", "real models and photographs are")


@pytest.fixture(scope="session")
def bundled() -> Path:
    return ROOT / "exported_models"
