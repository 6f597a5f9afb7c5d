"""Doubts: maps that may be no map of classes, but another picture, or a number at each place."""

from __future__ import annotations

from typing import Any

from ..graph.facts import facts_of, producers_of
from ..graph.model import Model
from ..graph.operators import VIEWS
from ..graph.shapes import Shape
from .head import Head
from .names import metadata_of

NUMBERS = ("depth",)
"""Ultralytics' tasks whose output is a number at each place."""


def may_be_map(model: Model, shape: Shape, *, source: str) -> bool:
    """Tell whether an answer of ``shape`` has the axes of a map of classes: those of a picture, or of the input."""
    axes = [len(i.shape) - 2 for i in model.inputs if i.name == source and source in facts_of(model).channel_axis]
    return len(shape) - 1 in (2, *axes)


def doubt_of_map(model: Model, output: str, head: Head, end: str, *, source: str, names: int | None) -> dict[str, Any]:
    """Return what of ``head``, a map by its shape, is to be said otherwise; nothing where classes are shown.

    An output as large as the picture with as many channels may be a picture that the net makes: where its end keeps
    values in a range, that is asked, else the map is a guess. One channel is a mask
    where it ends in a sigmoid; numbers that are never negative, such as depths, have no region above 0.
    """
    if end == "softmax" or head.axis is None:
        return {}
    told = metadata_of(model).get("task", "")
    if head.count == 1 and end != "sigmoid":
        if told in NUMBERS or output in facts_of(model).non_negative:
            return {"kind": "unknown", "axis": None, "count": None, "why": "a number at each place, as of depths"}
        return {"guessed": True, "why": "places of a picture, the class where its one channel is above 0"}
    shape = next(i.shape for i in model.inputs if i.name == source)
    axis = facts_of(model).channel_axis.get(source, 1)
    one = shape[1:] if len(shape) == len(head.shape) + 1 else ()
    channels = one[axis - 1] if one and axis else None
    sides = [d for a, d in enumerate(one, 1) if a != axis]
    own = [d for a, d in enumerate(head.shape) if a != head.axis]
    alike = head.count == channels and head.count != 1 and sides == own
    if not alike or (names is not None and names == head.count):
        return {}
    why = "as large as the picture, and with its channels: a picture that the net makes, or a map of classes"
    if end == "sigmoid" or _bounded(model, output):
        return {"kind": "unknown", "axis": None, "count": None, "why": why}
    note = "the output may be a picture that the net makes: it is as large as its input. It is read as a map of classes"
    return {"guessed": True, "why": why, "notes": (note,)}


def _bounded(model: Model, output: str) -> bool:
    """Tell an end that keeps values in a range, as those of pixels are."""
    producers, name = producers_of(model), output
    while (node := producers.get(name)) is not None and node.op_type in VIEWS:
        name = node.input[0]
    return node is not None and node.op_type in ("Clip", "HardSigmoid", "Sigmoid", "Tanh")
