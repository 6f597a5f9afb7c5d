"""The two sides of an audit: each a model, how pictures are prepared for it, and the layer where its map is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..arguments import image_input
from ..errors import LayerError, OptionError
from ..explainer import Explainer
from ..graph.model import Model
from ..graph.quantization import units_of
from ..imaging import Preprocess, find_sidecar, preprocess_from
from ..layers.layers import INPUT, Layer, candidate_layers, find_layer
from ..methods import find_method


@dataclass(frozen=True, eq=False)
class Side:
    """A model as it is explained.

    Attributes
    ----------
    model : Model
    preprocess : Preprocess
        Bound to the model.
    method : str
    at : str, optional
        The layer where the map is, as it was asked for; None for the method's own.
    options : mapping
        Of the :class:`Explainer`.
    """

    model: Model
    preprocess: Preprocess
    method: str
    at: str | None
    options: Mapping[str, Any]

    @cached_property
    def explainer(self) -> Explainer:
        """What explains it."""
        return Explainer(self.model, method=self.method, layers=None if self.at is None else [self.at], **self.options)

    @cached_property
    def layer(self) -> Layer:
        """Where its map is."""
        shape = self.preprocess(Image.new("RGB", (64, 64))).shape
        options, _ = self.explainer.options(shape[1:] if self.explainer.sizes_are_free else ())
        return options.layers[0]

    @property
    def classes(self) -> int:
        """How many classes it tells apart; 0 where its scores are no scores of classes."""
        head = self.explainer.head
        return (head.count or 0) if head.classed else 0

    def real(self, scores: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return scores in the unit that they stand for, where the model's output is integers."""
        model = self.explainer.model
        scale, zero = (model.constants.get(n) for n in units_of(model).get(self.explainer.score.logits, ("", "")))
        if scale is None:
            return scores
        return (scores - np.float32(0 if zero is None else zero)) * np.float32(scale)

    def prepared(self, images: Sequence[Image.Image]) -> NDArray[Any]:
        """Return pictures as the model takes them."""
        return np.concatenate([self.preprocess(image) for image in images])

    def by(self, explainer: Explainer) -> Side:
        """Return the same explained by another explainer."""
        other = replace(self, model=explainer.model)
        vars(other)["explainer"] = explainer
        return other

    def optimized(self, level: str) -> Side:
        """Return the same with ONNX Runtime's optimisations at ``level``."""
        return replace(self, options={**self.options, "optimization": level})

    def read(self, layer: Layer) -> Layer:
        """Return a layer as those see it that read it: behind the quantizer, where that is all that reads it.

        A gradient in front of it stops where it cuts off, as no gradient does at the float layer that it stands for.
        """
        readers = [n for n in self.explainer.model.nodes if layer.name in n.input]
        if [n.op_type for n in readers] != ["QuantizeLinear"]:
            return layer
        found = self.find(readers[0].output[0])
        return layer if found is None else found

    def find(self, name: str) -> Layer | None:
        """Return the layer that is, or whose node or scope is, called ``name``."""
        try:
            found = find_layer(self.explainer.model, name, **self._where)
        except LayerError:
            return None
        return found if name in (found.name, found.node, found.scope) and found.reach != "none" else None

    def of_size(self, wanted: Layer) -> Layer | None:
        """Return the deepest layer with as many channels and positions, best one that all of the score passes."""
        layers = candidate_layers(self.explainer.model, **self._where)
        fitting = [x for x in layers if _alike(x, wanted) and x.reach != "none"]
        return max(enumerate(fitting), key=lambda place: (place[1].every_path, place[0]))[1] if fitting else None

    @property
    def _where(self) -> dict[str, Any]:
        return {"logits": self.explainer.score.logits, "source": self.explainer.input}


def bound(preprocess: Preprocess, model: Model, *, name: str | None) -> Preprocess:
    """Return a preprocessing for a model's input of pictures."""
    spec = image_input(model.inputs, name)
    return preprocess.bound(spec.shape, spec.dtype)


def prepares(model: Model, given: Preprocess | None, *, otherwise: Preprocess | None) -> tuple[Preprocess, str]:
    """Return how pictures are prepared for a model, and who says so: the caller, its sidecar, or the other side's.

    Raises
    ------
    OptionError
        Nobody does.
    """
    if given is not None:
        return given, "as given"
    sidecar = find_sidecar(model.path) if model.path is not None else None
    if sidecar is not None:
        return preprocess_from(sidecar), sidecar.name
    if otherwise is None:
        raise OptionError("there is no preprocessing file beside the reference; pass preprocess=")
    return replace(otherwise, layout=None, dtype=None, size=None), "as for the reference"


def matched(reference: Side, own: Side) -> tuple[Side, str]:
    """Return the candidate's side, its map at the layer that is the reference's, and how that was found.

    A tensor, node or exporter's scope of the same name and size is the same layer. Else it is where the candidate's own
    map would be, if the size is the same, or else its deepest layer of that size.

    Raises
    ------
    LayerError
        A layer was named for the reference, and nothing in the candidate corresponds.
    """
    wanted = reference.layer
    if wanted.op == "Input":
        return replace(own, at=INPUT if reference.at is not None else None), "the input of both"
    if find_method(reference.method).at == "input" and reference.at is None:
        return own, "where the method has its map"
    for name, how in ((wanted.name, "tensor"), (wanted.node, "node"), (wanted.scope, "scope")):
        found = own.find(name) if name and reference.find(name) == wanted else None
        if found is not None and _alike(found, wanted):
            read = own.read(found)
            behind = "" if read == found else ", behind its quantizer"
            return replace(own, at=read.name), f"the {how} of the same name{behind}"
    if reference.at is None and _alike(own.layer, wanted):
        return own, "the best base of each, of the same size"
    if (found := own.of_size(wanted)) is not None:
        return replace(own, at=found.name), "the deepest layer of the same size"
    if reference.at is not None:
        size = "x".join(map(str, wanted.spatial))
        raise LayerError(
            f"no layer of the candidate is called {wanted.name!r}, and none has {wanted.channels} channels at {size}: "
            "say which with candidate_layer= (--candidate-layer)"
        )
    return own, "the best base of each, whose sizes differ"


def _alike(a: Layer, b: Layer) -> bool:
    return a.op != "Input" and b.op != "Input" and a.channels == b.channels and a.spatial == b.spatial
