"""Each page of the manual runs from top to bottom as written, and prints what it shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import paged
import pytest
from paged import MANUAL, PRINTED, ROOT, RUN, blocks

DATA = ("json", "toml", "yaml")
"""Languages of files that a page shows."""


def name(page: Path) -> str:
    return str(page.relative_to(ROOT / "docs"))


@pytest.mark.parametrize("page", MANUAL, ids=name)
def test_a_page_runs_as_written_and_prints_what_it_shows(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "exported_models").symlink_to(ROOT / "exported_models")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    assert paged.run(page.read_text()) == []


@pytest.mark.parametrize("page", MANUAL, ids=name)
def test_every_block_is_run_or_printed_or_data_or_says_why_not(page: Path) -> None:
    for block in blocks(page.read_text()):
        assert block.why or block.info == PRINTED or block.info.split(" ")[0] in (*RUN, *DATA), (block.line, block.info)
        assert not block.info.startswith("json") or json.loads(block.text)


def test_a_page_that_shows_what_is_not_printed_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a wrong line, lines out of order, a failing command, a command of others."""
    monkeypatch.chdir(tmp_path)
    page = "```python\nx = 2\nprint(x)\n```\n\n```python\nprint('a  b', x)\n```\n\n```text title=\"prints\"\n{}\n```\n"
    assert paged.run(page.format("a b 2")) == []
    assert paged.run(page.format("a … 2")) == []
    assert paged.run(page.format("a b 3")) == ["line 10: a b 3"]
    assert paged.missing("b\na\n", "a\nb\n") == ["a"]
    for wrong in ("fgcam inspect none.onnx", "fgcam methods  # exit code 1", "rm -r x"):
        with pytest.raises(AssertionError):
            paged.run(f"```sh\n{wrong}\n```\n")
    assert paged.run("<!-- not run: others' -->\n```sh\nrm -r x\n```\n") == []
    assert paged.run("```sh\nfgcam inspect none.onnx  # exit code 1\n```\n") == []


def test_the_site_builds_strictly_and_its_links_hold(tmp_path: Path) -> None:
    if find_spec("mkdocs") is None or find_spec("material") is None:
        pytest.skip("mkdocs-material is not installed here (make docs has an environment of its own)")
    config, out = ROOT / "tools" / "manual" / "mkdocs.yml", tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(out)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
    checked = subprocess.run([sys.executable, str(config.parent / "check.py"), str(out)], check=False)
    assert checked.returncode == 0
