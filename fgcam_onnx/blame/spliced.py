"""Two explainers on one graph: what is predicted, and where the model looks, when some layers are the other model's."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FgcamError, OptionError
from ..explainer import Explainer
from ..explanation import Explanation
from ..graph.emitter import Emitter
from ..graph.model import Model
from ..layers.layers import INPUT
from ..runtime import Session
from ..sizes import bound_to
from ..surgery.splicing import BOTH, OWN, Seam, spliced
from ..surgery.unfused import unfused
from ..targets import AnyTarget
from .drift import Drift, Measure
from .matching import Matching, Side, matched

Arrays = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Fixed:
    """An explainer whose sizes, layers and integer operators are settled for the pictures at hand.

    Attributes
    ----------
    explainer : Explainer
        On the model with its integer operators between quantizers.
    feeds : mapping
        The pictures as it takes them, by input.
    layers, base_layer : tuple of str, str
        The tensors where it makes maps.
    """

    explainer: Explainer
    feeds: Mapping[str, Arrays]
    layers: tuple[str, ...]
    base_layer: str
    logits: str
    output: str

    @classmethod
    def of(cls, explainer: Explainer, pictures: Arrays) -> Fixed:
        """Settle ``explainer`` for ``pictures``."""
        feeds = explainer.feeds(pictures)
        size = feeds[explainer.input].shape[1:]
        model = explainer.model
        if explainer.sizes_are_free:
            model = bound_to(model, {explainer.input: (None, *size)})
        own = explainer.on(unfused(model))
        options, _ = own.options()
        names = tuple(INPUT if x.name == own.input else x.name for x in options.layers)
        return cls(own, feeds, names, options.base_layer.name, options.score.logits, options.score.output)

    @property
    def model(self) -> Model:
        """The model that is spliced."""
        return self.explainer.model

    def side(self) -> Side:
        """Return its skeleton and weights."""
        return Side.of(self.model, source=self.explainer.input, logits=self.logits)


@dataclass(frozen=True, eq=False)
class Splices:
    """Every splice of two models, measured on some pictures.

    Attributes
    ----------
    reference, candidate : Fixed
    matching : Matching
        The layers that both have; the splices are named by their positions.
    target : AnyTarget
        What is explained, by the reference.
    offset : int
        Classes that the candidate counts before the reference's first.
    measure : Measure
    """

    reference: Fixed
    candidate: Fixed
    matching: Matching
    target: AnyTarget
    offset: int
    measure: Measure
    _known: dict[frozenset[int], Drift] = field(default_factory=dict)

    @classmethod
    def of(
        cls, reference: Fixed, candidate: Fixed, *, target: AnyTarget = None, offset: int = 0, measure: Measure
    ) -> Splices:
        """Match the layers of two models.

        Raises
        ------
        OptionError
            They have no layer in common.
        """
        matching = matched(reference.side(), candidate.side())
        if len(matching.pairs) < 2:
            raise OptionError(
                "the models have no layers in common: what is compared is not one net in two forms. Of "
                f"{len(matching.alone)} layers of the reference, {len(matching.pairs)} have a partner in the candidate."
            )
        return cls(reference, candidate, matching, target, offset, measure)

    @property
    def depth(self) -> int:
        """Number of layers that both models have."""
        return len(self.matching.pairs)

    @property
    def count(self) -> int:
        """How many splices were measured."""
        return len(self._known)

    @functools.cached_property
    def truth(self) -> Explanation:
        """What the reference says."""
        return self.reference.explainer(dict(self.reference.feeds), target=self.target)

    @functools.cached_property
    def total(self) -> Drift:
        """The drift of the candidate, as it is spliced."""
        return self.drift(range(self.depth))

    def drift(self, taken: Collection[int]) -> Drift:
        """Return the drift where the layers ``taken`` are the candidate's, all others the reference's."""
        key = frozenset(taken)
        if not key:
            return Drift(0.0, 0.0)
        if key not in self._known:
            self._known[key] = self.measure(self.truth, self._explained(key))
        return self._known[key]

    def _explained(self, taken: frozenset[int]) -> Explanation:
        whole = len(taken) == self.depth
        late = self.depth - 1 in taken
        end = self.candidate if late else self.reference
        output = BOTH.candidate + end.output if late else end.output
        if whole:
            return self.candidate.explainer(dict(self.candidate.feeds), target=self._classes(late=True))
        model = self.graph(taken, [output])
        feeds = self.feeds(model)
        made = {o for n in model.nodes for o in n.output} | feeds.keys()
        source = self._source(feeds)
        layers = [self._place(name, other, made, source) for name, other in self._layers()]
        base = self._place(self.reference.base_layer, self.candidate.base_layer, made, source)
        explainer = end.explainer.on(
            model,
            input=source,
            output=output,
            layers=tuple(layers),
            base_layer=base if base != INPUT else None,
            frame=None,
        )
        return explainer(feeds, target=self._classes(late=late))

    def _layers(self) -> Iterator[tuple[str, str]]:
        """Return the reference's layers, each with the candidate's; of differently many only the last."""
        mine, theirs = self.reference.layers, self.candidate.layers
        return zip(mine, theirs, strict=True) if len(mine) == len(theirs) else iter([(mine[-1], theirs[-1])])

    def _place(self, name: str, other: str, made: Collection[str], source: str) -> str:
        if INPUT in (name, other):
            return INPUT
        for known in (name, BOTH.candidate + other):
            if known in made:
                return known
        raise FgcamError(f"neither {name!r} nor {other!r} is left in the spliced model: choose another layer for the map")

    def _source(self, feeds: Mapping[str, Arrays]) -> str:
        name = self.reference.explainer.input
        return name if name in feeds else BOTH.candidate + self.candidate.explainer.input

    def _classes(self, *, late: bool) -> AnyTarget:
        if self.target is not None:
            return self.target
        return [int(t) + (self.offset if late else 0) for t in self.truth.target]

    def graph(self, taken: Collection[int], outputs: Collection[str]) -> Model:
        """Return the graph of a splice that gives ``outputs``."""
        seams = [p.seam for p in self.matching.pairs]
        return spliced(self.reference.model, self.candidate.model, seams, taken=taken, outputs=outputs)

    def feeds(self, model: Model) -> dict[str, Arrays]:
        """Return the pictures for a spliced model."""
        every = dict(self.reference.feeds) | {BOTH.candidate + n: a for n, a in self.candidate.feeds.items()}
        return {i.name: every[i.name] for i in model.inputs}

    def alone(self, layers: Iterable[int]) -> Iterator[tuple[list[Arrays], list[Arrays]]]:
        """Yield, picture by picture, the results of layers: the reference's, and the candidate's on its inputs."""
        seams = [self.matching.pairs[i].seam for i in layers]
        mine = [s.reference[0] for s in seams]
        theirs = [BOTH.candidate + s.candidate[0] + OWN for s in seams]
        graph = self.graph((), [*mine, *theirs])
        for found in results(graph, [*mine, *theirs], self.feeds(graph)):
            yield found[: len(mine)], _turned(found[len(mine) :], seams)

    def together(self) -> Iterator[tuple[list[Arrays], list[Arrays]]]:
        """Yield, picture by picture, the results of all layers of both models, each as it runs."""
        seams = [p.seam for p in self.matching.pairs]
        mine = results(self.reference.model, [s.reference[0] for s in seams], self.reference.feeds)
        theirs = results(self.candidate.model, [s.candidate[0] for s in seams], self.candidate.feeds)
        for a, b in zip(mine, theirs, strict=True):
            yield a, _turned(b, seams)


def _turned(found: list[Arrays], seams: Iterable[Seam]) -> list[Arrays]:
    """Return the candidate's results in the reference's order of axes."""
    return [a.transpose(np.argsort(s.order)) if s.order else a for a, s in zip(found, seams, strict=True)]


def results(model: Model, names: list[str], feeds: Mapping[str, Arrays]) -> Iterator[list[Arrays]]:
    """Yield tensors ``names`` of ``model`` for as many pictures at a time as it takes, one where that is free."""
    emitter = Emitter(model)
    wanted = {name: emitter.output(name, emitter.value(name)) for name in names}
    program = emitter.build()
    session = Session(program, threads=1)
    specs = {i.name: i.shape for i in program.inputs}
    fixed = [s[0] for s in specs.values() if s and isinstance(s[0], int)]
    step = fixed[0] if fixed else 1
    count = max(len(feeds[n]) for n in specs)
    for start in range(0, count, step):
        rows = [min(i, count - 1) for i in range(start, start + step)]
        kept = min(step, count - start)
        run = session.run({n: feeds[n][rows] for n in specs})
        yield [run[wanted[n]][:kept] if run[wanted[n]].shape[:1] == (step,) else run[wanted[n]] for n in names]
