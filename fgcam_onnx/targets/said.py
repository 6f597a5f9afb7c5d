"""What is to be explained, as people write it: ``collie``, ``top:3``, ``diff:cat,dog``, ``box:0,0,9,9@cat``.

The one grammar of targets, for the command line and for Python.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import TargetError
from ..imaging import find_label
from .classes import Classes, Difference, Element, Sum
from .detections import Detection
from .objective import Objective
from .ranked import Top
from .regions import Region
from .similarity import Similarity

Said = int | Classes | Objective | Top | None
"""What a text can mean."""

Embed = Callable[[Path], NDArray[np.float32]]
"""Returns the model's output for a picture file."""


def target_of(text: str, *, labels: Sequence[str] = (), boxes: str = "auto", embed: Embed | None = None) -> Said:
    """Return what ``text`` means; None for ``top``, the top class or what else is explained unasked.

    Parameters
    ----------
    text : str
        An index or a label of a class, ``top``, ``top:K``, or one of ``FORMS`` with what it is of. A label that has
        the form of a target is taken as the label.
    labels : sequence of str
        Class names, by index.
    boxes : str
        How a detector writes boxes, as for `Detection`.
    embed : callable, optional
        What ``like:PICTURE`` is computed by.

    Raises
    ------
    TargetError
        It is not understood, or a label is not known.
    """
    form, colon, rest = text.partition(":")
    if text in labels or not ((colon and form in _READERS) or form == "top"):
        return class_of(text, labels)
    if not colon:
        return None
    return _READERS[form](rest, labels, boxes, embed)


def class_of(text: str, labels: Sequence[str]) -> int:
    """Return the class that an index or a label means.

    Raises
    ------
    TargetError
        It is neither, or there are no labels.
    """
    if re.fullmatch(r"-?[0-9]{1,18}", text.strip()) and text not in labels:
        return int(text)
    if not text.strip():
        raise TargetError(f"{text!r} is not a class; give an index or a label")
    if not labels:
        raise TargetError(
            f"target {text!r} is a label, no class index, and there are no labels; pass labels= (--labels FILE)"
        )
    return find_label(labels, text)


def _classes(text: str, labels: Sequence[str]) -> tuple[int, ...]:
    return tuple(_one(part.strip(), labels) for part in text.split(","))


def _one(text: str, labels: Sequence[str]) -> int:
    if text not in labels and text.partition(":")[0] == "top":
        raise TargetError(f"{text!r} is not a class; give an index or a label")
    return class_of(text, labels)


def _box(text: str, form: str) -> tuple[float, ...]:
    try:
        box = tuple(float(v) for v in text.split(","))
    except ValueError:
        box = ()
    if len(box) != 4:
        raise TargetError(f"target {form}: a box is x0,y0,x1,y1 in pixels of the model's input; got {text!r}")
    return box


def _top(text: str, labels: Sequence[str], boxes: str, embed: Embed | None) -> Said:
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", text):
        raise TargetError(f"target top:{text}: write top:K with K at least 1, such as top:3")
    return Top(int(text))


def _several(text: str, labels: Sequence[str], boxes: str, embed: Embed | None) -> Said:
    return Classes(_classes(text, labels))


def _sum(text: str, labels: Sequence[str], boxes: str, embed: Embed | None) -> Said:
    return Sum(_classes(text, labels), labels=labels)


def _difference(text: str, labels: Sequence[str], boxes: str, embed: Embed | None) -> Said:
    pair = _classes(text, labels)
    if len(pair) != 2:
        raise TargetError(f"target diff:{text}: write two classes, such as diff:3,5")
    return Difference(*pair, labels=labels)


def _element(text: str, labels: Sequence[str], boxes: str, embed: Embed | None) -> Said:
    if not re.fullmatch(r"[0-9]{1,18}(,[0-9]{1,18})*", text):
        raise TargetError(f"target element:{text}: write indices, such as element:0 or element:3,7")
    return Element(tuple(int(i) for i in text.split(",")))


def _region(text: str, labels: Sequence[str], boxes: str, embed: Embed | None) -> Said:
    name, _, box = text.rpartition("@") if "@" in text and text not in labels else (text, "", "")
    return Region(_one(name, labels), box=_box(box, "region:CLASS@BOX") if box else None, labels=labels)


def _detection(text: str, labels: Sequence[str], boxes: str, embed: Embed | None) -> Said:
    box, _, name = text.partition("@")
    category = _one(name, labels) if name else None
    return Detection(_box(box, "box:BOX[@CLASS]"), category, boxes=boxes, labels=labels)


def _like(text: str, labels: Sequence[str], boxes: str, embed: Embed | None) -> Said:
    if not text:
        raise TargetError("target like: write the path of a picture, such as like:other.jpg")
    if embed is None:
        raise TargetError("target like:PICTURE is not to be had here")
    return Similarity(embed(Path(text)), name=Path(text).stem)


_READERS: dict[str, Callable[[str, Sequence[str], str, Embed | None], Said]] = {
    "box": _detection,
    "classes": _several,
    "diff": _difference,
    "element": _element,
    "like": _like,
    "region": _region,
    "sum": _sum,
    "top": _top,
}

FORMS = frozenset(_READERS)
"""What a target may begin with, before a colon."""
