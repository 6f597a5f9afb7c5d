"""Grids: heads of detectors whose boxes are still to be made, one for each cell of a grid, (N, C, h, w)."""

from __future__ import annotations

from ..graph.model import Model, TensorSpec
from ..graph.shapes import Shape
from .columns import COCO, Columns
from .pieces import pieces_of

MOST_ANCHORS = 9
LEAST_BINS = 8
"""Distances that are distributions have 8 bins or more: GFL has 8, YOLOv8 and YOLOv6 have 16 or 17."""

Split = tuple[int, int, int | None, int, int, int]
"""Where the box stands, its numbers, where the objectness and the classes stand, how many; boxes of a cell."""


def grid_columns(
    model: Model,
    name: str,
    shape: Shape,
    *,
    axis: int,
    labels: int | None,
    objectness: bool | None = None,
    classes: int | None = None,
) -> Columns | None:
    """Return where things stand in one answer of ``shape``: (C, h, w), or (anchors, h, w, attributes).

    None where neither the graph nor the number of classes tells it. ``axis`` is that of the attributes in the tensor.
    """
    if not all(isinstance(d, int) for d in shape) or len(shape) not in (3, 4):
        return None
    sizes = [d for d in shape if isinstance(d, int)]
    whole = len(sizes) == 4
    width, grid = (sizes[3] * sizes[0], sizes[1:3]) if whole else (sizes[0], sizes[1:])
    said = classes if classes is not None else labels
    parts = pieces_of(model, name, axis)
    found = None if whole else _joined([p.width for p in parts], said)
    found = found or _counted(width, said, objectness=objectness, anchors=sizes[0] if whole else None)
    if found is None:
        return None
    at, sides, object_at, first, count, anchors = found
    ends = [(sum(q.width for q in parts[:i]), p) for i, p in enumerate(parts)]
    scores = next((p for start, p in ends if start <= first < start + p.width), None)
    raw = scores is None or scores.act != "Sigmoid" or scores.scaled
    many = f"{anchors} boxes" if anchors > 1 else "a box"
    why = f"{many} and {count} scores for each cell of a grid of {grid[0]} x {grid[1]}"
    return Columns(
        not whole, first, count, objectness=object_at, at=at, sides=sides, grid=(grid[0], grid[1]), anchors=anchors,
        raw=raw, shown=True, why=why,
    )  # fmt: skip


def grid_beside(shape: Shape, others: list[TensorSpec]) -> tuple[TensorSpec, Columns] | None:
    """Return the only other output that holds a box for each cell of an answer (classes, h, w), and the columns."""
    if len(shape) != 3 or not all(isinstance(d, int) for d in shape):
        return None
    count, height, width = (d for d in shape if isinstance(d, int))
    alike = [o for o in others if len(o.shape) >= 3 and o.shape[-2:] == (height, width)]
    boxes = [o for o in alike if isinstance(o.shape[-3], int) and _sides(o.shape[-3])]
    if len(boxes) != 1 or _sides(count) == count:
        return None
    sides = boxes[0].shape[-3]
    assert isinstance(sides, int)
    columns = Columns(
        True, 0, count, beside=boxes[0].name, sides=sides, grid=(height, width), raw=True, shown=True,
        why=f"a score of each class for each cell of a grid of {height} x {width}",
    )  # fmt: skip
    return boxes[0], columns


def _sides(width: int) -> int:
    """Return ``width`` where so many numbers can be a box: 4, or 4 distributions; else 0."""
    return width if width == 4 or (width % 4 == 0 and width >= 4 * LEAST_BINS and width // 4 <= 2 * 16 + 1) else 0


def _joined(widths: list[int], classes: int | None) -> Split | None:
    """Return the split of attributes that are joined of a box, perhaps an objectness, and classes, in any order."""
    if not 2 <= len(widths) <= 3 or (len(widths) == 3) != (1 in widths):
        return None
    starts = [sum(widths[:i]) for i in range(len(widths))]
    boxes = [i for i, w in enumerate(widths) if _sides(w)]
    boxes = [i for i in boxes if widths[i] == 4] or boxes
    if classes is not None and len(boxes) > 1:
        boxes = [i for i in boxes if any(w == classes for j, w in enumerate(widths) if j != i)]
    if len(boxes) != 1:
        return None
    box = boxes[0]
    objects = [i for i, w in enumerate(widths) if w == 1 and i != box] if len(widths) == 3 else []
    rest = [i for i in range(len(widths)) if i != box and i not in objects]
    if len(rest) != 1 or len(objects) > 1:
        return None
    scores = rest[0]
    return starts[box], widths[box], starts[objects[0]] if objects else None, starts[scores], widths[scores], 1


def _counted(width: int, classes: int | None, *, objectness: bool | None, anchors: int | None) -> Split | None:
    """Return the split by the number of classes: that of COCO where 85 attributes a box are seen."""
    if classes is None:
        each = [a for a in ((anchors,) if anchors else (1, 3)) if width == a * (COCO + 5)]
        return (0, 4, 4, 5, COCO, each[0]) if each else None
    found: list[Split] = []
    for each_cell in (anchors,) if anchors else range(1, MOST_ANCHORS + 1):
        rest = width // each_cell - classes
        if width % each_cell:
            continue
        if rest == 5 and objectness is not False:
            found.append((0, 4, 4, 5, classes, each_cell))
        if rest == 4 and objectness is not True:
            found.append((0, 4, None, 4, classes, each_cell))
        if each_cell == 1 and rest > 4 and _sides(rest):
            found.append((0, rest, None, rest, classes, 1))
    return found[0] if len(found) == 1 else None
