"""Two explainers on one graph: what is predicted, and where the model looks, when some layers are the other model's."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import LayerError, OptionError
from ..explainer import Explainer
from ..explanation import Explanation
from ..graph.emitter import Emitter
from ..graph.model import Model
from ..graph.score import find_score
from ..layers.layers import Layer
from ..methods.method import Options
from ..runtime import Session
from ..sizes import bound_to
from ..surgery.splicing import BOTH, OWN, Seam, spliced
from ..surgery.unfused import real_output, unfused, with_images
from ..targets import AnyTarget
from .drift import Drift, Measure
from .matching import Matching, Side, matched

Arrays = NDArray[Any]


class Settled(Explainer):
    """An explainer whose layers, and the output it explains, are known and not found in the graph."""

    settled: Options

    def __init__(self, explainer: Explainer, options: Options) -> None:
        vars(self).update(vars(explainer.on(options.model, options.input)))
        self.settled, self.output, self.frame = options, options.score.output, None

    def options(self, size: tuple[int, ...] = (), *, seeded: bool = False) -> tuple[Options, tuple[str, ...]]:
        """Return what was settled."""
        score, head = self._meaning(size)
        own = replace(self.settled, score=score, head=head, seeded=seeded)
        return own, tuple(x.name for x in own.layers)


@dataclass(frozen=True, eq=False)
class Fixed:
    """An explainer whose sizes, layers and integer operators are settled for the pictures at hand.

    Attributes
    ----------
    explainer : Explainer
        On the model with its integer operators between quantizers.
    feeds : mapping
        The pictures as it takes them, by input.
    options : Options
        Its layers, and the output that is explained.
    """

    explainer: Explainer
    feeds: Mapping[str, Arrays]
    options: Options

    @property
    def model(self) -> Model:
        """The model that is spliced."""
        return self.explainer.model

    @property
    def images(self) -> int | None:
        """How many images it takes at a time, where that is fixed."""
        first = next(i for i in self.model.inputs if i.name == self.explainer.input).shape[0]
        return first if isinstance(first, int) else None

    def explained(self, *, target: AnyTarget) -> Explanation:
        """Explain the pictures."""
        return Settled(self.explainer, self.options)(dict(self.feeds), target=target)

    def side(self) -> Side:
        """Return its skeleton and weights."""
        return Side.of(self.model, source=self.explainer.input, logits=self.options.score.logits)


def settled(explainer: Explainer, pictures: Arrays, *, images: int | None = None) -> Fixed:
    """Settle ``explainer`` for ``pictures``, of which it is to take ``images`` at a time."""
    feeds = explainer.feeds(pictures)
    model = explainer.model
    if explainer.sizes_are_free:
        model = bound_to(model, {explainer.input: (None, *feeds[explainer.input].shape[1:])})
    if images is not None:
        model = with_images(model, images)
    options, _ = explainer.on(model, explainer.input).options()
    plain, output = real_output(unfused(model), options.score.output)
    score = find_score(plain, output, before_softmax=explainer.before_softmax)
    return Fixed(explainer.on(plain, explainer.input), feeds, replace(options, model=plain, score=score))


def both_settled(
    reference: Explainer, candidate: Explainer, *, pictures: Arrays, candidate_pictures: Arrays
) -> tuple[Fixed, Fixed]:
    """Settle two explainers, so that both take as many images at a time.

    Raises
    ------
    OptionError
        Both have a batch that is fixed, at another number.
    """
    a, b = settled(reference, pictures), settled(candidate, candidate_pictures)
    if a.images is None and b.images is not None:
        a = settled(reference, pictures, images=b.images)
    elif b.images is None and a.images is not None:
        b = settled(candidate, candidate_pictures, images=a.images)
    if a.images != b.images:
        raise OptionError(
            f"the reference takes {a.images} images at a time and the candidate {b.images}: they cannot be spliced. "
            "Export one of them with a free batch."
        )
    return a, b


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

    def without(self, layers: Collection[int]) -> Splices:
        """Return the splices of which ``layers`` are one with those that read them."""
        gone = {self.matching.pairs[i].reference.name for i in layers}
        pairs = tuple(
            replace(p, single=p.single and gone.isdisjoint(p.reference.inputs))
            for i, p in enumerate(self.matching.pairs)
            if i not in layers
        )
        return replace(self, matching=replace(self.matching, pairs=pairs), _known={})

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
        return self.reference.explained(target=self.target)

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
        late = self.depth - 1 in taken
        if len(taken) == self.depth:
            return self.candidate.explained(target=self._classes(late=True))
        end = self.candidate if late else self.reference
        options = _renamed(end.options, BOTH.candidate if late else BOTH.reference)
        model = self.graph(taken, [options.score.output])
        feeds = self.feeds(model)
        made = {o for n in model.nodes for o in n.output} | feeds.keys()
        mine, theirs = self.reference.options, _renamed(self.candidate.options, BOTH.candidate)
        pairs = [*zip(mine.layers, theirs.layers, strict=False)] if len(mine.layers) == len(theirs.layers) else []
        pairs = pairs or [(mine.layers[-1], theirs.layers[-1])]
        options = replace(
            options,
            model=model,
            input=mine.input if mine.input in feeds else theirs.input,
            layers=tuple(_alive(a, b, made) for a, b in pairs),
            base_layer=_alive(mine.base_layer, theirs.base_layer, made),
        )
        return Settled(end.explainer, options)(feeds, target=self._classes(late=late))

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
        return {i.name: every[i.name.removesuffix(OWN)] for i in model.inputs}

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


def _renamed(options: Options, prefix: str) -> Options:
    """Return what a method is built from, where every tensor's name begins with ``prefix``."""
    score = options.score
    return replace(
        options,
        input=prefix + options.input,
        score=replace(score, output=prefix + score.output, logits=prefix + score.logits),
        layers=tuple(replace(x, name=prefix + x.name) for x in options.layers),
        base_layer=replace(options.base_layer, name=prefix + options.base_layer.name),
    )


def _alive(mine: Layer, theirs: Layer, made: Collection[str]) -> Layer:
    """Return the layer that is left in a splice."""
    for layer in (mine, theirs):
        if layer.name in made:
            return layer
    raise LayerError(f"neither {mine.name!r} nor {theirs.name!r} is left in the spliced model: choose another layer")


def _turned(found: list[Arrays], seams: Iterable[Seam]) -> list[Arrays]:
    """Return the candidate's results in the reference's order of axes."""
    return [a.transpose(np.argsort(s.order)) if s.order else a for a, s in zip(found, seams, strict=True)]


def results(model: Model, names: list[str], feeds: Mapping[str, Arrays]) -> Iterator[list[Arrays]]:
    """Yield tensors ``names`` of ``model`` for as many pictures at a time as it takes, one where that is free."""
    emitter = Emitter(model)
    wanted = {name: emitter.output(f"result/{i}", emitter.value(name)) for i, name in enumerate(names)}
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
