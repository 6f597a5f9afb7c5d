"""Mend: the candidate with the fewest blamed layers in float, enough for what is asked of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..explainer import Explainer
from ..graph.facts import producers_of
from ..graph.model import Model
from ..graph.operators import VIEWS
from ..loading.loading import load
from ..runtime import Session
from ..surgery.framing import framed, unframed
from ..surgery.splicing import FLOAT, spliced
from ..surgery.unfused import unfused
from .blaming import Blamed, Profile, honest
from .drift import drift
from .look import Look
from .oddities import suits
from .spliced import Splices, both_settled

if TYPE_CHECKING:
    from onnx import ModelProto

INTEGER = ("ConvInteger", "MatMulInteger")
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
ROUNDS = 9
"""Runs of which the median is the time."""


@dataclass(frozen=True, eq=False)
class Mended:
    """What came of mending.

    Attributes
    ----------
    model : ModelProto or None
        The mended candidate; None where nothing helps, or nothing was to be mended.
    floats : tuple of Blamed
        The layers that are the reference's in it, in float.
    exclude : tuple of str
        Their operators in the reference, as ``nodes_to_exclude`` of ``onnxruntime.quantization`` takes them.
    kept, of : int
        Products of integers that are left, and how many the candidate has.
    size : (int, int)
        Bytes of the candidate, in the form in which it is written, and of the mended one.
    slower : float
        Time of the mended one over the candidate's.
    said : str
        The same in a sentence.
    """

    model: ModelProto | None
    floats: tuple[Blamed, ...]
    exclude: tuple[str, ...]
    kept: int
    of: int
    size: tuple[int, int]
    slower: float
    said: str


def mend(
    reference: Explainer,
    candidate: Explainer,
    *,
    profile: Profile,
    pictures: Sequence[NDArray[Any]],
    candidate_pictures: Sequence[NDArray[Any]] | None = None,
    enough: Callable[[Explainer], bool],
    keep: float = 0.8,
) -> Mended:
    """Return ``candidate`` with the fewest layers of ``profile``, the most guilty first, as the reference has them.

    A layer of the reference stands between the candidate's layers in float; the candidate's quantizer behind it stays
    where it fits the reference's results, so that the next layer is computed in integers as before. How many layers
    that takes is found by doubling, and then halving.

    Parameters
    ----------
    pictures, candidate_pictures
        As :func:`blame` takes them: what quantizers are held against.
    enough : callable
        Tells of an explainer on a mended candidate whether it will do.
    keep : float
        Share of the candidate's products of integers that have to stay.

    Raises
    ------
    FgcamError
        The models cannot be spliced.
    """
    theirs = pictures if candidate_pictures is None else candidate_pictures
    given, other = (np.concatenate(list(x)) for x in (pictures, theirs))
    fixed = both_settled(reference, candidate, pictures=given, candidate_pictures=other)
    splices, _, _ = honest(Splices.of(*fixed, measure=drift))
    making = _Making(splices, candidate)
    before = integer_products(splices.candidate.model)
    if enough(candidate):
        return _nothing("the candidate will do as it is: nothing was mended", before)
    suspects = [b for b in profile.layers if b.share > 0 and splices.matching.pairs[b.place].reference.kind != "input"]
    limit = min(len(suspects), int((1 - keep) * before)) if before else len(suspects)
    found: dict[int, Model] = {}

    def passes(count: int) -> bool:
        model = making.mended(suspects[:count])
        kept = model is not None and integer_products(model) >= keep * before
        if model is not None and kept and enough(making.explainer(model)):
            found[count] = model
        return count in found

    failed = 0
    for count in _doubled(limit):
        if passes(count):
            break
        failed = count
    if not found:
        return _nothing(f"nothing helps: {failed} of the most guilty layers in float are not enough", before)
    while count - failed > 1:
        middle = (failed + count) // 2
        failed, count = (failed, middle) if passes(middle) else (middle, count)
    return making.told(found[count], suspects[:count], before)


def _doubled(limit: int) -> list[int]:
    """Return 1, 2, 4 and so on up to ``limit``, which is the last."""
    return sorted({min(1 << i, limit) for i in range(limit.bit_length() + 1)} - {0})


def _nothing(said: str, before: int) -> Mended:
    return Mended(None, (), (), before, before, (0, 0), 1.0, said)


@dataclass(frozen=True, eq=False)
class _Making:
    splices: Splices
    candidate: Explainer

    def mended(self, floats: Sequence[Blamed]) -> Model | None:
        """Return the candidate with ``floats`` as the reference has them; None where it would need two inputs."""
        places = sorted(b.place for b in floats)
        looks = Look.of(self.splices, places)
        seams = [p.seam for p in self.splices.matching.pairs]
        last = len(seams) - 1
        model = spliced(
            self.splices.reference.model,
            self.splices.candidate.model,
            seams,
            taken=set(range(len(seams))) - set(places),
            outputs=[o.name for o in self.candidate.model.outputs],
            names=FLOAT,
            quantized={i for i in places if i == last or suits(looks[i])},
        )
        return model if {i.name for i in model.inputs} <= {i.name for i in self.candidate.model.inputs} else None

    def explainer(self, model: Model) -> Explainer:
        """Return the candidate's explainer on the mended model, as it is read from its file."""
        own = self.candidate
        return own.on(framed(load(self.file(model)), own.input)[0], own.input)

    def file(self, model: Model) -> ModelProto:
        """Return the model as a file, with the input as the candidate's file has it."""
        frame = self.candidate.frame
        return (model if frame is None else unframed(model, frame)).standalone()

    def told(self, model: Model, floats: Sequence[Blamed], before: int) -> Mended:
        file, own = self.file(model), self.file(unfused(self.candidate.model))
        size = own.ByteSize(), file.ByteSize()
        slower = _slower(unfused(self.candidate.model), model, self.splices.candidate.feeds)
        exclude = tuple(dict.fromkeys(n for b in floats for n in b.nodes))
        kept = integer_products(model)
        layers = ", ".join(repr(b.node) for b in floats)
        count = f"{len(floats)} layer{'s' * (len(floats) > 1)}"
        left = f"{kept} of {before} products of integers are left, " if before else ""
        said = f"{count} in float ({layers}): {left}{(size[1] - size[0]) / 1024:+.0f} kB, {slower:.2f} times the time"
        return Mended(file, tuple(floats), exclude, kept, before, size, slower, said)


def integer_products(model: Model) -> int:
    """Return how many convolutions and matrix products of ``model`` are of integers, or between quantizers."""
    makers = producers_of(model)

    def dequantized(name: str) -> bool:
        node = makers.get(name)
        while node is not None and node.op_type in VIEWS | {"Pad"}:
            node = makers.get(node.input[0])
        return node is not None and node.op_type == "DequantizeLinear"

    plain = (n for n in model.nodes if n.op_type in PRODUCTS and all(map(dequantized, n.input[:2])))
    return sum(1 for _ in plain) + sum(n.op_type in INTEGER for n in model.nodes)


def _slower(candidate: Model, mended: Model, feeds: Mapping[str, NDArray[Any]]) -> float:
    """Return the time of a run of ``mended`` over that of ``candidate``: the median, by turns."""
    sessions = [Session(m, threads=1) for m in (candidate, mended)]
    fixed = [i.shape[0] for i in candidate.inputs if i.shape and isinstance(i.shape[0], int)]
    rows = [0] * (fixed[0] if fixed else 1)
    spent: Sequence[list[float]] = ([], [])
    for _ in range(ROUNDS):
        for session, times in zip(sessions, spent, strict=True):
            start = time.perf_counter()
            session.run({n: a[rows] for n, a in feeds.items()})
            times.append(time.perf_counter() - start)
    return float(np.median(spent[1]) / np.median(spent[0]))
