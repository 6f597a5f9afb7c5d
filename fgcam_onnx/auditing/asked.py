"""Metrics of each side's map, where they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import OptionError
from ..evaluation.results import check_regions
from ..evaluation.truth import Regions, in_view
from ..methods.sampling import like_input
from ..metrics import Case, Metric, Picture, measure
from ..metrics.case import Asked as Other
from ..metrics.grids import Floats
from .sides import Side


@dataclass(frozen=True)
class Asked:
    """Which metrics, and where the objects are.

    Attributes
    ----------
    metrics : sequence of Metric
        None of those that read further maps.
    regions : Regions, optional
    """

    metrics: Sequence[Metric]
    regions: Regions | None

    def __post_init__(self) -> None:
        check_regions(self.metrics, given=self.regions is not None)
        further = [m.name for m in self.metrics if m.asks]
        if further:
            raise OptionError(f"{', '.join(further)}: they explain a model again; fgcam evaluate measures them")

    def of(
        self,
        side: Side,
        raw: NDArray[np.floating],
        *,
        key: str,
        image: Image.Image,
        x: NDArray[Any],
        target: int,
        seed: int,
    ) -> list[float]:
        """Return the metrics of a side's map of a picture, NaN where one is not defined."""
        region = None if self.regions is None else self.regions.of(key, image, target)
        seen = None if region is None else in_view(region, side.preprocess)
        turned = side.preprocess.layout == "NHWC"

        def predict(copies: Floats, owners: Sequence[int]) -> NDArray[np.float32]:
            given = np.moveaxis(copies, 1, -1) if turned else copies
            dtype = np.dtype(side.preprocess.dtype or "float32")
            logits = side.explainer.predict(given if given.dtype == dtype else like_input(given, dtype))
            logits = logits.reshape(len(logits), -1)
            found = side.explainer.head.probabilities(logits)
            return (logits if found is None else found)[:, target]

        first = np.moveaxis(x, -1, 0) if turned else x
        case = Case(Picture(first.astype(np.float32), seen, seed), raw, _none)
        (found,) = measure([case], self.metrics, predict=predict)
        return [found[m.name] for m in self.metrics]


def _none(x: Floats, asked: Other) -> NDArray[np.floating]:
    raise OptionError("no further maps are made in an audit")
