"""Pages of the manual as programs: their blocks in order, what each has to print, and why one is not run."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from fgcam_onnx.cli import cli

ROOT = Path(__file__).parents[2]
MANUAL = (
    *(ROOT / "docs" / f"{name}.md" for name in ("choosing", "gallery", "start", "troubleshooting")),
    *sorted((ROOT / "docs").glob("tutorials/*.md")),
    *sorted((ROOT / "docs").glob("howto/*.md")),
)
"""Pages that are read from top to bottom: each runs as one program, in a folder of its own."""

FENCE = re.compile(r"(?:^<!-- not run: (?P<why>.+) -->\n)?^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.M | re.S)
RUN = ("python", "sh")
PRINTED = 'text title="prints"'
CODE = re.compile(r"# exit code (\d+)$")


@dataclass(frozen=True)
class Block:
    """A fenced block: its info string, its text, why it is not run, and its line on the page."""

    info: str
    text: str
    why: str
    line: int


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page."""
    return [
        Block(m["info"], m["text"], m["why"] or "", page.count("\n", 0, m.start()) + 1) for m in FENCE.finditer(page)
    ]


def commands(text: str) -> Iterator[str]:
    """Return the commands of a shell block, continued lines as one, comments left out but for exit codes."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line


def shell(text: str) -> str:
    """Run a block of ``fgcam`` commands and return what they print."""
    printed = ""
    for command in commands(text):
        words = shlex.split(command, comments=True)
        assert words[0] == "fgcam", f"{command!r} is no command of ours: say above its block why it is not run"
        ran = CliRunner().invoke(cli, words[1:])
        wanted = CODE.search(command)
        refused = ran.exception is not None and not isinstance(ran.exception, SystemExit)
        assert (1 if refused else ran.exit_code) == int(wanted[1] if wanted else 0), (
            command,
            ran.output,
            ran.exception,
        )
        printed += ran.output + (f"error: {ran.exception}\n" if refused else "")
    return printed


def python(text: str, names: dict[str, Any]) -> str:
    """Run a block of Python among a page's names and return what it prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(text, "<page>", "exec"), names)
    return out.getvalue()


def missing(shown: str, printed: str) -> list[str]:
    """Return the lines shown that are not among those printed, in order; ``…`` stands for anything, space is one."""
    left, lost = [" ".join(line.split()) for line in printed.splitlines()], []
    for line in (" ".join(line.split()) for line in shown.splitlines()):
        pattern = re.compile(".*".join(re.escape(part) for part in line.split("…")))
        at = next((n for n, other in enumerate(left) if pattern.fullmatch(other)), None)
        if at is None:
            lost.append(line)
        else:
            left = left[at + 1 :]
    return lost


def run(page: str) -> list[str]:
    """Run a page's blocks in order; return the shown lines that were not printed."""
    names: dict[str, Any] = {"__name__": "page"}
    printed, lost = "", []
    for block in blocks(page):
        if block.info == PRINTED:
            lost += [f"line {block.line}: {line}" for line in missing(block.text, printed)]
        elif not block.why and block.info in RUN:
            printed = shell(block.text) if block.info == "sh" else python(block.text, names)
    return lost
