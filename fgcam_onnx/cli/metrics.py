"""``fgcam metrics``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from .grouping import Command
from .saying import say


@click.command(name="metrics", cls=Command)
@click.argument("names", nargs=-1, metavar="[METRIC]...")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(names: tuple[str, ...], as_json: bool) -> None:
    """List the metrics: what each says, which way is better, what it needs, and who published it.

    They are given to evaluate by --metrics NAME, or NAME@CELLS for maps averaged over cells of so many pixels.

    \b
    fgcam metrics
    fgcam metrics insertion road
    """  # noqa: D301
    rows = rows_of(names)
    if as_json:
        say(json.dumps(rows, indent=1))
    else:
        _show(rows)


def rows_of(names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return what is known of the metrics called ``names``, or of all, as plain values.

    Raises
    ------
    OptionError
        No such metric.
    """
    from ..metrics import METRICS, USUAL, find_metric

    usual = {m.name.split("@")[0]: m.cells for m in USUAL}
    return [
        {
            "name": name,
            "summary": metric.summary,
            "better": metric.better,
            "needs": [n for n, there in (("boxes or masks", metric.needs_region), ("more maps", metric.asks)) if there],
            "runs": metric.runs,
            "source": metric.source,
            "usual": usual.get(name, 0),
        }
        for name in names or METRICS
        for metric in [find_metric(name)]
    ]


def _show(rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.text import Text

    from .saying import console
    from .tables import table_of

    table: list[list[str | Text]] = []
    for row in rows:
        said = Text(row["summary"]).append(f"\n{row['source']}", style="dim")
        needs = [*row["needs"], *([f"{row['runs']} runs of the model"] if row["runs"] else [])]
        if needs:
            said.append(f"\n{', '.join(needs)}", style="cyan")
        if row["usual"]:
            at = f" @{row['usual']}" if row["usual"] > 1 else ""
            said.append(f"  measured when nothing is said{at}", style="green")
        arrow = "↑" if row["better"] == "higher" else "↓"
        table.append([Text(f"{row['name']} {arrow}", style="bold"), said])
    out = console()
    out.print(table_of([("", "left"), ("", "left")], table))
    out.print(Text("↑ higher is better, ↓ lower. `fgcam evaluate` measures them."), style="dim", soft_wrap=True)
