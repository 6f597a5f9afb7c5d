"""Background: which class stands for no object, where one does."""

from __future__ import annotations

from ..graph.model import Model
from .columns import Columns
from .names import background_of
from .pieces import pieces_of

STANDS = ("first", "last", "none")
"""Where a class that is no object stands; ``none`` where every class is an object."""

OPEN = "open"
NAMES = {"first": "background", "last": "no object"}


def stands_at(columns: Columns, count: int | None, *, names: int | None, end: str, softmax: bool) -> str:
    """Return where the class that is no object stands in a detector's scores.

    Empty where a name tells it, or nothing speaks for one: scores that end in a sigmoid, or go with an objectness, need
    none, nor do raw scores of each cell of a grid. ``open`` where the scores go by a softmax, or beside the boxes
    without an end, and no name tells which it is. An SSD has it first; of boxes that a sigmoid makes, as a DETR's, one
    class more than names stands last.

    Parameters
    ----------
    count, names : int or None
        How many classes and class names there are.
    end : str
        What the model's end makes of the scores.
    softmax : bool
        Whether a softmax over the classes makes the scores.
    """
    if columns.label is not None or columns.objectness is not None:
        return ""
    if names is not None and count == names + 1:
        return "last" if columns.beside and columns.form == "cxcywh" else OPEN
    if names is not None and count == names:
        return ""
    raw = bool(columns.beside) and columns.grid is None and not end
    return OPEN if softmax or raw else ""


def by_softmax(model: Model, output: str, count: int | None, *, axis: int) -> bool:
    """Tell whether a softmax over the classes, which stand at ``axis`` of the output, makes a detector's scores."""
    return any(p.act == "Softmax" and not p.scaled and p.width == count for p in pieces_of(model, output, axis))


def with_background(labels: tuple[str, ...], count: int, stands: str) -> tuple[str, ...]:
    """Return names of ``count`` classes, a name for the one that is no object put in where only it has none."""
    if len(labels) != count - 1 or stands not in NAMES or background_of(labels) is not None:
        return labels
    return (NAMES[stands], *labels) if stands == "first" else (*labels, NAMES[stands])
