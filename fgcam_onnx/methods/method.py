"""What a method is: a row with its name, source, options and how it is built from a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cam.perturbation import Progress
from ..graph.emitter import Emitter
from ..graph.model import Model
from ..graph.score import Score
from ..graph.value import Value
from ..layers.layers import Layer
from ..program import Scored, append_target, batch_of
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
    batch: int
    progress: Progress | None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Options(Choices):
    """What a method is built from; every dimension of the model but the batch is bound.

    Attributes
    ----------
    seeded : bool
        Whether the target comes as weights of the logits, not as a class.
    """

    model: Model
    input: str
    score: Score
    layers: tuple[Layer, ...]
    base_layer: Layer
    seeded: bool


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
        What relevance starts from, and how sums and products share it, when nothing is said.
    traces : bool
        Whether it hands relevance back, which can be traced.
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
    traces: bool = False

    def compile(self, options: Options) -> Run:
        """Return the method on the model of ``options``, ready to run."""
        if self.build is not None:
            return self.build(options)
        if self.append is None:
            raise TypeError("a method has append or build")
        return one_graph(options, self.append)


@dataclass(frozen=True)
class Runner:
    """Runs a program on any number of images, in batches that the model and the memory allow."""

    session: Session
    batched: frozenset[str]
    fixed: int | None
    limit: int

    def __call__(self, feeds: Feeds) -> Arrays:
        """Run on ``feeds``, batch first; a fixed batch is filled up by repeating the last image."""
        whole = {n: a for n, a in feeds.items() if n not in self.batched}
        split = {n: a for n, a in feeds.items() if n in self.batched}
        count = len(next(iter(split.values())))
        step = self.fixed or self.limit
        parts = []
        for start in range(0, count, step):
            part = {n: a[start : start + step] for n, a in split.items()}
            size = min(step, count - start)
            if self.fixed and size < self.fixed:
                part = {n: np.concatenate([a, a[-1:].repeat(self.fixed - size, 0)]) for n, a in part.items()}
            filled = self.fixed or size
            parts.append({n: a[: len(a) * size // filled] for n, a in self.session.run({**whole, **part}).items()})
        return {n: np.concatenate([p[n] for p in parts]) for n in parts[0]}


def runner(options: Options, program: Model) -> Runner:
    """Return what runs ``program`` on the device and with the batch of ``options``."""
    batch = batch_of(options.model)
    session = Session(program, device=options.device, threads=options.threads)
    batched = frozenset(i.name for i in program.inputs if i.shape and i.shape[0] == batch)
    return Runner(session, batched, batch if isinstance(batch, int) else None, options.batch)


def start(options: Options) -> tuple[Emitter, Scored]:
    """Return an emitter on the model with the target appended, its outputs named."""
    emitter = Emitter(options.model)
    emitter.scope = "score"
    scored = append_target(emitter, options.score.logits, seeded=options.seeded)
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
