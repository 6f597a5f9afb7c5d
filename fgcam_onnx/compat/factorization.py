"""Deep feature factorization: what a layer's activations are made of, as pytorch-grad-cam calls it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..asked import whole_of
from ..cam.factors import factors
from ..cam.fusion import resized
from ..errors import InputError
from ..explainer import Explainer
from ..forward import spatial_axes
from ..methods.method import runner, start
from ..program import TARGET, append_features
from .cams import _scaled

if TYPE_CHECKING:
    from onnx import ModelProto

    from ..graph.model import Model

ACTIVATIONS = "activations"
Concepts = NDArray[np.float32]


def dff(activations: ArrayLike, *, n_components: int = 5) -> tuple[Concepts, NDArray[np.float32]]:
    """Return concepts (C, k) and where each is, (N, k, h, w), whose product the activations (N, C, h, w) are.

    Non-negative factors of the activations less each channel's least (Collins, Achanta & Süsstrunk, 2018,
    arXiv:1806.10206).
    """
    a = np.nan_to_num(np.asarray(activations, np.float32))
    count, channels, *space = a.shape
    rows = np.moveaxis(a, 1, 0).reshape(channels, -1)
    least = rows.min(axis=1, keepdims=True)
    concepts, places = factors((rows - least).astype(np.float64), n_components)
    maps = np.moveaxis(places.reshape(n_components, count, *space), 0, 1)
    return np.asarray(concepts + least, np.float32), np.asarray(maps, np.float32)


class DeepFeatureFactorization:
    """Concepts of a layer, and where they are (Collins et al., 2018, arXiv:1806.10206).

    Parameters
    ----------
    model : path, Model or ModelProto
    target_layer : str, optional
        Default: the deepest.
    computation_on_concepts : callable, optional
        Takes the concepts as rows (k, C) float32, such as the last linear layer; what it returns is given on.
    """

    def __init__(
        self,
        model: Model | ModelProto | str | Path,
        target_layer: str | None = None,
        *,
        computation_on_concepts: Callable[[NDArray[np.float32]], Any] | None = None,
    ) -> None:
        layers = None if target_layer is None else [target_layer]
        self.explainer = Explainer(model, method="eigencam", layers=layers)
        self.computation_on_concepts = computation_on_concepts

    def __call__(self, input_tensor: ArrayLike, n_components: int = 16) -> tuple[Any, ...]:
        """Return concepts (C, k), for each image where they are, (k, H, W) in [0, 1], and what is computed on them.

        Raises
        ------
        InputError
            The array does not fit the model.
        OptionError
            ``n_components`` is no number from 1.
        """
        whole_of(n_components, "n_components", least=1)
        explainer = self.explainer
        feeds: dict[str, Any] = explainer.feeds(input_tensor)
        x = feeds[explainer.input]
        options, _ = explainer.options(tuple(x.shape[1:]) if explainer.sizes_are_free else ())
        emitter, _ = start(options)
        (layer,) = options.layers
        emitter.output(ACTIVATIONS, append_features(emitter, layer))
        feeds[TARGET] = np.full(options.flow.answers_to(len(x)), -1, np.int64)
        found = np.moveaxis(runner(options, emitter.build())(feeds)[ACTIVATIONS], layer.channel_axis, 1)
        concepts, places = dff(found, n_components=n_components)
        size = tuple(x.shape[a] for a in spatial_axes(explainer.model, explainer.input))
        shown = [resized(_scaled(maps), size) for maps in places]
        if self.computation_on_concepts is None:
            return concepts, shown
        return concepts, shown, np.asarray(self.computation_on_concepts(np.ascontiguousarray(concepts.T)))


def show_factorization_on_image(
    img: NDArray[Any],
    explanations: NDArray[Any],
    *,
    colors: Sequence[Sequence[float]] | None = None,
    image_weight: float = 0.5,
) -> NDArray[np.uint8]:
    """Return a picture with each place in the colour of its strongest concept, as bright as that is strong.

    Parameters
    ----------
    img : ndarray of shape (H, W, 3)
        RGB floats from 0 to 1.
    explanations : ndarray of shape (k, H, W)
        In [0, 1].
    colors : sequence of k RGB colours in [0, 1], optional
        Default: matplotlib's gist_rainbow.
    image_weight : float
        Share of ``img``.

    Raises
    ------
    InputError
        The arrays do not fit.
    """
    img, maps = np.asarray(img), np.asarray(explanations)
    if img.ndim != 3 or img.shape[2] != 3 or maps.shape[1:] != img.shape[:2]:
        raise InputError(f"img is (H, W, 3) and explanations (k, H, W), not {img.shape} and {maps.shape}")
    if colors is None:
        from matplotlib import colormaps

        colors = [colormaps["gist_rainbow"](i / len(maps)) for i in range(len(maps))]
    if len(colors) != len(maps):
        raise InputError(f"{len(colors)} colors for {len(maps)} explanations; give one for each")
    full = np.asarray([np.asarray(c, np.float64)[:3] for c in colors])
    full = full / np.maximum(full.max(axis=1, keepdims=True), 1e-12)
    painted = full[maps.argmax(axis=0)] * maps.max(axis=0)[..., None]
    mixed = img * image_weight + painted * (1 - image_weight)
    return np.asarray(np.clip(mixed, 0, 1) * 255).astype(np.uint8)
