"""Head: what one output of a model means, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TargetError
from ..graph.shapes import Shape
from .background import OPEN
from .columns import Columns
from .names import background_of

KINDS: Mapping[str, str] = {
    "classes": "a score for each class",
    "several": "a score for each class, at several positions",
    "map": "a score for each class, at each place of a picture",
    "boxes": "boxes with scores of classes",
    "embedding": "an embedding",
    "number": "numbers that are no scores of classes",
    "unknown": "not known",
}
"""What an output can be, in words."""

ASKED: Mapping[str, str] = {
    "classes": "a class by index or label, top:K, classes:A,B, sum:A,B, diff:A,B, element:I",
    "several": "a class by index or label (where it is surest), element:{places}",
    "map": "a class by index or label (its region), region:CLASS[@BOX], element:{places}",
    "boxes": "a class by index or label (its best box), box:BOX[@CLASS], element:{places}",
    "embedding": "like:PICTURE, element:{places}",
    "number": "element:{places}",
    "unknown": "element:{places}; or say what the output is with head= (--head {kinds})",
}
"""What can be asked of each kind, as the command line writes it."""

DENSE = ("several", "map", "boxes", "unknown")
"""Kinds of which an element's number in the flattened output is no class."""


@dataclass(frozen=True)
class Head:
    """What an output means.

    Attributes
    ----------
    kind : str
        A row of ``KINDS``.
    shape : tuple
        Of one image's answer, without the batch.
    axis : int or None
        The axis of the classes in it; the others are the places.
    count : int or None
        How many classes there are.
    end : {"softmax", "sigmoid", "done", ""}
        What the model's end makes of the scores that are explained; ``done`` where they are probabilities already.
    over : int or None
        The axis of an answer along which a softmax adds up to 1.
    labels : tuple of str
        Class names, by index; empty where there are none.
    columns : Columns or None
        Where boxes, objectness and classes stand, of a detector.
    why : str
        What told the kind.
    guessed : bool
        Whether something else would be possible, too.
    notes : tuple of str
        What had to be settled.
    stands : {"first", "last", "none", "open", ""}
        Where the class stands that is no object: ``open`` where there is one, or may be, and nothing tells which;
        empty where its name tells it, if there is one.
    """

    kind: str
    shape: Shape
    axis: int | None = None
    count: int | None = None
    end: str = ""
    over: int | None = None
    labels: tuple[str, ...] = ()
    columns: Columns | None = None
    why: str = ""
    guessed: bool = False
    notes: tuple[str, ...] = ()
    stands: str = ""

    @property
    def dense(self) -> bool:
        """Whether an element's number in the flattened output is no class."""
        return self.kind in DENSE

    @property
    def made(self) -> str:
        """What makes probabilities of the scores: ``softmax``, ``sigmoid``, ``done``; empty where nothing does.

        Exports of classifiers often leave a last softmax out: several scores of classes are read with one, and so are
        those of boxes with a class that is no object.
        """
        several = self.kind == "classes" and (self.count or 0) > 1
        voided = self.kind == "boxes" and self.over is not None and self.stands in ("first", "last")
        return self.end or ("softmax" if several or voided else "")

    @property
    def classed(self) -> bool:
        """Whether there are classes in it."""
        return self.kind not in ("embedding", "number", "unknown")

    def probabilities(self, scores: NDArray[np.floating]) -> NDArray[np.float32] | None:
        """Return what the end makes of scores (N, K) or (N, ...), of their shape; None where it makes nothing."""
        if not self.made:
            return None
        z = np.asarray(scores, np.float64)
        if self.made == "softmax":
            whole = z.reshape(len(z), *(self.answer if self.over is not None else (-1,)))
            axis = 1 if self.over is None else self.over + 1
            raised = np.exp(whole - whole.max(axis, keepdims=True))
            z = (raised / raised.sum(axis, keepdims=True)).reshape(z.shape)
        elif self.made == "sigmoid":
            z = 0.5 * (1 + np.tanh(z / 2))
        return z.astype(np.float32)

    def slopes(self, scores: NDArray[np.floating], element: int) -> NDArray[np.float64]:
        """Return the gradient of an element's probability by scores (N, K), of their shape.

        ``p (1 - p)`` for the element itself; under a softmax ``-p q`` for every other of its row.

        Raises
        ------
        TargetError
            The model makes no probability of its scores.
        """
        found = self.probabilities(scores)
        if found is None:
            raise TargetError(f"the output is {KINDS[self.kind]}: the model makes no probability of it. Take element:I")
        p = found.astype(np.float64)
        own = np.zeros_like(p)
        own[:, element] = 1.0
        if self.made == "done":
            return own
        if self.made == "sigmoid":
            return own * p * (1 - p)
        return p[:, element, None] * (own - p) * self.row_of(element).reshape(-1)

    def row_of(self, element: int) -> NDArray[np.bool_]:
        """Return which elements of an answer add up to 1 with ``element``."""
        if self.over is None or self.made != "softmax":
            return np.ones(self.answer or (1,), bool)
        at = list(np.unravel_index(element, self.answer))
        row = np.zeros(self.answer, bool)
        row[tuple(slice(None) if a == self.over else i for a, i in enumerate(at))] = True
        return row

    @property
    def answer(self) -> tuple[int, ...]:
        """The shape of one answer.

        Raises
        ------
        TargetError
            A size is not fixed.
        """
        if not all(isinstance(d, int) for d in self.shape):
            raise TargetError(f"one image's output is {list(self.shape)}: its size is not fixed")
        return tuple(d for d in self.shape if isinstance(d, int))

    @property
    def background(self) -> int | None:
        """The class that is no object, where one is known to be.

        Raises
        ------
        TargetError
            There may be one, and nothing tells which.
        """
        if self.stands == OPEN:
            raise TargetError(
                f"whether one of the {self.count} classes stands for no object, as an SSD's first and a DETR's last "
                "do, is not to be read. Say background= (--background first, last or none), or name a class"
            )
        stands = {"first": 0, "last": (self.count or 0) - 1, "none": None}
        return stands[self.stands] if self.stands else background_of(self.labels)

    def named(self, index: int) -> str:
        """Return the first name of a class; its number where it has none."""
        label = self.labels[index].split(",")[0].strip() if 0 <= index < len(self.labels) else ""
        return label or str(index)

    def choices(self) -> str:
        """Return what can be asked of the output, as the command line writes it."""
        places = ",".join("IJKLM"[: len(self.shape)])
        kinds = ", ".join(k for k in KINDS if k != "unknown")
        return ASKED[self.kind].format(places=places, kinds=kinds)

    def refusal(self, asked: str) -> TargetError:
        """Return the error that says what can be asked instead of what was ``asked``."""
        shape = " x ".join(str(d) for d in self.shape)
        return TargetError(f"{asked}: the output ({shape} for each image) is {self.told}. Choose {self.choices()}")

    @property
    def told(self) -> str:
        """What the output is, in a line."""
        classes = f", {self.count} class{'es' * (self.count > 1)}" if self.count and self.classed else ""
        classes += f", the {self.stands} of them no object" if self.stands in ("first", "last") else ""
        classes += ", perhaps one of them no object" if self.stands == OPEN else ""
        why = f" ({'a guess: ' if self.guessed else ''}{self.why})" if self.why else ""
        return f"{KINDS[self.kind]}{classes}{why}"

    def summary(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "kind": self.kind,
            "meaning": KINDS[self.kind],
            "shape": [d if isinstance(d, int) else None for d in self.shape],
            "classes_axis": self.axis,
            "classes": self.count if self.classed else None,
            "probability": self.made or None,
            "assumed": bool(self.made) and not self.end,
            "background": self.stands if self.stands == OPEN else self.background,
            "labels": len(self.labels) or None,
            "columns": self.columns.summary() if self.columns is not None and self.kind == "boxes" else None,
            "why": self.why,
            "guessed": self.guessed,
            "choices": self.choices(),
        }
