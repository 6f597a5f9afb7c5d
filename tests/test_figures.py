"""Every table of figures in the docs stands with the command that makes it, which is one of the project."""

from __future__ import annotations

import shlex
from pathlib import Path

import figures
import pytest
from figures import NEEDS, PAGES, ROOT, tables

FACTS = (
    "| floor |",  # written by a command that a test runs
    "| name | components |",
    "| name | map |",
    "| name | weight of channel c, or map |",
    "| preset |",
    "| rule, in",
    "| star, ring | method |",
)
"""Tables whose numbers are definitions, not measurements."""

LINES = [line for page in PAGES for line in figures.figures(page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_a_table_of_figures_has_its_command_in_the_same_section(page: Path) -> None:
    for section in figures.sections(page):
        measured = [table for table in tables(section) if not table.lstrip().startswith(FACTS)]
        if measured:
            last = section.index(measured[-1])
            assert figures.LINE.search(section), measured[0].splitlines()[0]
            assert page.name in ("coverage.md", "runtimes.md") or figures.LINE.search(section, last), measured[-1]


def test_there_are_tables_to_find() -> None:
    """Negative control: a table of numbers is one, a table of words is none."""
    assert tables("| a | b |\n| --- | --- |\n| x | 0.5 |\n| y | 1e-6 |\n| z | 12 |\n")
    assert not tables("| a | b |\n| --- | --- |\n| x | one |\n| y | two |\n")
    assert len(LINES) > 20


@pytest.mark.parametrize("line", LINES, ids=lambda x: x.name)
def test_a_command_of_figures_names_a_tool_and_known_needs(line: figures.Figures) -> None:
    assert line.commands
    for command in line.commands:
        python, tool, *_ = shlex.split(command)
        assert python == "python"
        assert tool == "-m" or (ROOT / tool).is_file(), command
        assert {name.lower() for name in ("ASSETS", "ZOO") if name in command} <= set(line.needs), command
    assert set(line.needs) <= NEEDS.keys()
    assert list(line.needs) == sorted(line.needs)


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    line = figures.Figures(PAGES[0], 1, ("python tools/house/floors.py",), ("assets", "quiet"))
    for name in ("FGCAM_ASSETS", "QUIET"):
        monkeypatch.delenv(name, raising=False)
    assert figures.hindrance(line) == (
        "FGCAM_ASSETS is not set to a folder; times are worth nothing on a busy machine: set QUIET=1"
    )
    monkeypatch.setenv("FGCAM_ASSETS", str(tmp_path))
    monkeypatch.setenv("QUIET", "1")
    assert figures.hindrance(line) == ""


def test_a_command_that_fails_is_reported_and_its_output_kept(tmp_path: Path) -> None:
    good = figures.Figures(PAGES[0], 1, ("python tools/house/floors.py",), ())
    assert figures.run(good, tmp_path).startswith("made")
    assert "circles: none" in (tmp_path / "README.1.txt").read_text()
    bad = figures.Figures(PAGES[0], 2, ("python tools/house/floors.py --no-such-option",), ())
    assert figures.run(bad, tmp_path).startswith("failed (2)")


def test_folders_are_put_into_commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FGCAM_ASSETS", "/a")
    called = figures.words("python tools/x.py ASSETS/models/m.onnx OUT/x", tmp_path, torch=False)
    assert called[1:] == ["tools/x.py", "/a/models/m.onnx", f"{tmp_path}/x"]
