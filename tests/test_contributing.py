"""The worked diffs of CONTRIBUTING.md stand in the tree, and the commands under them fail where they are taken back."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from floors import ROOT

SECTION = re.compile(r"^## (.+?)\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(diff|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FAILED, NOTHING_COLLECTED, INTERRUPTED = 1, 5, 2


@dataclass(frozen=True)
class Change:
    """A hunk: what stands in ``file`` with it, and what stood there before."""

    file: str
    before: str
    after: str


def changes(diff: str) -> list[Change]:
    """Return the hunks of a diff, each headed by ``--- FILE``."""
    found = []
    for hunk in re.split(r"^--- ", diff, flags=re.MULTILINE)[1:]:
        file, *lines = hunk.splitlines()
        assert any(line[:1] == "+" for line in lines), hunk
        assert all(line[:1] in (" ", "+", "-") for line in lines), hunk
        before, after = ("\n".join(x[1:] for x in lines if x[0] in kept) + "\n" for kept in (" -", " +"))
        found.append(Change(file, before, after))
    return found


def worked() -> dict[str, tuple[list[Change], list[str]]]:
    """Return the sections with a worked diff: its hunks and the command under it."""
    found = {}
    for section in SECTION.finditer((ROOT / "CONTRIBUTING.md").read_text()):
        blocks = BLOCK.findall(section[0])
        if blocks:
            (_, diff), (_, command) = blocks
            found[section[1]] = changes(diff), shlex.split(command)
    return found


WORKED = worked()


def ended(command: list[str], folder: Path) -> int:
    """Run a command of the page in ``folder`` and return its exit status."""
    environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, *command[1:], "-p", "no:cacheprovider"]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, check=False, timeout=300).returncode


def copied(folder: Path) -> Path:
    """Return a copy of what the commands need, in ``folder``."""
    shutil.copyfile(ROOT / "pyproject.toml", folder / "pyproject.toml")
    for part in ("docs", "fgcam_onnx", "tests", "tools"):
        ignored = shutil.ignore_patterns("__pycache__", "goldens", "node_modules", "files")
        shutil.copytree(ROOT / part, folder / part, ignore=ignored)
    for part in ("exported_models", "tests/goldens"):
        (folder / part).symlink_to(ROOT / part)
    return folder


def test_the_kinds_of_contribution_each_have_a_worked_diff() -> None:
    assert {"An operator", "A rule", "A method", "A runtime"} <= WORKED.keys()


@pytest.mark.parametrize("kind", WORKED)
def test_a_worked_diff_is_what_stands_in_the_tree(kind: str) -> None:
    for change in WORKED[kind][0]:
        assert (ROOT / change.file).read_text().count(change.after) == 1, change


@pytest.mark.parametrize("kind", WORKED)
def test_the_command_under_it_passes_and_fails_where_it_is_taken_back(kind: str, tmp_path: Path) -> None:
    diff, command = WORKED[kind]
    folder = copied(tmp_path)
    assert ended(command, folder) == 0
    for change in diff:
        path = folder / change.file
        path.write_text(path.read_text().replace(change.after, change.before))
    assert ended(command, folder) in (FAILED, INTERRUPTED, NOTHING_COLLECTED)
