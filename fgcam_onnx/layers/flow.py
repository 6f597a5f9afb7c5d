"""Flow: how the images that go into a model share the answers that come out of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import TargetError
from ..graph.emitter import Emitter
from ..graph.memo import once
from ..graph.model import Model
from ..graph.shapes import Dim, Shape
from .images import Lie, count_of, first_of, images_of


@dataclass(frozen=True)
class Flow:
    """How images share answers.

    Attributes
    ----------
    images : Dim
        How many images the input holds: a number, or a symbol or None where that is free.
    answers : Dim
        How many answers come of them: as many, or one for a whole bag of images.
    axis : int or None
        The axis of the logits along which answers lie; None where all of the logits is one answer.
    shape : Shape
        That of the logits.
    mixed : bool
        Whether there are as many answers as images, and yet each depends on all images of the batch.
    rows : int
        How many elements along the axis belong to one answer, where the number of images is free.
    """

    images: Dim
    answers: Dim
    axis: int | None
    shape: Shape
    mixed: bool = False
    rows: int = 1

    @property
    def bag(self) -> bool:
        """Whether several images have one answer."""
        return self.images != self.answers

    @property
    def answer_shape(self) -> Shape:
        """The shape of one answer."""
        if self.axis is None:
            return self.shape[1:] if self.shape[:1] == (1,) else self.shape
        each = self._rows_each
        return tuple(each if a == self.axis else d for a, d in enumerate(self.shape) if a != self.axis or each > 1)

    @property
    def _rows_each(self) -> int:
        """How many elements along the axis belong to one answer."""
        size = self.shape[self.axis] if self.axis is not None else 1
        return size // self.answers if isinstance(size, int) and isinstance(self.answers, int) else self.rows

    @property
    def classes(self) -> int:
        """How many elements an answer has: the targets to choose from.

        Raises
        ------
        TargetError
            The number is not fixed.
        """
        rest = [d for a, d in enumerate(self.shape) if a != self.axis]
        if not self.shape or not all(isinstance(d, int) for d in rest):
            of = "one answer is for all images, and " if self.axis is None else ""
            raise TargetError(f"the output has shape {list(self.shape)}: {of}the number of targets is not known")
        return self._rows_each * math.prod(d for d in rest if isinstance(d, int))

    def answers_to(self, count: int) -> int:
        """Return how many answers ``count`` images have, where they are a whole number of bags."""
        if isinstance(self.images, int) and isinstance(self.answers, int):
            return count * self.answers // self.images
        return count if self.answers == self.images else 1


@once
def flow_of(model: Model, *, logits: str, source: str | None = None) -> Flow:
    """Return how images of input ``source``, by default the first with a free batch, share the answers in ``logits``.

    Where the graph does not show it, the axis of the answers is the only one that has the images' dimension, else
    the first.
    """
    name = source if source is not None else _batched(model)
    images, shape = first_of(model, name), Emitter(model).shape(logits)
    lie = images_of(model, name).get(logits)
    if not isinstance(images, int):
        return _free(images, shape, lie)
    if images == 1:
        ones = [a for a, d in enumerate(shape) if d == 1]
        return Flow(1, 1, 0 if 0 in ones else ones[0] if len(ones) == 1 else None, shape)
    if lie is not None and lie.axis is not None and images % lie.parts == 0:
        return Flow(images, lie.parts, lie.axis, shape)
    axis = _axis(images, shape) if lie is None else None
    return Flow(images, 1 if axis is None else images, axis, shape)


def _free(images: Dim, shape: Shape, lie: Lie | None) -> Flow:
    if lie is not None and lie.axis is not None:
        return Flow(images, images, lie.axis, shape, rows=lie.size)
    axis = _axis(images, shape)
    if axis is None:
        return Flow(images, 1, None, shape)
    return Flow(images, images, axis, shape, mixed=lie is not None and lie.parts == 1)


def _axis(images: Dim, shape: Shape) -> int | None:
    """Return the axis that has the dimension of the images, else the first where that may be theirs."""
    alike = [a for a, d in enumerate(shape) if d == images and d is not None]
    if len(alike) == 1:
        return alike[0]
    first = shape[0] if shape else 1
    multiple = first % images == 0 if isinstance(first, int) and isinstance(images, int) else False
    return 0 if alike or multiple or not isinstance(first, int) else None


def _batched(model: Model) -> str:
    """Return the first input with a free first dimension, else the first."""
    named = [i for i in model.inputs if i.shape]
    free = [i.name for i in named if not isinstance(i.shape[0], int)]
    return [*free, *(i.name for i in named), *(i.name for i in model.inputs)][0]


def rows_of(model: Model, name: str, *, source: str) -> int | None:
    """Return how many rows of tensor ``name`` belong to each image of ``source``; 0 where all rows are all images'.

    None where the graph does not show it.

    Raises
    ------
    LookupError
        Images do not lie along its first axis, or are mixed.
    """
    lie = images_of(model, source).get(name)
    if lie is None:
        return None
    if lie.parts == 0:
        return 0
    if lie.axis != 0 or lie.parts != count_of(model, source):
        raise LookupError(name)
    return lie.size
