"""Options that several commands have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .values import Numbers, Size

Decorator = Callable[[Any], Any]


def together(*options: Decorator) -> Decorator:
    """Return one decorator that adds ``options`` in the order given."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


PIXELS = together(
    click.option(
        "--layout",
        type=click.Choice(["NCHW", "NHWC"]),
        help="Where the model takes colours.  [default: as its input says]",
    ),
    click.option(
        "--channels",
        type=click.Choice(["RGB", "BGR", "GREY"]),
        help="The order in which the model takes them.  [default: RGB, or GREY where it takes one]",
    ),
    click.option("--scale", type=float, help="Preprocessing is (pixel * scale - mean) / std."),
    click.option("--mean", type=Numbers(), help="What is subtracted: one number, or one for each channel."),
    click.option("--std", type=Numbers(), help="What is divided by: one number, or one for each channel."),
)
"""How pixels become numbers; overrides of ``--preprocess``."""

ENDS = together(
    click.option("--input", "input_name", metavar="NAME", help="The image input, where there are several."),
    click.option("--output", "output_name", metavar="NAME", help="The output to explain, where there are several."),
)
"""Which input and output of the model are meant."""

PICTURES = together(
    click.option(
        "--preprocess",
        "spec",
        metavar="PRESET|FILE",
        help="imagenet, cifar, tf, caffe, unit, none, or a JSON/TOML file.  "
        "[default: the model's sidecar, else a guess, which every picture is marked with]",
    ),
    click.option("--size", type=Size(), help="Model input size, where the model leaves it open."),
    click.option("--resize", type=click.Choice(["crop", "stretch", "pad"]), help="How pictures are brought to size."),
    click.option("--white", type=click.IntRange(1, 65535), help="The grey that is white in pictures of 16 bits."),
    PIXELS,
    click.option("--labels", "labels_file", type=click.Path(path_type=Path), help="Class names: .txt or .json."),
    ENDS,
)
"""How pictures are prepared for the model, and its classes named."""

RULES = together(
    click.option(
        "--residual",
        help="How residual sums share: positive, signed or ratio.  [default: positive; relevancecam and lrp: signed]",
    ),
    click.option(
        "--saturation/--straight-through",
        default=True,
        help="Whether quantizers stop the gradient where they cut off at 0.",
    ),
    click.option("--products", help="How products share: value (gates take nothing) or split.  [default: value]"),
    click.option(
        "--start",
        metavar="plain|logit|signed|contrastive|sglrp",
        help="What relevance starts from at the logits.  [default: plain; relevancecam: contrastive; "
        "deeptaylor: logit; lrp: signed where its rules turn with the logit's sign]",
    ),
)
"""How gradients and relevance are handed back."""

STYLE = together(
    click.option(
        "--on",
        type=click.Choice(["original", "model"]),
        default="original",
        help="Draw over the picture, the map at its place, or over what the model saw of it.",
    ),
    click.option("--colormap", help="Any matplotlib colormap.  [default: turbo; seismic when signed]"),
    click.option("--alpha", type=click.FloatRange(0, 1), default=0.5, help="Strength of the overlay."),
    click.option("--signed", is_flag=True, help="Show what speaks against the class, too."),
    click.option(
        "--clip",
        "percentile",
        type=click.FloatRange(0, 100, min_open=True),
        default=99.5,
        help="Per cent of a map's values that the colours end above; 100: at the largest.",
    ),
    click.option(
        "--smooth",
        type=click.FloatRange(0, 1000),
        help="Gaussian over the map, in pixels of the model's input; 0: none.  "
        "[default: 1/224 of its side for fine maps, else 0]",
    ),
    click.option(
        "--gamma",
        type=click.FloatRange(0, min_open=True),
        help="Power of the shares that colours show; 1: linear.  [default: 0.5 for fine maps, else 1]",
    ),
    click.option("--bar/--no-bar", default=True, help="The colour scale and the raw map's range below."),
)
"""How maps are drawn."""

DRAWN = ("on", "colormap", "alpha", "signed", "percentile", "smooth", "gamma", "bar")
"""Their names, those of ``imaging.Style``."""

INT8 = click.option(
    "--int8",
    type=click.Choice(["deployed", "exact"]),
    default="deployed",
    help="Products of integers as this processor computes them, or exact on every processor.",
)
"""How sums of integer products are computed."""

DEVICE = together(
    click.option("--device", default="auto", help="auto, cpu or cuda."),
    click.option("--threads", type=click.IntRange(0), default=0, help="Threads; 0 lets ONNX Runtime choose."),
)
"""What maps are computed on."""

HIRED = ("engine", "address", "workers", "gpus_per_worker")
"""What the options of `hands` are called."""


def hands(workers: str) -> Decorator:
    """Return what adds who does the work; ``workers`` says what those are."""
    return together(
        click.option(
            "--engine", type=click.Choice(["local", "ray"]), default="local", help="One process, or Ray Data."
        ),
        click.option("--address", metavar="ADDRESS", help="Of a Ray cluster.  [default: one on this machine]"),
        click.option("--workers", type=click.IntRange(1), help=workers),
        click.option(
            "--gpus-per-worker", type=click.FloatRange(0), default=0.0, help="GPUs that each of Ray's workers claims."
        ),
    )
