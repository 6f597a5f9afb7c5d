"""What is said once is said once: an option given twice is refused, whichever command has it."""

from __future__ import annotations

import importlib
from typing import Any

import click
import pytest

from fgcam_onnx.cli import COMMANDS

OPTIONS = [
    pytest.param(command, option, id=f"{name} {option.opts[0]}")
    for name in COMMANDS
    for command in [importlib.import_module(f"fgcam_onnx.cli.{name}").command]
    for option in command.params
    if isinstance(option, click.Option)
]


def twice(option: click.Option) -> list[str]:
    """Write an option two times, a pair of flags one way and the other."""
    if option.is_flag:
        return [option.opts[0], (option.secondary_opts or option.opts)[0]]
    return [option.opts[0], "1", option.opts[-1], "2"]


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_an_option_that_is_taken_once_is_refused_the_second_time(command: click.Command, option: click.Option) -> None:
    switch = option.is_flag and not option.secondary_opts
    try:
        command.make_context("fgcam", twice(option), resilient_parsing=False)
        said = ""
    except (click.ClickException, click.exceptions.Exit) as error:
        said = error.message if isinstance(error, click.ClickException) else ""
    assert ("is given 2 times" in said) is not (option.multiple or switch), said
    assert option.multiple or switch or (option.help or "").split("  ")[0] in said


def test_the_error_tells_how_several_are_said(fgcam: Any) -> None:
    ran = fgcam("explain", "net.onnx", "photo.png", "--target", "star", "--target", "ring")
    assert ran.code == 2
    assert "--target is given 2 times" in ran.err
    assert "classes:A,B, several, a map of each" in ran.err
