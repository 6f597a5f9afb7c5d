"""``fgcam demo``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..errors import InputError
from . import explain
from .grouping import Command
from .saying import say

PACKAGE = Path(__file__).parents[1]
PLACES = (PACKAGE / "exported_models", PACKAGE.parent / "exported_models")
"""Where the bundled models are: inside the installed package, beside it in a checkout."""


def bundled() -> Path:
    """Return the folder of the bundled models and pictures.

    Raises
    ------
    InputError
        It is not there.
    """
    found = next((place for place in PLACES if os.path.isdir(place / "pictures")), None)
    if found is None:
        raise InputError(f"the bundled models are not in {PLACES[0]}: install the package again")
    return found


@click.command(name="demo", cls=Command, context_settings={"show_default": True})
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("demo"), help="Output folder.")
def command(out: Path) -> None:
    """Explain the bundled pictures with the bundled models, and say where models and overlays are.

    \b
    fgcam demo
    """  # noqa: D301
    models = bundled()
    vgg, resnet = (models / f"{name}.onnx" for name in ("vgg_shapes.dynamo", "resnet_shapes.torchscript"))
    pictures = models / "pictures"
    runs: dict[Path, tuple[Path, Path, list[str]]] = {
        out / "fgcam": (vgg, pictures, ["--layer", "input", "--layer", "features.10"]),
        out / "two": (resnet, pictures / "two.png", ["--target", "top:2"]),
    }
    for folder, (model, images, options) in runs.items():
        explain.command.main([*map(str, (model, images, "-o", folder)), *options], standalone_mode=False)
    say(f"models:   {models}")
    say(f"overlays: {', '.join(f'{folder}/*.png' for folder in runs)}; one sheet for each picture: *.sheet.png")
