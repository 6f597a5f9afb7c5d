"""List the tables of figures in the docs with the commands that make them, or run those that can be run here.

A table of figures stands in a section with the line "Figures by ``COMMAND``; needs NEED, NEED." In commands ASSETS
(real models and photographs), ZOO (exports with random weights) and OUT (a folder for what is made) stand for folders.

``python tools/house/figures.py`` lists the commands, what each needs, and why it cannot be run here;
``--run FOLDER`` runs the others and keeps what each prints in FOLDER, a file for each line, to read beside the docs.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "exported_models" / "README.md")
LINE = re.compile(r"^Figures by (`.+?`)(?:; needs ([\w, -]+))?\.$", re.MULTILINE)
FIGURE = re.compile(r"\d\.\d|\de-\d|\d %|\| *\d+ *\|")
PEERS = ROOT / os.environ.get("PEERS", ".venv-peers") / "bin" / "python"
FOLDERS = {"ASSETS": "FGCAM_ASSETS", "ZOO": "FGCAM_ZOO"}


@dataclass(frozen=True)
class Figures:
    """A line of the docs: the page, its number there, the commands, and what they need."""

    page: Path
    number: int
    commands: tuple[str, ...]
    needs: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the file with its output is called."""
        return f"{'-'.join(self.page.relative_to(ROOT).with_suffix('').parts)}.{self.number}"


def folder(name: str) -> str:
    """Return why the folder that ``name`` stands for is not known, or nothing."""
    value = os.environ.get(FOLDERS[name], "")
    return "" if value and Path(value).is_dir() else f"{FOLDERS[name]} is not set to a folder"


NEEDS: dict[str, Callable[[], str]] = {
    "assets": lambda: folder("ASSETS"),
    "frameworks": lambda: "an environment for each framework: make exporting",
    "hours": lambda: "" if os.environ.get("HOURS") else "it takes long: set HOURS=1",
    "onnx-ad": lambda: "an environment with onnx-ad and exports with random weights: see its --help",
    "openvino-xai": lambda: "an environment with an older numpy: see its docstring",
    "quiet": lambda: "" if os.environ.get("QUIET") else "times are worth nothing on a busy machine: set QUIET=1",
    "runtimes": lambda: "" if (ROOT / ".venv-runtimes").is_dir() else "the runtimes are not installed: make runtimes",
    "torch": lambda: "" if PEERS.is_file() else "PyTorch and the peers are not installed: make peers",
    "zoo": lambda: folder("ZOO"),
}
"""What a command may need, and what says why it is not here, or nothing."""


def sections(page: Path) -> Iterator[str]:
    """Return the parts of a page, each from a heading of the first two ranks to the next, code left out."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    yield from re.split(r"^(?=##? )", text, flags=re.MULTILINE)


def tables(section: str) -> list[str]:
    """Return the tables of figures of a section: three cells or more hold a measured number."""
    found = re.findall(r"(?:^ *\|.*\n)+", section, re.MULTILINE)
    return [table for table in found if len(FIGURE.findall(table.split("\n", 2)[2])) > 2]


def figures(page: Path) -> list[Figures]:
    """Return the lines of a page that say how figures are made."""
    return [
        Figures(page, number, tuple(re.findall("`([^`]+)`", commands)), tuple(needs.split(", ") if needs else ()))
        for number, (commands, needs) in enumerate(LINE.findall(page.read_text()), 1)
    ]


def hindrance(made: Figures) -> str:
    """Return why the commands cannot be run here, or nothing."""
    return "; ".join(reason for need in made.needs if (reason := NEEDS[need]()))


def words(command: str, out: Path, *, torch: bool) -> list[str]:
    """Return a command with its folders and its interpreter put in."""
    places = {name: os.environ.get(variable, "") for name, variable in FOLDERS.items()} | {"OUT": str(out)}
    python = str(PEERS) if torch else sys.executable
    return [re.sub(r"ASSETS|ZOO|OUT", lambda m: places[m[0]], word) for word in [python, *shlex.split(command)[1:]]]


def run(made: Figures, out: Path) -> str:
    """Run the commands and keep what they print; return what became of them."""
    with (out / f"{made.name}.txt").open("w") as file:
        for command in made.commands:
            file.write(f"$ {command}\n")
            file.flush()
            called = words(command, out, torch="torch" in made.needs)
            done = subprocess.run(called, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, check=False)
            if done.returncode:
                return f"failed ({done.returncode}), see {file.name}"
    return f"made: {file.name}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, metavar="FOLDER", help="run what can be run here")
    parser.add_argument("--only", default="", metavar="WORD", help="lines with this word in the page or a command")
    asked = parser.parse_args()
    failed = False
    for made in (line for page in PAGES for line in figures(page)):
        if asked.only not in f"{made.name} {made.commands}":
            continue
        print(f"{made.name}: {'; '.join(made.commands)}", flush=True)
        if reason := hindrance(made):
            print(f"    not here: {reason}")
        elif asked.run:
            asked.run.mkdir(parents=True, exist_ok=True)
            became = run(made, asked.run.resolve())
            failed |= became.startswith("failed")
            print(f"    {became}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
