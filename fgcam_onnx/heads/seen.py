"""Seen: what the kind of an output is told from."""

from __future__ import annotations

from dataclasses import dataclass

from ..graph.model import Model
from ..graph.score import Score
from ..graph.shapes import Shape
from ..layers.flow import Flow
from .names import metadata_of
from .stated import Stated


@dataclass(frozen=True)
class Seen:
    """What kinds are told from."""

    model: Model
    score: Score
    flow: Flow
    source: str
    shape: Shape
    end: str
    over: int | None
    labels: int | None
    stated: Stated

    @property
    def told(self) -> dict[str, str]:
        """What the file says of itself."""
        return metadata_of(self.model)

    def where(self, axis: int) -> int:
        """Return where an axis of one answer is in the output's tensor."""
        if self.flow.axis is None:
            return axis + (self.flow.shape[:1] == (1,))
        return axis if axis < self.flow.axis else axis + 1
