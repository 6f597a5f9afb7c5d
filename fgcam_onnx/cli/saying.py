"""What is said on the terminal: the only door for text, which is made safe there."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from ..text import shown

if TYPE_CHECKING:
    from rich.console import Console

PIPED_WIDTH = 1000
"""Columns where no terminal says how many there are: a name in a pipe is not broken."""


def say(text: str, *, err: bool = False, end: str = "\n", title: str = "", colour: str = "") -> None:
    """Write a line; a ``title`` in bold before it."""
    if title:
        click.secho(f"{title}: ", fg=colour, bold=True, err=err, nl=False)
    click.echo(shown(text) + end, err=err, nl=False)


def console(*, err: bool = False) -> Console:
    """Return a console for standard output, or the error stream."""
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class Safe(Console):
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Any]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else Segment(shown(segment.text), segment.style)

    narrow = os.environ.get("COLUMNS") or Console(stderr=err).is_terminal
    return Safe(stderr=err, highlight=False, width=None if narrow else PIPED_WIDTH)
