"""What a method is: a row with its name, source, options and how it is built from a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cam.perturbation import Progress
from ..errors import OptionError
from ..graph.emitter import Emitter
from ..graph.model import Model
from ..graph.score import Score
from ..graph.value import Value
from ..heads import Head
from ..layers.flow import Flow, flow_of, rows_of
from ..layers.layers import Layer
from ..program import COMPONENTS, Scored, append_target
from ..runtime import Session

Arrays = dict[str, NDArray[Any]]
Feeds = Mapping[str, NDArray[Any]]
Outputs = dict[str, Value]
Run = Callable[[Feeds], Arrays]
"""Takes the inputs and the target; returns target, score, scores, a map for each layer (``map/i``) and sums."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the caller chose, whatever the model.

    Attributes
    ----------
    base : str
        The CAM that is refined; empty where the kind of net decides.
    residual, products : str
        How sums and products share; empty where the composite's own choice stands.
    settings : mapping
        The method's own options, all of them.
    trace : bool
        Whether the program also returns what every operator of its walk gets and hands on.
    """

    base: str
    denoise: bool
    eigen_smooth: bool
    residual: str
    products: str
    start: str
    saturation: bool
    trace: bool
    device: str
    threads: int
    optimization: str
    batch: int
    progress: Progress | None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Options(Choices):
    """What a method is built from; every dimension of the model but the batch is bound.

    Attributes
    ----------
    head : Head
        What the output that is explained means.
    seeded : bool
        Whether the target comes as weights of the logits, not as a class.
    """

    model: Model
    input: str
    score: Score
    head: Head
    layers: tuple[Layer, ...]
    base_layer: Layer
    seeded: bool

    @property
    def flow(self) -> Flow:
        """How the images share the answers."""
        return flow_of(self.model, logits=self.score.logits, source=self.input)


CELLS: dict[str, Any] = {"cells": False}
"""The setting of a walk whose strided windows may share what they hand back in the cells of their strides."""

Append = Callable[[Options, Emitter, Scored], Outputs]
"""Appends a method to a model and returns its outputs by name: ``map/i`` for each layer, and sums."""


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes
    ----------
    summary, source : str
        What it does, in a line, and where it was published.
    append : Append, optional
        The method as one graph, where it is one.
    build : callable, optional
        How it is built where it is not one graph, or not with all options.
    at : {"input", "base", "stage"}
        Where the map is taken when no layer is named: at the input, at the default base layer, or three stages
        (sizes) before it.
    settings : mapping
        The method's own options and their defaults.
    variants : callable, optional
        Returns the settings that there are, given those that were passed, where one of them decides on others.
    start, residual, products : str
        What relevance starts from, and how sums and products share it, when nothing is said; empty where the rules
        decide.
    base : str, optional
        Of what refines a CAM: which one when none is named; empty where the kind of net decides on it, and on the
        layer.
    traces : bool
        Whether it hands relevance back, which can be traced.
    takes : frozenset of str
        Which of the options that only some methods take (``taking.UNSAID``) change something of it.
    relative : bool
        Whether 0 means nothing in its map, which is shown from its least value to its largest.
    """

    summary: str
    source: str
    append: Append | None = None
    build: Callable[[Options], Run] | None = None
    at: str = "input"
    settings: Mapping[str, Any] = field(default_factory=dict)
    variants: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
    start: str = "plain"
    residual: str = "positive"
    products: str = "value"
    base: str | None = None
    traces: bool = False
    takes: frozenset[str] = frozenset()
    relative: bool = False

    def compile(self, options: Options) -> Run:
        """Return the method on the model of ``options``, ready to run."""
        if self.build is not None:
            return self.build(options)
        if self.append is None:
            raise TypeError("a method has append or build")
        return one_graph(options, self.append)


@dataclass(frozen=True)
class Runner:
    """Runs a program on any number of images, in batches that the model and the memory allow.

    Attributes
    ----------
    split : mapping of str to int
        The inputs that are given row by row, and how many rows of each belong to an image, or to a run where the
        images of one are fixed. All others belong to every image.
    fixed : int or None
        Images that a run takes, or bags of them, where that is fixed.
    limit : int
        Images in a run, where that is free.
    """

    session: Session
    split: Mapping[str, int]
    fixed: int | None
    limit: int

    def __call__(self, feeds: Feeds) -> Arrays:
        """Run on ``feeds``, batch first; a fixed batch is filled up by repeating the last image."""
        if not self.split:
            return self.session.run(feeds)
        step, unit = self.fixed or self.limit, self.fixed or 1
        whole = {n: a for n, a in feeds.items() if n not in self.split}
        split = {n: a for n, a in feeds.items() if n in self.split}
        count = max(-(-len(a) * unit // self.split[n]) for n, a in split.items())
        parts = []
        for start in range(0, count, step):
            size = min(step, count - start)
            rows = {n: (start * r // unit, (start + size) * r // unit) for n, r in self.split.items()}
            part = {n: a[slice(*rows[n])] for n, a in split.items()}
            if self.fixed and size < step:
                part = {n: np.concatenate([a, a[-1:].repeat(self.split[n] - len(a), 0)]) for n, a in part.items()}
            filled = self.fixed or size
            parts.append({n: a[: len(a) * size // filled] for n, a in self.session.run({**whole, **part}).items()})
        return {n: np.concatenate([p[n] for p in parts]) for n in parts[0]}


def runner(options: Options, program: Model) -> Runner:
    """Return what runs ``program`` on the device and with the batch of ``options``."""
    flow, session = options.flow, session_of(options, program)
    return Runner(session, _split(options, program), fixed_of(flow), limit_of(options))


def session_of(options: Options, program: Model) -> Session:
    """Return ``program`` ready to run as ``options`` say."""
    return Session(program, device=options.device, threads=options.threads, optimization=options.optimization)


def limit_of(options: Options) -> int:
    """Return how many images are run at once; one where those of a batch change one another's answers."""
    return 1 if options.flow.mixed else options.batch


def check_single(flow: Flow) -> None:
    """Refuse bags for what runs changed copies of one image.

    Raises
    ------
    OptionError
        Several images have one answer.
    """
    if flow.bag:
        raise OptionError(
            "the model gives one answer for a whole bag of images, and this method runs it on changed copies of one "
            "image. Choose a method of gradients or relevance, such as gradcam or fgcam."
        )


def fixed_of(flow: Flow) -> int | None:
    """Return how many images, or bags of them, a run takes where that is fixed."""
    if not isinstance(flow.images, int):
        return None
    return flow.answers if isinstance(flow.answers, int) else flow.images


def _split(options: Options, program: Model) -> dict[str, int]:
    """Return the inputs of ``program`` that are given row by row, and their rows; none where a bag is of any size.

    Of the model's own inputs they are those whose first dimension is that of the images.
    """
    flow, own = options.flow, {i.name for i in options.model.inputs}
    if flow.bag and not isinstance(flow.images, int):
        return {}
    rows = {i.name: i.shape[0] for i in program.inputs if i.shape}
    split = {n: r for n, r in rows.items() if n not in own or r == flow.images}
    many = rows_of(options.model, options.base_layer.name, source=options.input) if COMPONENTS in split else 1
    return {n: r if isinstance(r, int) else (many or 1) if n == COMPONENTS else 1 for n, r in split.items()}


@dataclass(frozen=True)
class Compiled:
    """A method built for one input size: its options, the names of its layers, and what runs it."""

    options: Options
    names: tuple[str, ...]
    run: Run


def start(options: Options) -> tuple[Emitter, Scored]:
    """Return an emitter on the model with the target appended, its outputs named."""
    emitter = Emitter(options.model)
    emitter.scope = "score"
    scored = append_target(emitter, options.score.logits, source=options.input, seeded=options.seeded)
    for name in ("target", "score", "scores"):
        emitter.output(name, getattr(scored, name))
    emitter.scope = "explain"
    return emitter, scored


def one_graph(options: Options, append: Append) -> Run:
    """Return the method that is one program: what ``append`` returns are its outputs."""
    emitter, scored = start(options)
    for name, value in append(options, emitter, scored).items():
        emitter.output(name, value)
    return runner(options, emitter.build())
