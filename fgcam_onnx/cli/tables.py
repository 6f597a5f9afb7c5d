"""Tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from ..pictures import Picture


def explanations_table(pictures: Sequence[Picture], *, preprocess: str, summary: Path) -> None:
    """Print what was explained of each picture, and where the files are."""
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, justify in (("picture", "left"), ("class", "left"), ("probability", "right")):
        table.add_column(title, justify=justify, overflow="fold")  # type: ignore[arg-type]
    table.add_column("conserved", justify="right")
    table.add_column("file", overflow="fold")
    for picture in pictures:
        if picture.error:
            table.add_row(Text(picture.path.name), Text("failed", style="red"), "", "", "")
        for e in picture.explained:
            kept = [f"{v:.4f}" if v is not None else "-" for v in e.conservation.values()]
            name = e.label.split(",")[0]
            label = f"{e.target} {name}" if name != str(e.target) else name
            for i, file in enumerate(e.files):
                table.add_row(
                    Text(picture.path.name if not i else ""),
                    Text(label if not i else ""),
                    f"{e.probability:.3f}" if not i else "",
                    kept[i] if i < len(kept) else "",
                    Text(Path(file).name),
                )
    console.print(table)
    console.print(Text(f"preprocessing: {preprocess}"), style="dim")
    console.print(Text(f"written to {summary.parent}/, summary in {summary}"), style="dim", soft_wrap=True)


def rows_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a titled table."""
    console = Console(highlight=False)
    console.print(Text(f"\n{title}"), style="bold")
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(v)) for v in row))
    console.print(table)
