"""Which layers the drift of an audit comes from, and a candidate with the fewest of them in float that passes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..blame import blame, mend
from ..explainer import Explainer
from ..imaging import read_image
from ..stream import Item, Kept, Row, run
from .results import Audit
from .work import Auditing

BLAMED = 8
"""How many of the worst pictures the layers are blamed on."""


def with_culprits(found: Audit, work: Auditing, items: Sequence[Item], *, batch: int, mends: bool) -> Audit:
    """Return the audit with the layers that are to blame; with ``mends`` also what came of mending.

    Raises
    ------
    FgcamError
        The two models have no layers in common, or cannot be spliced.
    """
    given = _worst(found, work, items)
    sides = work.reference.explainer, work.candidate.explainer
    target = np.array([row["target"] for row in found.ranked()[:BLAMED]]) if work.target is None else work.target
    profile = blame(*sides, **given, target=target, offset=work.offset)
    if not mends:
        return dataclasses.replace(found, profile=profile)

    def enough(explainer: Explainer) -> bool:
        return explainer is not sides[1] and _passes(found, work, items, explainer, batch=batch)

    return dataclasses.replace(found, profile=profile, mended=mend(*sides, profile=profile, **given, enough=enough))


def _worst(found: Audit, work: Auditing, items: Sequence[Item]) -> dict[str, Any]:
    """Return the worst pictures as each model takes them."""
    paths = {item.key: item.path for item in items}
    images = [read_image(paths[row["item"]]) for row in found.ranked()[:BLAMED]]
    own, theirs = ([side.prepared([image]) for image in images] for side in (work.reference, work.candidate))
    return {"pictures": own, "candidate_pictures": theirs}


def _passes(found: Audit, work: Auditing, items: Sequence[Item], explainer: Explainer, *, batch: int) -> bool:
    """Tell whether a candidate passes the same audit."""
    other = dataclasses.replace(work, candidate=work.candidate.by(explainer), changes=())
    return holds(found, run(items, other, batch=batch, sink=Kept([])))


def holds(found: Audit, rows: Sequence[Row]) -> bool:
    """Tell whether another candidate's rows pass, beside the floor that was found: on all pictures that have one."""
    floors = {row["item"]: row["floor"] for row in found.known}
    told = [{**row, "floor": floors[row["item"]]} for row in rows if row["item"] in floors and "error" not in row]
    return len(told) == len(floors) and dataclasses.replace(found, rows=told).outcome == "passes"
