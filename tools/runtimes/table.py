"""The table of the docs: what was run where, and how far it was off."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BEGIN, END = "<!-- table: written by make runtimes -->", "<!-- end of table -->"


@dataclass(frozen=True)
class Cell:
    """How one case went in one runtime: the largest difference, or why there is none."""

    row: str
    net: str
    off: float = 0.0
    failed: str = ""


def table(rows: Sequence[str], columns: Mapping[str, Sequence[Cell]], *, by: str) -> str:
    """Return a Markdown table of the worst of each row in each runtime; ``by`` is a field of the cells."""
    lines = [f"| {by} | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
    for row in rows:
        cells = [[c for c in found if (c.row if by == "method" else c.net) == row] for found in columns.values()]
        lines.append(f"| {row} | " + " | ".join(map(_said, cells)) + " |")
    return "\n".join(lines)


def _said(cells: Sequence[Cell]) -> str:
    if not cells:
        return "–"
    failed = sorted({c.net for c in cells if c.failed})
    if failed:
        return f"fail ({', '.join(failed)})"
    worst = max(c.off for c in cells)
    return f"pass, {worst:.0e}" if worst else "pass, 0"


def form(text: str) -> str:
    """Return a table without its figures and versions: what must be the same when it is made again."""
    text = re.sub(r"pass, [-+0-9.e]+", "pass", text)
    return re.sub(r"^- ([^:]+): .*$", r"- \1", text, flags=re.MULTILINE)


def read(page: Path) -> str:
    """Return what stands between the marks."""
    return page.read_text().partition(BEGIN)[2].partition(END)[0].strip()


def write(page: Path, text: str) -> None:
    """Put ``text`` between the marks."""
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}")
