"""``fgcam methods``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

PLACES = {"base": "layer", "input": "input"}


@click.command(name="methods")
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
        click.echo(json.dumps(rows, indent=1))
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

    return [
        {
            "name": name,
            "summary": method.summary,
            "source": method.source,
            "map": PLACES[method.at],
            "settings": dict(method.settings),
            "one_graph": method.append is not None,
            "base": name in BASES and BASES[name].channels,
        }
        for name in names or METHODS
        for method in [find_method(name)]
    ]


def _show(rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from .tables import console

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("method", no_wrap=True)
    table.add_column("what it does", overflow="fold")
    table.add_column("map", no_wrap=True)
    table.add_column("settings", no_wrap=True)
    for i, row in enumerate(rows):
        what = Text(row["summary"])
        what.append(f"\n{row['source']}", style="dim")
        marks = ("*" if row["base"] else "") + ("+" if row["one_graph"] else "")
        settings = "\n".join(f"{n}={_default(v)}" for n, v in row["settings"].items())
        name = Text(row["name"], style="bold").append(f" {marks}" if marks else "", style="dim")
        table.add_row(name, what, row["map"], settings, end_section=i == len(rows) - 1)
    out = console()
    out.print(table)
    out.print()
    for line in (
        "map: at the input, or at the deepest layer; --layer chooses others where a method has them",
        "* fgcam refines it: --base NAME    + one graph, so it can be exported",
        "settings: fgcam explain ... --method rise --set masks=500",
    ):
        out.print(Text(line, style="dim"), soft_wrap=True)


def _default(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
