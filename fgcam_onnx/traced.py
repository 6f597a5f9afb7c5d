"""What a walk made of the relevance that it started from: what came out, and what each operator handed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NEGLIGIBLE = 1e-3
"""Components whose sum is less than this share of their magnitude have no meaningful conservation."""


@dataclass(frozen=True)
class Traced:
    """What one operator of the walk back did to the relevance of N images.

    Attributes
    ----------
    op, node : str
        The operator's type and the node's name.
    arriving, leaving : ndarray of shape (N,)
        Sums of the relevance that reached it and that it handed on.
    """

    op: str
    node: str
    arriving: NDArray[np.float32]
    leaving: NDArray[np.float32]

    def summary(self, index: int) -> dict[str, Any]:
        """Return what it did to image ``index`` as plain values."""
        return {
            "op": self.op,
            "node": self.node,
            "arriving": float(self.arriving[index]),
            "leaving": float(self.leaving[index]),
        }


def conservation_of(found: Mapping[str, NDArray[Any]], layers: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Return what came out over what went in, per layer and answer; NaN where nearly nothing went in."""
    if "total" not in found:
        return {}
    answers = len(found["scores"])

    def each(name: str) -> NDArray[np.float64]:
        return np.asarray(found[name].reshape(answers, -1).sum(1, dtype=np.float64))

    total, magnitude = each("total"), each("magnitude")
    meaningful = np.abs(total) > NEGLIGIBLE * magnitude
    safe = np.where(meaningful, total, 1)
    return {n: np.where(meaningful, each(f"sum/{i}") / safe, np.nan) for i, n in enumerate(layers)}


def trace_of(found: Mapping[str, NDArray[Any]]) -> tuple[Traced, ...]:
    """Return the trace among a program's outputs."""
    parts = [(n.split("/", 3), a) for n, a in found.items() if n.startswith("trace/")]
    parts.sort(key=lambda part: int(part[0][1]))
    return tuple(Traced(op, node, a[:, 0], a[:, 1]) for (_, _, op, node), a in parts)


def traces_kept(trace: Sequence[Traced]) -> dict[str, NDArray[np.float32]]:
    """Return the numbers of a trace as arrays, by name."""
    both = ("arriving", "leaving")
    return {f"trace/{i}/{end}": getattr(t, end) for i, t in enumerate(trace) for end in both}


def traces_read(told: Sequence[Sequence[str]], kept: Mapping[str, NDArray[Any]]) -> tuple[Traced, ...]:
    """Return the trace whose numbers `traces_kept` kept, and whose operators and nodes are ``told``."""
    return tuple(
        Traced(op, node, kept[f"trace/{i}/arriving"], kept[f"trace/{i}/leaving"]) for i, (op, node) in enumerate(told)
    )
