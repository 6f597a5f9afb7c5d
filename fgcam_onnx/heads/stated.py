"""Stated: what a caller says of an output, where the model does not tell it."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import check_known
from .background import STANDS
from .head import KINDS

DECODES = ("anchors", "auto", "cxcywh", "exp", "grid", "ltrb", "xyxy", "yxyx")
"""How boxes are written; ``anchors`` and ``exp`` are followed by sizes, ``anchors:W,H,…``."""


@dataclass(frozen=True)
class Stated:
    """What the caller says of an output.

    Attributes
    ----------
    kind : str, optional
        A row of ``KINDS``; None where the model is to tell it.
    labels : tuple of str
        Class names; empty where the model's own are to be taken.
    objectness : bool, optional
        Of boxes: whether column 4 is an objectness.
    classes : int, optional
        How many classes there are, where more columns follow them.
    background : {"first", "last", "none"}, optional
        Where the class stands that is no object, of an output with places.
    decode : str
        How a detector writes boxes, as ``targets.Detection`` has it; ``auto`` where the model is to tell it.
    """

    kind: str | None = None
    labels: tuple[str, ...] = ()
    objectness: bool | None = None
    classes: int | None = None
    background: str | None = None
    decode: str = "auto"

    def __post_init__(self) -> None:
        if self.kind is not None:
            check_known("head", self.kind, [k for k in KINDS if k != "unknown"])
        if self.background is not None:
            check_known("background", self.background, STANDS)
        check_known("decode", self.decode.partition(":")[0], DECODES)


NOTHING = Stated()
