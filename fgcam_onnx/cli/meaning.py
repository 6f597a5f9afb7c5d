"""What the output means, and the names of its classes: said by options, or found out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..preparing import OVERRIDES, Preparation, labels_file_of, prepare
from .options import together
from .saying import say

if TYPE_CHECKING:
    from ..graph.model import Model
    from ..heads import Head, Stated

MEANING = together(
    click.option(
        "--head",
        metavar="KIND",
        help="What the output is: classes, several (heads of classes), map (of classes), boxes, embedding or number.  "
        "[default: as the model tells it]",
    ),
    click.option(
        "--objectness/--no-objectness",
        default=None,
        help="Whether a detector's fifth attribute is an objectness.  [default: as the model tells it]",
    ),
    click.option(
        "--classes",
        "class_count",
        type=click.IntRange(1),
        metavar="N",
        help="How many classes a detector's boxes have, if more follows them.  [default: as the model tells it]",
    ),
    click.option(
        "--decode",
        metavar="FORM",
        default="auto",
        help="How a detector writes boxes: auto, cxcywh, xyxy, yxyx, or by the cells of grids: grid, ltrb, "
        "anchors:W,H,… or exp:W,H,…",
    ),
    click.option(
        "--background",
        metavar="first|last|none",
        help="Which class of an output with places is no object: an SSD's first, a DETR's last, a reader's blank.  "
        "[default: as the model or the labels tell it]",
    ),
)
"""What the output means, where the model does not tell it."""


@dataclass(frozen=True)
class Opened:
    """A model that takes pictures, how they are prepared for it, and what its output means.

    Attributes
    ----------
    model : Model
    prepared : Preparation
    labels_file : Path, optional
        Of the names of its classes.
    stated : Stated
        What was said of its output.
    head : Head
        What it means.
    """

    model: Model
    prepared: Preparation
    labels_file: Path | None
    stated: Stated
    head: Head


def opened(path: Path, options: Mapping[str, Any]) -> Opened:
    """Open a model as the options say, and say what had to be settled of its output.

    Raises
    ------
    FgcamError
        The model cannot be read, or an option does not fit it.
    """
    from ..arguments import image_input
    from ..heads import meaning_of
    from ..loading.loading import load

    model = load(path)
    image = image_input(model.inputs, options["input_name"])
    prepared = prepare(model, options["spec"], image=image, **{k: options[k] for k in OVERRIDES})
    labels_file = labels_file_of(path, options["labels_file"])
    meant = stated(options, labels_file)
    head = meaning_of(model, options["output_name"], source=image.name, stated=meant)[1]
    noted(head)
    return Opened(model, prepared, labels_file, meant, head)


def stated(options: Mapping[str, Any], labels_file: Path | None) -> Stated:
    """Return what the options say of the output; a sidecar's names are not for what has none."""
    from ..heads import Stated
    from ..imaging import read_labels

    nameless = options["head"] in ("embedding", "number") and options["labels_file"] is None
    labels = read_labels(labels_file) if labels_file is not None and not nameless else ()
    return Stated(
        options["head"], tuple(labels), options["objectness"], options["class_count"], options["background"],
        options["decode"],
    )  # fmt: skip


def noted(head: Head) -> None:
    """Say what had to be settled of an output."""
    for note in head.notes:
        say(f"note: {note}", err=True)
