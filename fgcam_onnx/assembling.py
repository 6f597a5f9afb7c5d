"""An explanation out of what a run gave."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .arithmetic import arithmetic_of
from .explanation import Explanation
from .methods import find_method
from .methods.method import Compiled
from .runtime import check_finite
from .targets import Aim
from .traced import conservation_of, trace_of

if TYPE_CHECKING:
    from .imaging.placing import Placement

EXCESS = 1000
"""How many times what a walk began with is too much to be believed."""

CANCELS = 1e-5
"""A target whose weights sum to less than this share of their magnitude is a contrast."""


class ExcessWarning(UserWarning):
    """A walk back handed on orders of magnitude more than it began with."""


def assembled(
    found: Mapping[str, NDArray[Any]],
    compiled: Compiled,
    *,
    method: str,
    aim: Aim | None,
    count: int,
    each: int,
    placements: tuple[Placement, ...],
) -> Explanation:
    """Return the explanation of ``count`` answers, for ``each`` targets apiece, from what a run ``found``.

    Raises
    ------
    NumericsError
        The model's outputs or the maps are not finite.
    """
    check_finite({"logits": found["scores"]}, "the model")
    options = compiled.options
    maps = {name: found[f"map/{i}"].astype(np.float32) for i, name in enumerate(compiled.names)}
    check_finite(maps, "the explanation")
    if find_method(method).traces:
        _warn_of_excess(found, maps)
    return Explanation(
        maps,
        found["target"] if aim is None else np.full(count * each, -1, np.int64),
        found["score"].astype(np.float32) if aim is None else aim.score,
        found["scores"].astype(np.float32),
        conservation_of(found, compiled.names),
        () if aim is None else aim.described,
        each,
        trace_of(found),
        placements,
        arithmetic_of(options.model),
        _relative(method, aim, count * each),
        method,
        (head := options.head).kind,
        head.labels,
        head.probabilities(found["scores"]) if head.kind == "classes" else None,
    )


def _warn_of_excess(found: Mapping[str, NDArray[Any]], maps: Mapping[str, NDArray[np.float32]]) -> None:
    """Warn where a walk hands on orders of magnitude more than arrived: quotients by sums that nearly cancel."""
    arrived = found.get("magnitude")
    for name, m in maps.items() if arrived is not None else ():
        handed = np.abs(m.reshape(len(m), -1)).sum(1, dtype=np.float64)
        start = np.broadcast_to(np.asarray(arrived, np.float64).reshape(-1), (len(handed),)) if len(m) else handed
        worst = int(np.argmax(handed - EXCESS * start)) if len(m) else 0
        if len(m) and handed[worst] > EXCESS * start[worst] > 0:
            warnings.warn(
                f"what reached {name!r} is {handed[worst] / start[worst]:.1g} times the relevance that the walk began "
                "with: it was divided by sums that nearly cancel, and the map shows where, not why. trace (--trace) "
                "says at which operator; another composite, or a larger epsilon, may do better",
                ExcessWarning,
                stacklevel=4,
            )


def _relative(method: str, aim: Aim | None, count: int) -> tuple[bool, ...]:
    """Tell of each answer whether 0 means nothing in its map: by the method, or as weights for and against cancel."""
    if find_method(method).relative or aim is None:
        return (find_method(method).relative,) * count
    w = aim.weights.reshape(count, -1)
    return tuple((abs(w.sum(1)) <= CANCELS * abs(w).sum(1)).tolist())
