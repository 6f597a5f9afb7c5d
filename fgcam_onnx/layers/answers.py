"""Answers with places: which tensors are the answer already, and which all of it depends on."""

from __future__ import annotations

from ..graph.facts import producers_of, reached_from
from ..graph.memo import once
from ..graph.model import Model
from ..graph.operators import ELEMENTWISE, VIEWS
from ..graph.subgraphs import reads
from .flow import flow_of
from .movement import MOVES
from .paths import ancestors_of

PICKS = frozenset(MOVES) | VIEWS | frozenset({"GatherElements", "GatherND", "Resize", "Upsample"})
"""Operators whose elements come from one of those that they read."""

SAME = PICKS | ELEMENTWISE
"""Operators behind which there are still the answer's numbers, each perhaps changed."""


def has_places(model: Model, logits: str) -> bool:
    """Tell whether an answer has places beside classes: a map, boxes, several heads."""
    return logits in model.types and len([d for d in flow_of(model, logits=logits).answer_shape if d != 1]) > 1


@once
def answer_itself(model: Model, logits: str) -> frozenset[str]:
    """Return the tensors of an answer with places that hold its numbers already: a map there is the answer, no reason.

    Maps of classes, boxes, rows of scores. They are followed back from the logits through what moves, resizes, joins,
    changes or adds them element by element.
    """
    if not has_places(model, logits):
        return frozenset()
    producers, varying = producers_of(model), reached_from(model, *(i.name for i in model.inputs))
    found, waiting = {logits}, [logits]
    while waiting:
        node = producers.get(waiting.pop())
        if node is None or node.op_type not in SAME:
            continue
        new = {i for i in reads(node) if i in varying} - found
        found |= new
        waiting += new
    return frozenset(found)


@once
def shared_by_all(model: Model, logits: str) -> frozenset[str]:
    """Return the tensors that every element of an answer with places depends on.

    A detector joins the answers of grids of several sizes: what lies before the first grid only is on every path, and
    is shallow. Answers are taken apart where they are joined; what all the parts depend on is shared.
    """
    if not has_places(model, logits):
        return frozenset()
    producers, varying = producers_of(model), reached_from(model, *(i.name for i in model.inputs))
    parts, seen, waiting = [], {logits}, [logits]
    while waiting:
        name = waiting.pop()
        node = producers.get(name)
        data = [i for i in reads(node) if i in varying] if node is not None else []
        single = node is not None and len(data) == 1 and node.op_type in ELEMENTWISE
        if node is None or not (single or node.op_type in PICKS):
            parts.append(name)
            continue
        new = [i for i in data if i not in seen and (node.op_type == "Concat" or i == node.input[0] or single)]
        seen.update(new)
        waiting += new
    return frozenset(set.intersection(*(ancestors_of(model, p) for p in parts))) if parts else frozenset()
