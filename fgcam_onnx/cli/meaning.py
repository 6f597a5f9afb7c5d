"""What the output means, and the names of its classes: said by options, or found out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import together
from .saying import say

if TYPE_CHECKING:
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
        "--background",
        metavar="first|last|none",
        help="Which class of an output with places is no object: an SSD's first, a DETR's last, a reader's blank.  "
        "[default: as the model or the labels tell it]",
    ),
)
"""What the output means, where the model does not tell it."""


def stated(options: Mapping[str, Any], labels_file: Path | None) -> Stated:
    """Return what the options say of the output; a sidecar's names are not for what has none."""
    from ..heads import Stated
    from ..imaging import read_labels

    nameless = options["head"] in ("embedding", "number") and options["labels_file"] is None
    labels = read_labels(labels_file) if labels_file is not None and not nameless else ()
    return Stated(options["head"], tuple(labels), options["objectness"], options["class_count"], options["background"])


def noted(head: Head) -> None:
    """Say what had to be settled of an output."""
    for note in head.notes:
        say(f"note: {note}", err=True)
