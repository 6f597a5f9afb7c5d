"""One picture, every stage of a net, several methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import FgcamError, InputError, LayerError, OptionError
from .explanation import Explanation
from .gallery import Row, drawn_figure, fragment, sheet
from .graph.model import Model
from .hand.explainer import Explainer, Target
from .hand.intake import Given
from .imaging import Seen, Style
from .layers.layers import INPUT, Layer, candidate_layers, default_base, find_layer, ranked_layers
from .loading.loading import load
from .methods import METHODS, find_method
from .methods.taking import UNSAID, shared_out

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from onnx import ModelProto
    from PIL.Image import Image

__all__ = ["Sweep", "sweep"]

USUAL = ("fgcam", "gradcam", "layercam", "relevancecam")
"""Methods that are swept when none is named, those that are there."""


@dataclass(frozen=True, repr=False)
class Sweep:
    """Maps of one picture by layer and method.

    Attributes
    ----------
    layers : tuple of str
        From the input to the deepest.
    places : tuple of str
        What each layer is, for people: size and channels.
    methods : tuple of str
    maps : dict of (layer, method) to ndarray of shape (h, w)
    failures : dict of (layer, method) to str
        Why there is no map.
    target : int
    score : float
    described : str
        What was explained, where it is no class.
    relative : frozenset of str
        The methods in whose maps 0 means nothing, so that they are shown from their least value to their largest.
    label : str
        The class's first name, or what was explained.
    probability : float, optional
        The class's.
    seen : Seen, optional
        The picture, where one was given.
    notes : tuple of str
        What is to be known of all maps.
    """

    layers: tuple[str, ...]
    places: tuple[str, ...]
    methods: tuple[str, ...]
    maps: dict[tuple[str, str], NDArray[np.float32]]
    failures: dict[tuple[str, str], str]
    target: int
    score: float
    described: str = ""
    relative: frozenset[str] = frozenset()
    label: str = ""
    probability: float | None = None
    seen: Seen | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Say what was explained, not the numbers."""
        return f"<Sweep of {self.title}: {', '.join(self.methods)} at {', '.join(self.layers)}>"

    @property
    def title(self) -> str:
        """What was explained, and how sure the model is of it."""
        sure = f"score {self.score:.4g}" if self.probability is None else f"probability {self.probability:.3f}"
        return f"{self.label or self.described or self.target}, {sure}"

    def gallery(self) -> list[Row]:
        """Return a row for each layer, its maps by method."""
        return [
            Row(
                layer,
                place,
                {m: self.maps[layer, m] for m in self.methods if (layer, m) in self.maps},
                self.seen,
                relative=self.relative,
                failures={m: self.failures.get((layer, m), "at a layer only") for m in self.methods},
            )
            for layer, place in zip(self.layers, self.places, strict=True)
        ]

    def sheet(self, *, title: str | None = None, tile: int = 224, **style: Any) -> Image:
        """Return all maps on one sheet: a row for each layer, a column for each method.

        Parameters
        ----------
        title : str, optional
            Default: what was explained.
        tile : int
            Side of an overlay in pixels, 64..1024.
        **style
            Fields of `imaging.Style`.

        Raises
        ------
        OptionError
            A number is out of range, or the sheet would be too large to make.
        """
        how: dict[str, Any] = {"columns": self.methods, "style": Style.of(style), "notes": self.notes}
        named = self.title if title is None else title
        return sheet(self.gallery(), title=named, tile=tile, one_picture=True, **how)

    def figure(self, **style: Any) -> Figure:
        """Return all maps as a figure of matplotlib's; ``style`` as for `sheet`."""
        return drawn_figure(self.gallery(), columns=self.methods, style=Style.of(style), notes=self.notes)

    def _repr_html_(self) -> str:
        how: dict[str, Any] = {"columns": self.methods, "style": Style(), "about": self.notes}
        return fragment(self.gallery(), title=self.title, one_picture=True, **how)


def stage_layers(model: Model, *, logits: str, source: str | None = None) -> list[Layer]:
    """Return the best-ranked layer of each spatial resolution, from the input's side to the deepest.

    Only layers that all of the score passes through, down to the default base layer.
    """
    order = [layer.name for layer in candidate_layers(model, logits=logits, source=source)]
    last = order.index(default_base(model, logits=logits, source=source).name)
    best: dict[tuple[int, ...], Layer] = {}
    for layer in ranked_layers(model, logits=logits, source=source):
        at = order.index(layer.name)
        if layer.every_path and layer.reach != "none" and 0 < at <= last and layer.op != "Input":
            best.setdefault(layer.spatial, layer)
    return sorted(best.values(), key=lambda layer: order.index(layer.name))


def stage_names(model: Model, *, logits: str, source: str | None = None) -> tuple[str, ...]:
    """Return the names of the input and of :func:`stage_layers`."""
    where: dict[str, Any] = {"logits": logits, "source": source}
    return INPUT, *(_name(model, layer, where) for layer in stage_layers(model, **where))


def sweep(
    model: Model | ModelProto | str | Path,
    x: Given,
    *,
    methods: Sequence[str] | None = None,
    layers: Sequence[str] | None = None,
    target: Target = None,
    **options: Any,
) -> Sweep:
    """Explain one image at every stage by several methods.

    Parameters
    ----------
    model : Model, ModelProto or path
    x : picture, or array of shape (1, C, H, W)
        As an :class:`fgcam_onnx.Explainer` takes it; one. A mapping of input names where the model has several inputs.
    methods : sequence of str, optional
        Default: those of ``USUAL`` that are there.
    layers : sequence of str, optional
        Default: the input, for methods that reach it, and :func:`stage_layers`.
    target
        As an :class:`fgcam_onnx.Explainer` takes it; one.
    **options
        Of an :class:`fgcam_onnx.Explainer`.

    Raises
    ------
    FgcamError
        The model, picture, target or a name does not fit. What a method cannot do at a layer is a failure of that
        place, not of all; where none succeeds, the first is raised.
    """
    chosen = tuple(dict.fromkeys(methods or [m for m in USUAL if m in METHODS]))
    if "method" in options:
        raise OptionError("sweep takes methods, not method")
    own = shared_out(chosen, {n: options.pop(n) for n in UNSAID if n in options})
    loaded = model if isinstance(model, Model) else load(model)
    probe = Explainer(loaded, method="gradcam", **options)
    taken = probe.intake.taken(x, probe)
    shape = probe.feeds(taken.x)[probe.input].shape
    if shape[0] != 1:
        raise InputError(f"a sweep is of one picture, not of {shape[0]}")
    prediction = probe.options(shape[1:] if probe.sizes_are_free else ())[0]
    where: dict[str, Any] = {"logits": prediction.score.logits, "source": prediction.input}
    names = stage_names(prediction.model, **where) if layers is None else tuple(dict.fromkeys(layers))
    found = {n: find_layer(prediction.model, n, **where) for n in names}
    results = _Results(loaded, taken.x, target, {n: v for n, v in options.items() if n != "preprocess"})
    for method in chosen:
        wanted = [n for n in names if layers is not None or n != INPUT or find_method(method).at == "input"]
        results.add(method, wanted, own[method])
    if results.one is None:
        raise results.errors[0] if results.errors else LayerError("there is no layer to explain at")
    one = results.one
    target_class = int(one.target[0])
    sure = one.probabilities[0, target_class] if one.probabilities is not None and target_class >= 0 else None
    return Sweep(
        names,
        tuple(" x ".join(map(str, found[n].spatial)) + f", {found[n].channels} channels" for n in names),
        chosen,
        results.maps,
        results.failures,
        target_class,
        float(one.score[0]),
        one.described[0] if one.described else "",
        frozenset(results.relative),
        one.title(0),
        None if sure is None else float(sure),
        taken.seen[0] if taken.seen else None,
        probe.intake.notes,
    )


def _name(model: Model, layer: Layer, where: Mapping[str, Any]) -> str:
    """Return the exporter's module path where it means this layer, else the tensor's name."""
    if layer.scope:
        try:
            if find_layer(model, layer.scope, **where).name == layer.name:
                return layer.scope
        except LayerError:
            pass
    return layer.name


class _Results:
    """Collects maps; what fails at one layer is tried at each alone."""

    def __init__(self, model: Model, x: Given, target: Target, options: dict[str, Any]) -> None:
        self._model, self._x, self._target, self._options = model, x, target, options
        self.maps: dict[tuple[str, str], NDArray[np.float32]] = {}
        self.failures: dict[tuple[str, str], str] = {}
        self.errors: list[FgcamError] = []
        self.relative: set[str] = set()
        self.one: Explanation | None = None

    def add(self, method: str, layers: Sequence[str], own: Mapping[str, Any]) -> None:
        """Explain at ``layers`` by ``method`` with options of its ``own``."""
        if not layers:
            return
        try:
            explainer = Explainer(self._model, method=method, layers=list(layers), **self._options, **own)
            e = explainer(self._x, target=self._target)
        except FgcamError as error:
            if len(layers) > 1:
                for layer in layers:
                    self.add(method, [layer], own)
            else:
                self.failures[layers[0], method] = str(error)
                self.errors.append(error)
            return
        if len(e.target) != 1:
            raise OptionError("a sweep is of one target")
        self.maps |= {(layer, method): m[0] for layer, m in e.maps.items()}
        self.one = e
        if any(e.relative):
            self.relative.add(method)
