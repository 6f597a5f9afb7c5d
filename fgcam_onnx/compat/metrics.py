"""How much the model's answer changes where a map says that it should, as pytorch-grad-cam measures it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, OptionError
from ..explainer import Explainer
from ..forward import spatial_axes
from ..graph.facts import facts_of
from ..metrics.imputing import imputed
from ..targets import Predicted, aimed
from .cams import BaseCAM, _fitted

Scores = NDArray[np.float32]
Change = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]
"""Takes an image, channels first, and its map (H, W); returns the image changed."""

PERCENTILES = (10, 20, 30, 40, 50, 60, 70, 80, 90)
NOISE = 0.01


class PerturbationConfidenceMetric:
    """The target's score on a changed image, less that on the image.

    Parameters
    ----------
    perturbation : callable
        Takes an image (C, H, W) and its map (H, W); returns the image changed.
    """

    def __init__(self, perturbation: Change) -> None:
        self.perturbation = perturbation

    def __call__(
        self,
        input_tensor: ArrayLike,
        cams: ArrayLike,
        targets: Sequence[Any] | None,
        model: Any,
        *,
        return_visualization: bool = False,
        return_diff: bool = True,
    ) -> Any:
        """Return a number for each image, (N,) float32; with ``return_visualization`` the changed images, too.

        Parameters
        ----------
        input_tensor : array of shape (N, C, H, W), or as the model takes it
        cams : array of shape (N, H, W)
        targets : sequence of N targets, or None
            As a CAM takes them; None for the top class of the image as it is.
        model : path, Model, ModelProto, a CAM or an Explainer
        return_diff : bool
            Whether the score of the image as it is is taken off.

        Raises
        ------
        InputError
            The maps do not fit the images.
        TargetError
            The targets do not.
        """
        explainer = _explainer(model)
        x, maps = np.asarray(input_tensor), np.asarray(cams)
        axes = spatial_axes(explainer.model, explainer.input)
        if x.ndim != len(axes) + 2 or maps.shape != (len(x), *(x.shape[a] for a in axes)):
            raise InputError(f"cams is a map of the input's size for each image, not {maps.shape} for {x.shape}")
        channel = facts_of(explainer.model).channel_axis.get(explainer.input, 1)
        first = np.moveaxis(x, channel, 1)
        changed = np.stack([self.perturbation(image, m) for image, m in zip(first, maps, strict=True)])
        changed = np.ascontiguousarray(np.moveaxis(changed, 1, channel), x.dtype)
        before = explainer.predict(x)
        wanted = _fitted(targets, len(x)) or _fitted([int(row.argmax()) for row in before], len(x))
        head = explainer.head
        after, whole = (
            aimed(wanted or (), Predicted(z, head=head)).score for z in (explainer.predict(changed), before)
        )
        scores = np.asarray(after - whole if return_diff else after, np.float32)
        return (scores, changed) if return_visualization else scores


class CamMultImageConfidenceChange(PerturbationConfidenceMetric):
    """What the score gains where the image is multiplied by its map."""

    def __init__(self) -> None:
        super().__init__(lambda image, m: image * m)


class DropInConfidence(CamMultImageConfidenceChange):
    """What the score loses there; 0 where it gains (Chattopadhay et al., 2018, arXiv:1710.11063)."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Return a number for each image."""
        return np.maximum(-_plain(super().__call__(*args, **options)), 0)


class IncreaseInConfidence(CamMultImageConfidenceChange):
    """1 where the score gains, else 0 (Chattopadhay et al., 2018, arXiv:1710.11063)."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Return a number for each image."""
        return np.asarray(_plain(super().__call__(*args, **options)) > 0, np.float32)


class ROADMostRelevantFirst(PerturbationConfidenceMetric):
    """What the score gains where the most relevant pixels are imputed (ROAD: Rong et al., 2022, arXiv:2202.00449).

    Parameters
    ----------
    percentile : float
        Pixels of the map below it stay.
    noise : float
        Deviation of what is added to imputed pixels, seeded.
    """

    least = False

    def __init__(self, percentile: float = 80, *, noise: float = NOISE) -> None:
        if isinstance(percentile, bool) or not isinstance(percentile, int | float) or not 0 < percentile <= 100:
            raise OptionError(f"percentile is above 0 and at most 100, not {percentile!r:.60}")
        self.percentile, self.noise = percentile, noise
        super().__init__(self._imputed)

    def _imputed(self, image: NDArray[Any], m: NDArray[Any]) -> NDArray[Any]:
        mask = 1 - m if self.least else m
        missing = ~(mask < np.percentile(mask, self.percentile))
        if missing.all():
            raise InputError(f"no pixel of the map is below its percentile {self.percentile}: nothing would stay")
        return imputed(image, missing, seed=0, noise=self.noise)


class ROADLeastRelevantFirst(ROADMostRelevantFirst):
    """The same of the least relevant pixels."""

    least = True

    def __init__(self, percentile: float = 20, *, noise: float = NOISE) -> None:
        super().__init__(percentile, noise=noise)


class ROADMostRelevantFirstAverage:
    """The mean over percentiles."""

    metric: type[ROADMostRelevantFirst] = ROADMostRelevantFirst

    def __init__(self, percentiles: Sequence[float] = PERCENTILES, *, noise: float = NOISE) -> None:
        self.metrics = [self.metric(p, noise=noise) for p in percentiles]

    def __call__(self, input_tensor: ArrayLike, cams: ArrayLike, targets: Any, model: Any) -> Scores:
        """Return a number for each image, (N,)."""
        explainer = _explainer(model)
        found = [metric(input_tensor, cams, targets, explainer) for metric in self.metrics]
        return np.asarray(np.mean(found, axis=0), np.float32)


class ROADLeastRelevantFirstAverage(ROADMostRelevantFirstAverage):
    """The same of the least relevant pixels."""

    metric = ROADLeastRelevantFirst


class ROADCombined:
    """Half of what the least relevant pixels change less what the most relevant ones do: more is better."""

    def __init__(self, percentiles: Sequence[float] = PERCENTILES, *, noise: float = NOISE) -> None:
        self.most = ROADMostRelevantFirstAverage(percentiles, noise=noise)
        self.least = ROADLeastRelevantFirstAverage(percentiles, noise=noise)

    def __call__(self, input_tensor: ArrayLike, cams: ArrayLike, targets: Any, model: Any) -> Scores:
        """Return a number for each image, (N,)."""
        explainer = _explainer(model)
        least, most = (m(input_tensor, cams, targets, explainer) for m in (self.least, self.most))
        return np.asarray((least - most) / 2, np.float32)


def _plain(found: Any) -> Any:
    if isinstance(found, tuple):
        raise OptionError("return_visualization is of CamMultImageConfidenceChange and of ROAD")
    return found


def _explainer(model: Any) -> Explainer:
    """Return what runs a model: a method that only reads its scores."""
    if isinstance(model, Explainer):
        return model
    return Explainer(model.model if isinstance(model, BaseCAM) else model, method="rise", masks=1)
