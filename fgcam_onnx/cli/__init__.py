"""The command line: turns strings into values, nothing more. Each command is imported when it is used.

Imports anything.
"""

from __future__ import annotations

import importlib
import io
import sys
import warnings
from typing import Any, NoReturn

import click

from ..errors import FgcamError
from ..version import __version__
from .saying import say

COMMANDS = {
    "demo": "Explain the bundled pictures with the bundled models: a first look.",
    "explain": "Explain predictions on pictures: what the model looks at, as overlays or raw maps.",
    "batch": "Explain a data set of any size into Parquet: resumable, in one process or on Ray.",
    "export": "Write a model and its explanation as one ONNX file, for any ONNX runtime.",
    "page": "Write a page that explains pictures by a model in the browser's tab.",
    "inspect": "Show what is in a model: inputs, outputs, layers to explain at, operators without rules.",
    "sweep": "Explain one picture at every stage by several methods, on one sheet.",
    "evaluate": "Measure how good maps are: metrics with intervals, beside maps that know nothing of the model.",
    "audit": "Tell whether a deployed model still predicts, and looks at, what its reference does.",
    "methods": "List the methods: what each does, who published it, where its map is, its settings.",
    "metrics": "List the metrics: what each says, which way is better, what it needs, who published it.",
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, so that help is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, or None."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f".{cmd_name}", __name__).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command, suggesting a near one for a misspelt name."""
        from ..errors import suggest

        if args and args[0] not in COMMANDS:
            ctx.fail(f"No such command {args[0]!r}.{suggest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fgcam")
def cli() -> None:
    """Explain the predictions of an exported model.onnx, without the framework it was trained in.

    \b
    fgcam inspect model.onnx
    fgcam explain model.onnx cat.jpg --preprocess imagenet --labels labels.txt -o out
    fgcam export model.onnx -o explained.onnx

    
    Exit codes: 0 done; 1 an error, a picture that failed, an audit that fails; 2 wrong usage, an audit that
    cannot be judged; 130 stopped with Ctrl-C.

    
    Completion of options and values: eval "$(_FGCAM_COMPLETE=bash_source fgcam)" (or zsh_source, fish_source)
    """  # noqa: D301


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    say(str(message), err=True, title="warning", colour="yellow")


def main() -> NoReturn:
    """Run the command line; an expected error is one line and exit code 1, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        written = io.StringIO()
        error.show(written)
        say(written.getvalue(), err=True, end="")
        code = error.exit_code
    except click.Abort:
        say("Aborted.", err=True)
        code = 130
    except FgcamError as error:
        say(str(error), err=True, title="error", colour="red")
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
