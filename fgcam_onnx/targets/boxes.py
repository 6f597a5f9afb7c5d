"""The boxes of a detector's outputs: where they are, in pixels of the input, and which elements score them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError, TargetError, suggest
from ..heads import Columns
from ..heads.stated import DECODES
from .cells import BY_CELL, Form, cells_of, form_of, from_cells, sigmoid

RELATIVE = 2.0
"""Coordinates that all lie below this are shares of the input, not pixels."""


@dataclass(frozen=True)
class Boxes:
    """The boxes of one image.

    Attributes
    ----------
    corners : ndarray of shape (boxes, 4)
        x0, y0, x1, y1 in pixels of the input.
    rows : ndarray of shape (boxes, attributes)
        The explained output, boxes first.
    first : int
        The attribute that is the score of class 0.
    objectness : int or None
        The attribute that is the objectness.
    turned : bool
        Whether the output has its boxes last.
    count : int, optional
        How many classes there are; default, as many as attributes are left.
    label : int, optional
        The attribute that is the number of the box's class, of which ``first`` is then the score.
    columns : Columns, optional
        What is known of an output that is laid out as a grid.
    """

    corners: NDArray[np.float64]
    rows: NDArray[np.float32]
    first: int
    objectness: int | None
    turned: bool
    count: int | None = None
    label: int | None = None
    columns: Columns | None = None

    def scores(self) -> NDArray[np.float32]:
        """Return the score of each class of each box."""
        if self.label is not None:
            return self._single()
        classes = self.rows[:, self.first : None if self.count is None else self.first + self.count]
        if self.objectness is None:
            return classes
        sure = self.rows[:, self.objectness, None]
        return sigmoid(classes) * sigmoid(sure) if self._raw else classes * sure

    @property
    def _raw(self) -> bool:
        """Whether objectness and scores are before their sigmoid."""
        return self.columns is not None and self.columns.raw

    def _single(self) -> NDArray[np.float32]:
        """Return the scores of boxes that have a class each: -inf for every other, and for rows that hold no box.

        Where fewer are found than there are rows, the rest is filled with zeros.
        """
        labels = np.rint(self.rows[:, self.label]).astype(np.int64)
        size = max(self.count or 0, int(labels.max()) + 1, 1)
        scores = np.full((len(self.rows), size), -np.inf, np.float32)
        inside = (labels >= 0) & (self.corners[:, 2:] > self.corners[:, :2]).all(1)
        scores[inside, labels[inside]] = self.rows[inside, self.first]
        return scores

    def score(self, box: int, category: int) -> float:
        """Return the score of a class of a box."""
        return float(self.scores()[box, category])

    def weights(self, box: int, category: int) -> NDArray[np.float32]:
        """Return the gradient of that score, of the shape of the output."""
        weights = np.zeros_like(self.rows, np.float32)
        column = self.first if self.label is not None else self.first + category
        weights[box, column] = 1
        if self.objectness is not None:
            score, sure = self.rows[box, column], self.rows[box, self.objectness]
            if self._raw:
                p, q = float(sigmoid(score)), float(sigmoid(sure))
                weights[box, column], weights[box, self.objectness] = p * (1 - p) * q, q * (1 - q) * p
            else:
                weights[box, column], weights[box, self.objectness] = sure, score
        if self.columns is not None and self.columns.grid is not None:
            return laid_out(weights, self.columns)
        return np.ascontiguousarray(weights.T if self.turned else weights)


def listed(output: NDArray[np.float32], columns: Columns) -> NDArray[np.float32]:
    """Return an output that is a grid, (C, h, w) or (anchors, h, w, attributes), as rows (boxes, attributes)."""
    assert columns.grid is not None
    if not columns.turned:
        return output.reshape(-1, output.shape[-1])
    parts = output.reshape(columns.anchors, -1, columns.grid[0] * columns.grid[1])
    return np.ascontiguousarray(parts.transpose(0, 2, 1).reshape(-1, parts.shape[1]))


def laid_out(rows: NDArray[np.float32], columns: Columns) -> NDArray[np.float32]:
    """Return rows (boxes, attributes) laid out as the output, the inverse of `listed`."""
    assert columns.grid is not None
    height, width = columns.grid
    if not columns.turned:
        return rows.reshape(columns.anchors, height, width, -1)
    parts = rows.reshape(columns.anchors, height * width, -1).transpose(0, 2, 1)
    return np.ascontiguousarray(parts).reshape(-1, height, width)


def boxes_of(
    output: NDArray[np.float32],
    others: Mapping[str, NDArray[Any]],
    *,
    size: tuple[int, int],
    form: str = "auto",
    objectness: bool | None = None,
    named: bool = False,
    columns: Columns | None = None,
) -> Boxes:
    """Return the boxes of one image from the explained output and, where one of ``others`` holds them, from that.

    ``columns`` is what is known of the attributes; where nothing is, and nothing said, attributes that come last have
    an objectness (YOLOv5, YOLOX), those that come first have none (YOLOv8). ``named`` is whether the caller says that
    it is the only one of ``others`` that holds the boxes.

    Raises
    ------
    TargetError
        The outputs are not a detector's.
    """
    if columns is not None and columns.grid is not None:
        return _of_grid(output, others, size=size, form=form, columns=columns)
    beside = {n: a for n, a in others.items() if a.ndim >= 2 and a.shape[-1] == 4 and a.size // 4 in output.shape}
    if named and not beside:
        shapes = ", ".join(f"{n} {list(a.shape)}" for n, a in others.items())
        raise TargetError(f"{shapes} holds no boxes for an output of {list(output.shape)}")
    if len(beside) > 1:
        raise TargetError(f"several outputs could hold the boxes: {', '.join(beside)}; say which with boxes_from=")
    if beside:
        coordinates = next(iter(beside.values())).reshape(-1, 4).astype(np.float64)
        form = columns.form if columns is not None and form == "auto" else form
        turned = output.shape[0] != len(coordinates)
        rows = output.T if turned else output
        return Boxes(_corners(coordinates, size, form_of("xyxy" if form == "auto" else form)), rows, 0, None, turned)
    if columns is not None and objectness is None and not columns.known:
        raise TargetError(
            f"{columns.why} of the {output.shape[0 if columns.turned else 1]} attributes of a box. Say objectness= "
            "(--objectness or --no-objectness) and, where more columns follow the classes, how many classes there are "
            "(--classes), or give the labels"
        )
    if columns is not None and columns.label is not None and objectness is None:
        rows = output.T if columns.turned else output
        written = form_of(columns.form if form == "auto" else form)
        corners = _corners(rows[:, :4].astype(np.float64), size, written)
        return Boxes(corners, rows, columns.first, None, columns.turned, columns.count, columns.label)
    turned = output.shape[0] < output.shape[1] if columns is None else columns.turned
    rows = output.T if turned else output
    if columns is not None and objectness is None:
        has_objectness, first, count = columns.objectness is not None, columns.first, columns.count or None
        form = columns.form if form == "auto" else form
    else:
        has_objectness, count = not turned if objectness is None else objectness, None
        first = 5 if has_objectness else 4
    if rows.shape[1] <= first:
        raise TargetError(
            f"an output of {list(output.shape)} for each image has no scores after the {first} attributes of a box"
        )
    coordinates = rows[:, :4].astype(np.float64)
    if form == "auto":
        form = _guessed(coordinates, size)
    return Boxes(_corners(coordinates, size, form_of(form)), rows, first, 4 if has_objectness else None, turned, count)


def _of_grid(
    output: NDArray[np.float32],
    others: Mapping[str, NDArray[Any]],
    *,
    size: tuple[int, int],
    form: str,
    columns: Columns,
) -> Boxes:
    """Return the boxes of an output that is laid out as a grid of cells."""
    rows = listed(output, columns)
    given = rows[:, columns.at : columns.at + columns.sides]
    if columns.beside:
        if columns.beside not in others:
            raise TargetError(f"the boxes are in output {columns.beside!r}, which is not at hand")
        given = listed(others[columns.beside], columns)
    form = columns.form if form == "auto" else form
    if form == "auto" and columns.sides > 4:
        form = "ltrb"
    if form == "auto":
        more = f", for {columns.anchors} boxes of each cell anchors:W,H,… or exp:W,H,…" if columns.anchors > 1 else ""
        raise TargetError(
            f"how the boxes of a grid of {columns.grid} cells are written is not to be read. Say boxes= (--decode): "
            f"grid, ltrb{more} (docs/targets.md)"
        )
    corners = _corners(given.astype(np.float64), size, form_of(form), columns)
    return Boxes(
        corners, rows, columns.first, columns.objectness, columns.turned, columns.count or None, columns=columns
    )


def checked_form(form: str) -> str:
    """Return ``form``.

    Raises
    ------
    OptionError
        It is none of ``DECODES``.
    """
    name = form.partition(":")[0]
    if name not in DECODES:
        raise OptionError(f"unknown boxes {form!r}; choose {', '.join(DECODES)}.{suggest(form, DECODES)}")
    return form


def _guessed(coordinates: NDArray[np.float64], size: tuple[int, int]) -> str:
    if (coordinates[:, 2:] > 0).all():
        return "cxcywh"
    try:
        cells_of(len(coordinates), size, grid=None)
    except TargetError:
        raise TargetError(
            'widths or heights of boxes are not positive, so they are not centre and size; say boxes="xyxy" or "yxyx"'
        ) from None
    return "grid"


def _corners(
    given: NDArray[np.float64], size: tuple[int, int], form: Form, columns: Columns | None = None
) -> NDArray[np.float64]:
    """Return x0, y0, x1, y1 in pixels."""
    if form.name in BY_CELL:
        grid, anchors = (None, 1) if columns is None else (columns.grid, columns.anchors)
        return from_cells(given, cells_of(len(given), size, grid=grid, anchors=anchors), form)
    a, b, c, d = given.T
    if form.name == "cxcywh":
        corners = np.stack([a - c / 2, b - d / 2, a + c / 2, b + d / 2], 1)
    else:
        corners = given if form.name == "xyxy" else given[:, [1, 0, 3, 2]]
    if corners.max() < RELATIVE:
        corners = corners * np.array([size[1], size[0], size[1], size[0]], np.float64)
    return corners


def overlaps(boxes: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return intersection over union of each of ``boxes`` with ``box``."""
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    shared = np.maximum(high - low, 0).prod(1)
    areas = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(1)
    union = areas + (box[2:] - box[:2]).prod() - shared
    return np.asarray(shared / np.maximum(union, 1e-12), np.float64)
