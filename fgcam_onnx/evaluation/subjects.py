"""What is judged: methods with their options, at layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from ..errors import FgcamError, LayerError, NumericsError, UnsupportedOperatorError
from ..explainer import Explainer
from ..graph.model import Model
from ..layers.layers import candidate_layers
from ..methods import Options
from ..sweep import stage_names
from .shuffling import shuffled

STAGES = "stages"
"""A layer's name that stands for the best layer of each resolution."""


@dataclass(frozen=True)
class Variant:
    """A method with options, and what it is called in tables.

    Attributes
    ----------
    name : str
    method : str
        A row of ``methods.METHODS``.
    options : mapping
        Of :class:`Explainer`, the method's own settings among them.
    """

    name: str
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """A row of the results: a variant at a layer.

    Attributes
    ----------
    size : tuple of int
        Of its maps.
    depth : int
        Where the layer is among all, counted from the input.
    """

    variant: Variant
    layer: str
    size: tuple[int, ...] = ()
    depth: int = 0

    @property
    def label(self) -> str:
        """What the row is called."""
        return f"{self.variant.name} at {self.layer}"


@dataclass
class Pool:
    """Explainers, built when they are first asked for.

    Attributes
    ----------
    model : Model
    options : mapping
        Of every :class:`Explainer`.
    seed : int
        Of shuffled weights.
    """

    model: Model
    options: Mapping[str, Any]
    seed: int
    _models: dict[tuple[str, float], Model] = field(default_factory=dict)
    _built: dict[tuple[Any, ...], Explainer] = field(default_factory=dict)

    def explainer(
        self, variant: Variant, layers: Sequence[str] | None, *, randomised: str = "", place: float = 0.0
    ) -> Explainer:
        """Return the explainer of a variant, of the model as it is or with weights shuffled."""
        key = (variant.name, None if layers is None else tuple(layers), randomised, place)
        if key not in self._built:
            self._built[key] = Explainer(
                self._of(randomised, place), method=variant.method, layers=layers, **{**self.options, **variant.options}
            )
        return self._built[key]

    def _of(self, randomised: str, place: float) -> Model:
        if not randomised:
            return self.model
        if (randomised, place) not in self._models:
            self._models[randomised, place] = shuffled(self.model, randomised, place=place, seed=self.seed)
        return self._models[randomised, place]


@dataclass(frozen=True)
class Chosen:
    """The subjects that can be judged, and why others cannot."""

    subjects: tuple[Subject, ...]
    failures: Mapping[str, str]

    def groups(self) -> dict[str, list[Subject]]:
        """Return the subjects of each variant, which are explained in one run."""
        found: dict[str, list[Subject]] = {}
        for subject in self.subjects:
            found.setdefault(subject.variant.name, []).append(subject)
        return found


def choose(pool: Pool, variants: Sequence[Variant], layers: Sequence[str] | None, *, example: NDArray[Any]) -> Chosen:
    """Return the variants at the layers where they have a map, each tried on an example (1, ...).

    Raises
    ------
    OptionError
        A variant has an option that is not known, or does not fit.
    FgcamError
        No variant has a map at any of the layers.
    """
    subjects: list[Subject] = []
    failures: dict[str, str] = {}
    errors: list[FgcamError] = []
    for variant in variants:
        wanted = _expanded(layers, pool, variant, example)
        try:
            subjects += _tried(pool.explainer(variant, wanted), variant, example)
            continue
        except (LayerError, UnsupportedOperatorError) as error:
            if wanted is None:
                failures[f"{variant.name} at its layer"] = str(error)
                errors.append(error)
        for layer in wanted or ():
            try:
                subjects += _tried(pool.explainer(variant, [layer]), variant, example)
            except (LayerError, UnsupportedOperatorError) as error:
                failures[f"{variant.name} at {layer}"] = str(error)
                errors.append(error)
    if not subjects:
        raise errors[0]
    return Chosen(tuple(subjects), failures)


def _expanded(
    layers: Sequence[str] | None, pool: Pool, variant: Variant, example: NDArray[Any]
) -> Sequence[str] | None:
    """Return the layers to try, each once; None for the method's own."""
    if layers is None or STAGES not in layers:
        return layers and list(dict.fromkeys(layers))
    options, _ = _options(pool.explainer(variant, None), example)
    stages = stage_names(options.model, logits=options.score.logits, source=options.input)
    return list(dict.fromkeys(n for layer in layers for n in (stages if layer == STAGES else (layer,))))


def _options(explainer: Explainer, example: NDArray[Any]) -> tuple[Options, tuple[str, ...]]:
    return explainer.options(example.shape[1:] if explainer.sizes_are_free else ())


def _tried(explainer: Explainer, variant: Variant, example: NDArray[Any]) -> list[Subject]:
    options, names = _options(explainer, example)
    try:
        sizes = {name: found.shape[1:] for name, found in explainer(example).maps.items()}
    except NumericsError:
        sizes = {}
    order = [layer.name for layer in candidate_layers(options.model, logits=options.score.logits, grid=explainer.grid)]
    return [
        Subject(
            variant,
            name,
            sizes.get(name, layer.spatial),
            order.index(layer.name) if layer.name in order else len(order),
        )
        for name, layer in zip(names, options.layers, strict=True)
    ]
