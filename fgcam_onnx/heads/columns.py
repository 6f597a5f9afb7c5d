"""Columns: where a detector's boxes, objectness and classes stand, read off the graph and what the file says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..graph.facts import producers_of
from ..graph.indices import indices_of
from ..graph.model import Model, dims_of
from ..graph.score import DETECTIONS
from .pieces import Piece, made_of, pieces_of

COCO = 80
END_TO_END = (6, 38, 57)
"""Attributes of Ultralytics' boxes after the choice of the best: corners, score and class, then masks' or points'."""


@dataclass(frozen=True)
class Columns:
    """Where things stand in the attributes of a box.

    Attributes
    ----------
    turned : bool
        Whether the attributes come first: (N, attributes, boxes).
    first, count : int
        The first class, and how many there are.
    objectness : int or None
        Where the objectness stands.
    label : int or None
        Where the number of the class stands, of detectors that give each box one score, which is then at ``first``.
    form : str
        How boxes are written, as ``targets.Detection`` has it.
    beside : str
        The output that holds the boxes; empty where it is this one.
    at, sides : int
        The first number of the box, and how many it has: 4, or 4 distributions.
    grid : (int, int), optional
        Height and width of the grid of which each cell has boxes, of an output that is laid out as one.
    anchors : int
        How many boxes a cell of it has.
    raw : bool
        Whether objectness and scores are before their sigmoid.
    known : bool
        Whether the graph, the labels or the file tell it; where not, whether there is an objectness is open.
    shown : bool
        Whether the graph shows that these are boxes.
    why : str
    """

    turned: bool
    first: int
    count: int
    objectness: int | None = None
    label: int | None = None
    form: str = "auto"
    beside: str = ""
    at: int = 0
    sides: int = 4
    grid: tuple[int, int] | None = None
    anchors: int = 1
    raw: bool = False
    known: bool = True
    shown: bool = False
    why: str = ""

    def summary(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "attributes": "first" if self.turned else "last",
            "objectness": self.objectness,
            "first_class": self.first,
            "class_number": self.label,
            "boxes": self.form,
            "grid": None if self.grid is None else [*self.grid],
            "boxes_of_a_cell": None if self.grid is None else self.anchors,
            "boxes_from": self.beside or None,
            "known": self.known,
            "why": self.why,
        }


def columns_of(
    model: Model,
    name: str,
    sides: tuple[int, int],
    *,
    axes: tuple[int, int],
    labels: int | None,
    told: dict[str, str],
    objectness: bool | None = None,
    classes: int | None = None,
) -> Columns | None:
    """Return the columns of output ``name``, of which one answer is ``sides``, at ``axes`` of the tensor.

    None where nothing speaks for boxes. ``labels`` is how many class names are known, ``told`` the file's metadata,
    ``objectness`` and ``classes`` what the caller says.
    """
    said = classes if classes is not None else labels
    if name == DETECTIONS:
        why = "boxes, scores and class numbers that the detector gives"
        return Columns(False, 4, said or 0, label=5, form="xyxy", shown=True, why=why)
    found = {turned: pieces_of(model, name, axes[0 if turned else 1]) for turned in (True, False)}
    turned = _turned(sides, found, said)
    width, parts = sides[0 if turned else 1], found[turned]
    if width < 5:
        return None
    corners = _coordinates(parts)
    rest = parts[corners:] if corners else []
    form = "cxcywh" if corners == 1 and parts[0].act == "Sigmoid" and not parts[0].scaled else "auto"
    if (label := _label(model, parts, width, told)) is not None:
        form, why = "xyxy" if form == "auto" else form, "a score and a class's number for each box"
        return Columns(turned, 9 - label, said or 0, label=label, form=form, shown=True, why=why)
    if objectness is not None or said is not None:
        as_said = _said(turned, width, rest, objectness=objectness, classes=said, form=form, task=told.get("task", ""))
        return replace(as_said, shown=bool(rest)) if as_said is not None else None
    if len(rest) > 1 and rest[0].width == 1 and rest[0].act == rest[1].act and not rest[1].scaled:
        why = "column 4 is made by itself, as an objectness is"
        return Columns(turned, 5, rest[1].width, objectness=4, form=form, shown=True, why=why)
    if rest and _one_source(model, parts[:corners], rest[0]):
        why = "boxes and scores are cut from one tensor, as YOLOv5 does"
        return Columns(turned, 5, width - 5, objectness=4, form=form, shown=True, why=why)
    if rest:
        scores = [p for p in rest if p.act in ("Sigmoid", "Softmax")] or rest[:1]
        why = f"a tensor of {scores[0].width} scores follows the boxes"
        return Columns(turned, 4, scores[0].width, form=form, shown=True, why=why)
    if len(parts) == 1 and parts[0].act == "Sigmoid" and not parts[0].scaled:
        return Columns(
            turned, 4, width - 4, form="cxcywh", why="boxes end in the sigmoid of the scores, as a DETR's do"
        )
    if width == COCO + 5:
        return Columns(
            turned, 5, COCO, objectness=4, why="85 attributes are 4, an objectness and the 80 classes of COCO"
        )
    if width == COCO + 4:
        return Columns(turned, 4, COCO, why="84 attributes are 4 and the 80 classes of COCO")
    return Columns(turned, 4, width - 4, known=False, why="whether there is an objectness is not to be read")


def _said(
    turned: bool, width: int, rest: list[Piece], *, objectness: bool | None, classes: int | None, form: str, task: str
) -> Columns | None:
    """Return columns by what is said of them, or what is known of the number of classes."""
    if classes is None:
        first = 5 if objectness else 4
        count = rest[1].width if objectness and len(rest) > 1 and rest[0].width == 1 else width - first
        return Columns(turned, first, count, objectness=4 if objectness else None, form=form, why="as was said")
    known = True
    if objectness is None:
        widths, after = [p.width for p in rest], width - 4 - classes
        if widths[:1] == [classes] or after == 0 or task:
            objectness = False
        elif widths[1:2] == [classes] or after == 1:
            objectness = True
        else:
            objectness, known = False, False
    first_class = 5 if objectness else 4
    if first_class + classes > width:
        return None
    more = width - first_class - classes
    why = f"{classes} classes in {width} attributes" + (f", {more} behind them are something else" if more else "")
    stands = 4 if objectness else None
    why = why if known else "whether there is an objectness, and where the classes stand, is not to be read"
    return Columns(turned, first_class, classes, objectness=stands, form=form, known=known, why=why)


def _turned(sides: tuple[int, int], found: dict[bool, list[Piece]], labels: int | None) -> bool:
    """Tell whether the attributes come first."""
    if labels is not None:
        fits = [t for t in (True, False) if sides[0 if t else 1] in (labels + 4, labels + 5)]
        if len(fits) == 1:
            return fits[0]
    clean = [t for t in (True, False) if _coordinates(found[t])]
    return clean[0] if len(clean) == 1 else sides[0] < sides[1]


def _coordinates(parts: list[Piece]) -> int:
    """Return how many of the first pieces are the four coordinates; 0 where that is not to be seen."""
    widths = [p.width for p in parts]
    if len(widths) > 1 and widths[0] == 4:
        return 1
    if len(widths) > 2 and widths[:2] == [2, 2]:
        return 2
    return 4 if len(widths) > 4 and widths[:4] == [1] * 4 and (len(widths) < 7 or max(widths[4:]) > 1) else 0


def _label(model: Model, parts: list[Piece], width: int, told: dict[str, str]) -> int | None:
    """Return the column that holds the number of a class, where one does."""
    if width >= 6 and _coordinates(parts):
        at = 0
        for piece in parts:
            if piece.width == 1 and at in (4, 5) and _counts(model, piece.tensor):
                return at
            at += piece.width
    whole = told.get("end2end") == "True" or "'nms': True" in told.get("args", "")
    return 5 if whole and width in END_TO_END else None


def _counts(model: Model, name: str) -> bool:
    """Tell a float that was an index, or a number, of a class."""
    producers, indices = producers_of(model), indices_of(model)
    for _ in range(12):
        if name in indices:
            return True
        node = producers.get(name)
        if node is None or node.op_type not in ("Cast", "Gather", "GatherElements", "GatherND", "Identity", "Reshape",
                                                "Slice", "Squeeze", "Transpose", "Unsqueeze", "Expand"):  # fmt: skip
            return False
        name = node.input[0]
    return False


def _one_source(model: Model, boxes: list[Piece], scores: Piece) -> bool:
    """Tell whether boxes and scores are parts of one tensor that a sigmoid made."""
    source = made_of(model, scores.tensor)
    return bool(source) and all(made_of(model, p.tensor) == source for p in boxes)


def sizes_of(model: Model, name: str) -> tuple[object, ...]:
    """Return the dimensions of a tensor; empty where they are not known."""
    kind = model.types.get(name)
    return dims_of(kind) if kind is not None and kind.tensor_type.HasField("shape") else ()


def form_of(model: Model, name: str) -> str:
    """Return how boxes of an output of their own are written: a DETR's sigmoid gives centre and size, else corners."""
    producers = producers_of(model)
    while (node := producers.get(name)) is not None and node.op_type in ("Cast", "Identity", "Reshape"):
        name = node.input[0]
    return "cxcywh" if node is not None and node.op_type == "Sigmoid" else "auto"
