"""Tables of what every operator makes of relevance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.text import Text

from .saying import console
from .tables import Justify, table_of

WHOLE = 5e-5
"""A share that differs from all by less is all."""

NOTHING = 1e-6
"""What starts with less, as contrasts of classes that sum to 0 do, has no shares."""

COLUMNS: tuple[tuple[str, Justify], ...] = (
    ("operator", "left"), ("node", "left"), ("arrives", "right"), ("leaves", "right"), ("kept", "right"),
    ("of the start", "right"),
)  # fmt: skip


def trace_tables(pictures: Iterable[Mapping[str, Any]]) -> None:
    """Print, for each explanation, the operators that absorb or make relevance, from the score to the layer."""
    out = console()
    for picture in pictures:
        for e in picture.get("explanations", ()):
            if not (trace := e.get("trace")):
                continue
            start = trace[0]["arriving"]
            start = start if abs(start) > NOTHING else 0.0
            rows = [row(step, start) for step in trace if not whole(step, start)]
            of = f"{Path(picture['image']).name}, {e['label'].split(',')[0]}"
            out.print()
            out.print(Text(f"{of}: relevance {start:.4g} handed back"))
            if rows:
                out.print(table_of(COLUMNS, rows))
            others = len(trace) - len(rows)
            out.print(Text(f"{others} of {len(trace)} operators hand on all that they get", style="dim"))


def whole(step: dict[str, Any], start: float) -> bool:
    """Tell whether an operator hands on what it gets, up to rounding."""
    scale = max(abs(step["arriving"]), 1e-3 * abs(start))
    return bool(abs(step["leaving"] - step["arriving"]) <= WHOLE * scale)


def row(step: dict[str, Any], start: float) -> list[str | Text]:
    """Return the cells of one operator."""
    arriving, leaving = step["arriving"], step["leaving"]
    kept = Text(_share(leaving, arriving))
    if arriving and not 0 <= leaving / arriving <= 1 + WHOLE:
        kept.stylize("yellow")
    return [step["op"], step["node"], f"{arriving:.4g}", f"{leaving:.4g}", kept, _share(leaving, start)]


def _share(part: float, of: float) -> str:
    return f"{part / of:.1%}" if of else "-"
