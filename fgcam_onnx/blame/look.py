"""A closer look at a layer: its weights, results and quantizers in both models."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph.facts import facts_of, producers_of
from ..graph.model import Model
from .matching import Pair
from .spliced import Splices
from .weights import Floats, Weights, weights_of

PICTURES = 8
"""Pictures whose results are looked at."""


@dataclass(frozen=True)
class Range:
    """What a quantizer of one scale can say: its least and largest number, and the step between two."""

    low: float
    high: float
    step: float


@dataclass(frozen=True, eq=False)
class Look:
    """A layer in both models.

    Attributes
    ----------
    mine, theirs : Weights or None
        Of the reference and of the candidate; None where several layers are one.
    steps : ndarray or None
        The scales of the candidate's weight, where it is quantized.
    range : Range or None
        What the candidate's quantizer behind the layer can say.
    a, b : ndarray, (C, elements)
        Results of the reference, and of the candidate on the reference's inputs, by channel.
    """

    mine: Weights | None
    theirs: Weights | None
    steps: Floats | None
    range: Range | None
    a: Floats
    b: Floats

    @classmethod
    def of(cls, splices: Splices, layers: Sequence[int]) -> Mapping[int, Look]:
        """Look at ``layers``, on the first pictures."""
        pairs = [splices.matching.pairs[i] for i in layers]
        models = splices.reference.model, splices.candidate.model
        mine = weights_of(models[0], [p.reference for p in pairs])
        theirs = weights_of(models[1], [p.candidate for p in pairs])
        runs = [] if not layers else list(itertools.islice(splices.alone(layers), PICTURES))
        found: dict[int, Look] = {}
        for k, (i, pair) in enumerate(zip(layers, pairs, strict=True)):
            a = np.concatenate([r[0][k] for r in runs])
            b = np.concatenate([r[1][k].reshape(r[0][k].shape) for r in runs])
            axis = _channels(models[0], pair, a.ndim)
            found[i] = cls(
                mine.get(pair.reference.name) if pair.single else None,
                theirs.get(pair.candidate.name) if pair.single else None,
                _steps(models[1], pair.candidate.weight),
                _range(models[1], pair.candidate.copies[0]),
                _by_channel(a, axis),
                _by_channel(b, axis),
            )
        return found


def _channels(model: Model, pair: Pair, rank: int) -> int:
    axis = facts_of(model).channel_axis.get(pair.reference.end, 1 if rank == 4 else rank - 1)
    return axis if axis < rank else rank - 1


def _by_channel(values: NDArray[Any], axis: int) -> Floats:
    wide = np.moveaxis(np.asarray(values, np.float64), axis, 0)
    return wide.reshape(len(wide), -1)


def _steps(model: Model, weight: str) -> Floats | None:
    """Return the scales of a weight that is dequantized."""
    node = producers_of(model).get(weight)
    while node is not None and node.op_type != "DequantizeLinear":
        node = producers_of(model).get(node.input[0])
    scale = None if node is None else model.constants.get(node.input[1])
    return None if scale is None else np.asarray(scale, np.float64).reshape(-1)


def _range(model: Model, end: str) -> Range | None:
    """Return what the quantizer right before a tensor can say."""
    makers = producers_of(model)
    node = makers.get(end)
    while node is not None and node.op_type in ("DequantizeLinear", "Identity", "Reshape", "Squeeze", "Flatten"):
        node = makers.get(node.input[0])
    if node is None or node.op_type != "QuantizeLinear" or len(node.input) < 3:
        return None
    scale, zero = model.constants.get(node.input[1]), model.constants.get(node.input[2])
    if scale is None or zero is None or scale.size > 1 or zero.dtype.kind not in "iu":
        return None
    ends, step, at = np.iinfo(zero.dtype), float(scale.reshape(())), int(zero.reshape(()))
    return Range((ends.min - at) * step, (ends.max - at) * step, step)
