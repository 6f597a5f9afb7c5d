"""Guided backpropagation, as pytorch-grad-cam calls it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ..explainer import Explainer
from ..lrp.table import guided_backprop
from ..methods.method import runner, start
from ..program import TARGET, append_relevance
from ..targets import fitted_classes

if TYPE_CHECKING:
    from onnx import ModelProto

    from ..graph.model import Model

GUIDED = "guided"


class GuidedBackpropReLUModel:
    """The guided gradient at the input (Springenberg et al., 2015, arXiv:1412.6806).

    Parameters
    ----------
    model : path, Model or ModelProto
    device : {"cpu", "cuda", "auto"}
    """

    def __init__(self, model: Model | ModelProto | str | Path, device: str = "cpu") -> None:
        self.explainer = Explainer(model, method="guidedbackprop", device=device)

    def __call__(self, input_img: ArrayLike, target_category: int | None = None) -> NDArray[np.float32]:
        """Return the gradient by channel, (H, W, C), of one image.

        Parameters
        ----------
        input_img : array of shape (1, C, H, W), or as the model takes it
        target_category : int, optional
            Default: the top class.

        Raises
        ------
        InputError
            There are several images; pytorch-grad-cam explains the first.
        TargetError
            There is no such class.
        """
        explainer = self.explainer
        feeds: dict[str, Any] = explainer.feeds(input_img)
        x = feeds[explainer.input]
        if len(x) != 1:
            raise InputError(f"GuidedBackpropReLUModel explains one image, not {len(x)}; give them one by one")
        options, _ = explainer.options(tuple(x.shape[1:]) if explainer.sizes_are_free else ())
        emitter, scored = start(options)
        found = append_relevance(
            emitter, [options.input], output=options.score.logits, seed=scored.seed, pullback=guided_backprop(),
            canonize=True, derivative=True,
        )  # fmt: skip
        emitter.output(GUIDED, found[options.input])
        feeds[TARGET], _ = fitted_classes(target_category, 1, options.flow.classes)
        guided = runner(options, emitter.build())(feeds)[GUIDED][0]
        return np.ascontiguousarray(np.moveaxis(guided, options.layers[0].channel_axis - 1, -1), np.float32)
