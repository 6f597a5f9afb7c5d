"""What the weights of a layer are as numbers, whatever they are stored as, a row for each output channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph.emitter import Emitter
from ..graph.facts import producers_of
from ..graph.model import Model
from ..graph.tape import attributes
from ..runtime import Session
from .skeleton import Joint

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Weights:
    """The weights of a layer.

    Attributes
    ----------
    rows : ndarray, (channels, elements)
        Of each output channel, in the layout of the file.
    bias : ndarray, (channels,), optional
    scaled : bool
        Whether ``rows`` are real numbers; of integer products their scale comes later, and is not in them.
    """

    rows: Floats
    bias: Floats | None
    scaled: bool

    def likeness(self, other: Weights) -> float:
        """Return the cosine of two weights, either sign; 0 where the shapes differ."""
        if self.rows.shape != other.rows.shape:
            return 0.0
        size = np.linalg.norm(self.rows) * np.linalg.norm(other.rows)
        return float(abs((self.rows * other.rows).sum()) / size) if size else 0.0


def weights_of(model: Model, joints: Sequence[Joint]) -> Mapping[str, Weights]:
    """Return the weights of the layers that have some, by name: what the constant part of ``model`` computes."""
    weighted = [j for j in joints if j.weight]
    wanted = {n for j in weighted for n in (j.weight, j.bias, j.zero) if n}
    known = _computed(model, wanted)
    makers = producers_of(model)
    found: dict[str, Weights] = {}
    for joint in weighted:
        values = np.asarray(known[joint.weight], np.float64)
        if joint.zero:
            values = values - np.asarray(known[joint.zero], np.float64)
        node = makers[joint.name]
        turned = bool(attributes(node).get("transB"))
        if joint.kind == "ConvTranspose":
            values = np.moveaxis(values, 1, 0)
        elif "MatMul" in node.op_type or (node.op_type == "Gemm" and not turned):
            values = np.moveaxis(values, -1, 0)
        bias = np.asarray(known[joint.bias], np.float64).reshape(-1) if joint.bias else None
        found[joint.name] = Weights(values.reshape(len(values), -1), bias, not node.op_type.endswith("Integer"))
    return found


def _computed(model: Model, names: set[str]) -> Mapping[str, NDArray[Any]]:
    """Return tensors that no input changes: constants, or what the graph makes of some."""
    given = {n: np.asarray(model.constants[n]) for n in names if n in model.constants}
    made = sorted(names - given.keys())
    if not made:
        return given
    emitter = Emitter(model)
    for i, name in enumerate(made):
        emitter.output(f"weight/{i}", emitter.value(name))
    run = Session(emitter.build(), threads=1).run({})
    return given | {name: run[f"weight/{i}"] for i, name in enumerate(made)}
