"""The terminal has one door."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from fgcam_onnx import cli

ROOM = Path(cli.__file__).parent
DOOR = "saying.py"
WRITERS = {"click.echo", "click.secho", "click.style", "print", "sys.stdout.write", "sys.stderr.write", "Console"}


def written_past(source: str) -> list[str]:
    """Return the calls in ``source`` that write to the terminal themselves."""
    calls = [ast.unparse(n.func) for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)]
    return [call for call in calls if call in WRITERS or call.removeprefix("click.") in ("echo", "secho")]


def test_every_word_of_the_command_line_goes_through_what_makes_text_safe() -> None:
    found = {f.name: written_past(f.read_text()) for f in ROOM.rglob("*.py")}
    assert set(found.pop(DOOR)) == {"click.echo", "click.secho", "Console"}
    assert {name: calls for name, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    "line", ["click.echo(x)", "echo(x)", "print(x)", "Console(stderr=True)", "sys.stderr.write(x)"]
)
def test_a_word_that_goes_past_it_is_found(line: str) -> None:
    assert written_past(f"def f(x):\n    {line}\n")
