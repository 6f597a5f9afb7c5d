"""Each page of the manual runs from top to bottom as written, and prints what it shows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import check
import numpy as np
import paged
import pictures
import pytest
from paged import MANUAL, PRINTED, ROOT, RUN, blocks
from PIL import Image

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


def test_every_method_and_every_picture_of_the_manual_is_there() -> None:
    assert pictures.PAGE.read_text() == pictures.table(pictures.PAGE.read_text()), "run: make gallery"
    made = {f"{name}.webp" for name in pictures.PICTURES}
    assert {str(p.relative_to(pictures.FOLDER)) for p in pictures.FOLDER.rglob("*.*")} == made
    shown = {link for page in MANUAL for link in re.findall(r"\]\((?:\.\./)?pictures/(\S+\.webp)\)", page.read_text())}
    assert shown == made


def test_a_picture_is_drawn_again_as_it_is() -> None:
    drawn = np.asarray(pictures.PICTURES["methods/gradcam"]().convert("RGB"), float)
    kept = np.asarray(Image.open(pictures.FOLDER / "methods" / "gradcam.webp").convert("RGB"), float)
    assert drawn.shape == kept.shape
    assert np.abs(drawn - kept).mean() < 6


def test_a_site_with_a_dead_link_or_a_script_from_elsewhere_is_found(tmp_path: Path) -> None:
    good = (
        '<a href="b.html#x">b</a><a id="y" href="https://example.org">far</a><link rel="canonical" href="https://a.b">'
    )
    (tmp_path / "a.html").write_text(good)
    (tmp_path / "b.html").write_text('<h1 id="x">x</h1><a href="a.html#y"></a>')
    assert list(check.faults(tmp_path)) == []
    for bad in (
        '<a href="c.html">',
        '<a href="b.html#z">',
        '<script src="https://a.b/c.js"></script>',
        '<img src="c.png">',
    ):
        (tmp_path / "a.html").write_text(good + bad)
        assert len(list(check.faults(tmp_path))) == 1, bad
    (tmp_path / "a.html").write_text(good)
    (tmp_path / "a.css").write_text("@import 'https://a.b/c.css';")
    assert len(list(check.faults(tmp_path))) == 1
