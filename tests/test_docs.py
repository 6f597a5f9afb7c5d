"""The commands and code of the README and the docs run as written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from paged import MANUAL

from fgcam_onnx.cli import cli

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "exported_models/README.md", "tools/README.md")),
    *sorted(set((ROOT / "docs").glob("*.md")).difference(MANUAL)),
]
"""Pages whose blocks are run one by one; the manual's are run page by page (test_manual.py)."""


def blocks(language: str) -> list[tuple[str, str]]:
    """Return (page, text) of every fenced block of ``language``."""
    return [
        (page.name, text)
        for page in PAGES
        for text in re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    ]


SUMMARIES = ("explanations.json", "evaluation.json", "audit.json", "_manifest.json")
"""What a command leaves in its output folder."""

COMMANDS = sorted({line for _, text in blocks("sh") for line in text.splitlines() if line.startswith("fgcam ")})


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a checkout, so that what commands write does not land in the real one."""
    (tmp_path / "exported_models").symlink_to(ROOT / "exported_models")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_commands_to_run() -> None:
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize("command", COMMANDS)
def test_a_documented_command_runs(checkout: Path, command: str) -> None:
    result = CliRunner().invoke(cli, shlex.split(command, comments=True)[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    out = re.search(r" -o (\S+)", command)
    if out:
        written = checkout / out[1]
        assert written.is_file() if written.suffix else any((written / name).is_file() for name in SUMMARIES)


@pytest.mark.parametrize("page_and_text", blocks("python"), ids=lambda b: b[0])
def test_documented_code_runs(checkout: Path, page_and_text: tuple[str, str]) -> None:
    exec(compile(page_and_text[1], page_and_text[0], "exec"), {})


@pytest.mark.parametrize("page", [*PAGES, *MANUAL], ids=lambda p: p.name)
def test_links_and_named_files_exist(page: Path) -> None:
    text = page.read_text()
    links = [x for x in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text) if "://" not in x]
    named = re.findall(r"python (tools/\S+\.py)", text)
    for target in links:
        assert (page.parent / target).exists(), target
    for target in named:
        assert (ROOT / target).exists(), target


def slug(heading: str) -> str:
    """Return the anchor that a heading gets."""
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("page", [*PAGES, *MANUAL], ids=lambda p: p.name)
def test_links_to_headings_exist(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^):]*)#([^)]+)\)", page.read_text()):
        other = (page.parent / target).resolve() if target else page
        assert anchor in [slug(h) for h in re.findall(r"^#+ (.+)$", other.read_text(), re.MULTILINE)], (target, anchor)


@pytest.mark.parametrize("page", [*PAGES, *MANUAL], ids=lambda p: p.name)
def test_named_make_targets_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for name in re.findall(r"(?:^|`)make ([a-z][a-z-]*)", page.read_text(), re.MULTILINE):
        assert re.search(rf"^{name}:", makefile, re.MULTILINE), name
