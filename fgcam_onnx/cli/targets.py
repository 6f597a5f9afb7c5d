"""Turn ``--target`` and ``--seed`` into targets."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, OptionError, TargetError
from .values import parse_target

if TYPE_CHECKING:
    from ..explainer import Explainer
    from ..imaging import Preprocess
    from ..targets import AnyTarget

HELP = (
    "What to explain: ID or LABEL of a class; top:K, the K top classes; classes:A,B, several, a map of each; sum:A,B; "
    "diff:A,B, one less the other; element:I[,J], of the output; region:CLASS[@BOX] of a segmentation; "
    "box:BOX[@CLASS], the detection near it; like:PICTURE, likeness of the outputs. BOX is x0,y0,x1,y1 in pixels of "
    "the model's input.  [default: the top class of each picture]"
)
LARGEST_FILE = 2**30
"""Bytes of a ``--seed`` file."""


def read_targets(
    text: str | None,
    *,
    labels: Sequence[str],
    explainer: Explainer,
    preprocess: Preprocess,
    seed: Path | None = None,
    boxes: str = "auto",
) -> tuple[tuple[AnyTarget, ...], int]:
    """Return (targets, top): what to explain of each picture, or how many of its top classes.

    Raises
    ------
    TargetError
        The text is not understood, or a label is not known.
    OptionError
        Both a target and a seed are given, or the file is no array.
    """
    if seed is not None:
        from ..targets import Weighted

        if text is not None:
            raise OptionError("--target and --seed both say what to explain; give one")
        return (Weighted(read_weights(seed)),), 0
    form, colon, rest = (text or "").partition(":")
    if not colon or form not in _READERS or text in labels:
        return parse_target(text, labels)
    if form == "like":
        return (_like(rest, explainer, preprocess),), 0
    return (_READERS[form](rest, labels, boxes),), 0


def read_weights(path: Path) -> NDArray[Any]:
    """Read an array from a ``.npy`` file; nothing in it is executed.

    Raises
    ------
    OptionError
        The file is missing, too large, or no array of numbers.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise OptionError(f"{path}: above {LARGEST_FILE // 2**20} MB, too large for weights of an output")
        # mapped, a header that promises more than the file holds is refused before memory is taken
        return np.array(np.lib.format.open_memmap(path, mode="r"))
    except OSError as error:
        raise OptionError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, TypeError, EOFError, OverflowError, SyntaxError) as error:
        raise OptionError(f"{path}: not an array of numbers as numpy.save writes it ({error})") from error


def _class(text: str, labels: Sequence[str]) -> int:
    text = text.strip()
    if not text or text == "top" or text.startswith("top:"):
        raise TargetError(f"{text!r} is not a class; give an index or a label")
    (index,), _ = parse_target(text, labels)
    if not isinstance(index, int):
        raise TargetError(f"{text!r} is not a class; give an index or a label")
    return index


def _classes(text: str, labels: Sequence[str]) -> tuple[int, ...]:
    return tuple(_class(part, labels) for part in text.split(","))


def _box(text: str, form: str) -> tuple[float, ...]:
    try:
        box = tuple(float(v) for v in text.split(","))
    except ValueError:
        box = ()
    if len(box) != 4:
        raise TargetError(f"--target {form}: a box is x0,y0,x1,y1 in pixels of the model's input; got {text!r}")
    return box


def _several(text: str, labels: Sequence[str], boxes: str) -> AnyTarget:
    from ..targets import Classes

    return Classes(_classes(text, labels))


def _sum(text: str, labels: Sequence[str], boxes: str) -> AnyTarget:
    from ..targets import Sum

    return Sum(_classes(text, labels), labels=labels)


def _difference(text: str, labels: Sequence[str], boxes: str) -> AnyTarget:
    from ..targets import Difference

    pair = _classes(text, labels)
    if len(pair) != 2:
        raise TargetError(f"--target diff:{text}: write two classes, such as diff:3,5")
    return Difference(*pair, labels=labels)


def _element(text: str, labels: Sequence[str], boxes: str) -> AnyTarget:
    from ..targets import Element

    if not re.fullmatch(r"[0-9]{1,18}(,[0-9]{1,18})*", text):
        raise TargetError(f"--target element:{text}: write indices, such as element:0 or element:3,7")
    return Element(tuple(int(i) for i in text.split(",")))


def _region(text: str, labels: Sequence[str], boxes: str) -> AnyTarget:
    from ..targets import Region

    name, _, box = text.rpartition("@") if "@" in text and text not in labels else (text, "", "")
    return Region(_class(name, labels), box=_box(box, "region:CLASS@BOX") if box else None, labels=labels)


def _detection(text: str, labels: Sequence[str], boxes: str) -> AnyTarget:
    from ..targets import Detection

    box, _, name = text.partition("@")
    category = _class(name, labels) if name else None
    return Detection(_box(box, "box:BOX[@CLASS]"), category, boxes=boxes, labels=labels)


def _like(text: str, explainer: Explainer, preprocess: Preprocess) -> AnyTarget:
    from ..imaging import read_image
    from ..targets import Similarity

    if not text:
        raise TargetError("--target like: write the path of a picture, such as like:other.jpg")
    if len(explainer.model.inputs) > 1:
        raise InputError("--target like:PICTURE needs a model whose only input is the picture")
    path = Path(text)
    return Similarity(explainer.predict(preprocess(read_image(path)))[0], name=path.stem)


_READERS: dict[str, Callable[[str, Sequence[str], str], AnyTarget]] = {
    "box": _detection,
    "classes": _several,
    "diff": _difference,
    "element": _element,
    "like": lambda text, labels, boxes: None,
    "region": _region,
    "sum": _sum,
}

FORMS = frozenset(_READERS)
"""What a target may begin with, before a colon."""
