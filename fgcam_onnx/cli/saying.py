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


QUIET, VERBOSE = "fgcam.quiet", "fgcam.verbose"
"""Under what names a command's context keeps how much is to be said."""


def is_said(level: str) -> bool:
    """Tell whether ``--quiet`` or ``--verbose`` was given to the command that runs."""
    ctx = click.get_current_context(silent=True)
    return ctx is not None and bool(ctx.meta.get(level))


def _unheard(text: str, *, err: bool, title: str) -> bool:
    """Tell whether ``--quiet`` leaves a line out: all but JSON that was asked for, errors, and failures."""
    if not is_said(QUIET):
        return False
    ctx = click.get_current_context()
    return title == "warning" or text.startswith("note:") if err else not ctx.params.get("as_json")


def say(text: str, *, err: bool = False, end: str = "\n", title: str = "", colour: str = "") -> None:
    """Write a line, a ``title`` in bold before it; notes and results are left out where the command is quiet."""
    if _unheard(text, err=err, title=title):
        return
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
    silent = not err and is_said(QUIET)
    return Safe(stderr=err, highlight=False, width=None if narrow else PIPED_WIDTH, quiet=silent)
