"""``fgcam methods``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from .grouping import Command
from .saying import say

PLACES = {"base": "layer", "input": "input", "stage": "stage"}
"""What a method's default place is called."""

HEADINGS = {
    "input": "With a map at the input",
    "layer": "With a map at a layer, by default the deepest",
    "stage": "With a map at a layer, by default the end of an earlier stage",
}


@click.command(name="methods", cls=Command)
@click.argument("names", nargs=-1, metavar="[METHOD]...")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(names: tuple[str, ...], as_json: bool) -> None:
    """List the methods: what each does, who published it, where its map is, and its settings.

    Settings are given to explain by --set NAME=VALUE; here they stand with their defaults.

    \b
    fgcam methods
    fgcam methods rise occlusion
    """  # noqa: D301
    rows = rows_of(names)
    if as_json:
        say(json.dumps(rows, indent=1))
    else:
        _show(rows)


def rows_of(names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return what is known of the methods called ``names``, or of all, as plain values.

    Raises
    ------
    OptionError
        No such method.
    """
    from ..methods import BASES, METHODS, find_method
    from ..methods.taking import taken

    return [
        {
            "name": name,
            "summary": method.summary,
            "source": method.source,
            "map": PLACES[method.at],
            "settings": dict(method.settings),
            "options": sorted(taken(name)),
            "one_graph": method.append is not None,
            "base": name in BASES and BASES[name].channels,
        }
        for name in names or METHODS
        for method in [find_method(name)]
    ]


def _show(rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from .saying import console

    out = console()
    for place, heading in HEADINGS.items():
        chosen = [row for row in rows if row["map"] == place]
        if not chosen:
            continue
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        table.add_column(no_wrap=True, min_width=max(len(_name(row)) for row in rows))
        table.add_column(overflow="fold")
        for row in chosen:
            what = Text(row["summary"]).append(f"\n{row['source']}", style="dim")
            if row["settings"]:
                what.append("\n").append("  ".join(f"{n}={_default(v)}" for n, v in row["settings"].items()), "cyan")
            table.add_row(Text(_name(row), style="bold"), what)
        out.print(Text(heading, style="dim"))
        out.print(table)
        out.print()
    for line in (
        "* fgcam refines it: --base NAME     + one graph: fgcam export writes it to a file",
        "Settings are given by --set NAME=VALUE, a layer by --layer NAME.",
    ):
        out.print(Text(line, style="dim"), soft_wrap=True)


def _name(row: Mapping[str, Any]) -> str:
    marks = ("*" if row["base"] else "") + ("+" if row["one_graph"] else "")
    return f"{row['name']} {marks}" if marks else str(row["name"])


def _default(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
