"""Run what lies behind a tensor again and again, on changed copies of one image's tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cam.perturbation import Progress
from ..errors import LayerError
from ..graph.emitter import Emitter
from ..graph.model import Model
from ..graph.quantization import units_of
from ..graph.value import Value
from ..heads import Head
from ..layers.flow import rows_of
from ..layers.images import images_of
from ..program import append_scores
from ..quantized import real
from ..surgery.cutting import Cut, blank, cut, joined
from .method import Arrays, Feeds, Options, Runner, check_single, fixed_of, limit_of, session_of

CUT = "fgcam/cut"
GIVEN = f"{CUT}/given"
Given = Mapping[str, tuple[Any, tuple[int, ...]]]
"""Names of what a change is given, with dtype and shape."""

Read = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class Rerun:
    """A model from a tensor to the scores, run on as many changed copies as are asked for.

    Attributes
    ----------
    at : tuple of str
        The tensors that are changed.
    crossing : tuple of str
        What else the run reads of an image.
    whole : frozenset of str
        What of that is common to all images.
    shared : mapping
        What a change is given once for all copies: dtype and shape, by name.
    """

    run: Runner
    at: tuple[str, ...]
    crossing: tuple[str, ...]
    whole: frozenset[str]
    shared: Given

    def image(self, feeds: Feeds, found: Arrays, index: int) -> Arrays:
        """Return what the run reads of image ``index``: inputs of the model, and what the first program found."""
        arrays = {n: found[f"{CUT}/{n}"] if f"{CUT}/{n}" in found else feeds[n] for n in (*self.at, *self.crossing)}
        rows = {n: len(a) // len(found["seed"]) for n, a in arrays.items() if n not in self.whole}
        own = {n: arrays[n][index * r : (index + 1) * r] for n, r in rows.items()}
        own |= {n: own[n].astype(np.float32, copy=False) for n in self.at}
        return {f"{CUT}/{n}": a for n, a in own.items()} | {n: arrays[n] for n in self.whole}

    def __call__(
        self,
        image: Arrays,
        each: Arrays,
        *,
        read: Read,
        shared: Arrays | None = None,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """Return what is read of the copies' scores, (n,).

        Parameters
        ----------
        image : mapping
            What is read of one image.
        each : mapping of arrays (n, ...)
            What the change is given, an entry for each copy.
        read : callable
            Takes the scores (b, K) of a batch of copies, returns (b,) numbers.
        shared : mapping, optional
            What it is given, the same for all copies.
        progress : callable, optional
            Called with (done, total) after each batch.
        """
        beside = image | {f"{GIVEN}/{n}": a for n, a in (shared or {}).items()}
        count, step = len(next(iter(each.values()))), self.run.fixed or self.run.limit
        parts: list[NDArray[np.float32]] = []
        for start in range(0, count, step):
            part = {f"{GIVEN}/{n}": a[start : start + step] for n, a in each.items()}
            parts.extend(read(scores) for scores in self.run({**beside, **part}).values())
            if progress is not None:
                progress(min(start + step, count), count)
        return np.concatenate(parts)


def rerun(
    options: Options,
    at: Sequence[str],
    change: Callable[..., Value],
    *,
    each: Given,
    shared: Given = MappingProxyType({}),
) -> Rerun:
    """Return what runs the part of the model behind the tensors ``at`` on copies that ``change`` makes of them.

    Parameters
    ----------
    at : sequence of str
        A tensor of the model, or its image input; and others beside the way from there that are changed alike.
        Integers stand for real values but at the input, where they are what the caller gives.
    change : callable
        Takes the tensor of one image (1, ...), then what is in ``each`` and ``shared`` by name; returns (n, ...).
    each, shared : mapping of str to (dtype, shape)
        What ``change`` is given: for each copy, its first axis left out, or once for all.

    Raises
    ------
    LayerError
        The model cannot be cut there.
    """
    check_single(options.flow)
    emitter = Emitter(options.model)
    emitter.scope = "score"
    emitter.output("scores", append_scores(emitter, options.score.logits, source=options.input))
    program = emitter.build()
    parts = cut(program, at[0], output=program.outputs[0].name, common=common_of(options))
    at = tuple(n for n in at if n == parts.at or n in parts.crossing)
    copies = _copies(options, parts, at, change, each=each, shared=shared)
    session = session_of(options, joined(copies, parts.head))
    fixed = fixed_of(options.flow)
    run = Runner(session, {f"{GIVEN}/{n}": fixed or 1 for n in each}, fixed, limit_of(options))
    crossing = tuple(n for n in parts.crossing if n not in at)
    return Rerun(run, at, crossing, frozenset(crossing) - crossing_rows(options, crossing), shared)


def by_target(head: Head, seed: NDArray[np.float32]) -> Read:
    """Return what reads the target's score: the sum of the logits, weighed by ``seed`` (K,)."""
    return lambda scores: np.asarray(scores @ seed, np.float32)


def by_probability(head: Head, seed: NDArray[np.float32]) -> Read:
    """Return what reads the target's probability, which the model's end makes of the logits, weighed by ``seed`` (K,).

    Where it makes none, the logits themselves are read.
    """

    def read(scores: NDArray[np.float32]) -> NDArray[np.float32]:
        found = head.probabilities(scores)
        return np.asarray((scores if found is None else found) @ seed, np.float32)

    return read


def append_cut(emitter: Emitter, options: Options, at: Sequence[str]) -> None:
    """Let a program return what a rerun at ``at`` reads of its images, but for the model's own inputs."""
    given = {i.name for i in options.model.inputs}
    crossing = cut(options.model, at[0], output=options.score.logits, common=common_of(options)).crossing
    for name in {at[0], *crossing} - given:
        value = emitter.value(name)
        emitter.output(f"{CUT}/{name}", real(value) if name in at else value)


def _copies(
    options: Options, parts: Cut, at: tuple[str, ...], change: Callable[..., Value], *, each: Given, shared: Given
) -> Model:
    """Return the program that makes the head's inputs: the changed copies, and as many of what crosses."""
    emitter, batch = Emitter(blank(parts.head)), options.flow.images
    emitter.scope = "cut"
    spec = {i.name: i for i in parts.head.inputs}
    given = {n: emitter.input(f"{GIVEN}/{n}", dtype, (batch, *shape)) for n, (dtype, shape) in each.items()}
    count = emitter.emit("Shape", next(iter(given.values())), start=0, end=1)
    given |= {n: emitter.input(f"{GIVEN}/{n}", dtype, shape) for n, (dtype, shape) in shared.items()}
    for name in at:
        x = emitter.input(f"{CUT}/{name}", np.float32, (1, *spec[name].shape[1:]))
        emitter.output(name, stored(options, name, change(x, **given)))
    for name in parts.crossing:
        if name not in at and name in crossing_rows(options, parts.crossing):
            value = emitter.input(f"{CUT}/{name}", spec[name].dtype, (None, *spec[name].shape[1:]))
            emitter.output(name, _repeated(value, count))
    return emitter.build()


def common_of(options: Options) -> frozenset[str]:
    """Return the tensors whose values all images have in common, made of inputs without a batch."""
    return frozenset(n for n, lie in images_of(options.model, options.input).items() if lie.parts == 0)


def crossing_rows(options: Options, crossing: Sequence[str]) -> frozenset[str]:
    """Return what of ``crossing`` has rows for each image; the rest is common to all.

    Raises
    ------
    LayerError
        The images are mixed in something that crosses.
    """
    inputs = {i.name: i.shape for i in options.model.inputs}
    kept = [n for n in crossing if n not in inputs or (inputs[n] and inputs[n][0] == options.flow.images)]
    try:
        rows = {n: rows_of(options.model, n, source=options.input) for n in kept}
    except LookupError as error:
        raise LayerError(
            f"the model cannot be run on copies of one image: {error.args[0]!r}, which is read behind the layer, does "
            "not hold images one behind the other"
        ) from None
    return frozenset(n for n, count in rows.items() if count != 0)


def _repeated(value: Value, count: Value) -> Value:
    """Return ``value``, the rows of one image, as often as ``count`` says."""
    emitter = value.emitter
    sizes = emitter.emit("Concat", count, emitter.ints([1] * value.rank), axis=0)
    copies = emitter.emit("Expand", emitter.emit("Unsqueeze", value, emitter.ints([0])), sizes)
    rest = emitter.emit("Concat", emitter.ints([-1]), emitter.emit("Shape", value, start=1), axis=0)
    return emitter.reshape(copies, rest)


def stored(options: Options, name: str, value: Value) -> Value:
    """Return real ``value`` as the model's tensor ``name`` holds it: quantized, in half precision, or as it is."""
    given = {i.name: i.dtype for i in options.model.inputs}
    units = units_of(options.model).get(name) if name not in given else None
    dtype = given[name] if name in given else Emitter(options.model).dtype(name)
    if units is None or dtype.kind not in "iu":
        return value.astype(dtype)
    scale, zero = (value.emitter.value(n) if n else None for n in units)
    return value.emitter.emit("QuantizeLinear", value, scale, zero)
