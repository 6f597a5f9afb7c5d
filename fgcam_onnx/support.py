"""Which operators of a model lack rules, and which layers that keeps a walk from reaching."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import vjp
from .graph.emitter import Emitter
from .graph.forms import in_forms
from .graph.model import Model
from .graph.tape import Record, tape_between
from .lrp.composites import fg_cam
from .quantized import meant
from .vjp.pullback import key_of


@dataclass(frozen=True)
class Support:
    """What a walk can reach.

    Attributes
    ----------
    missing : dict of str to int
        Operators on the way from the input to the score without a rule, and how many there are.
    blocked : frozenset of str
        Tensors that the walk cannot reach because one of them lies behind.
    """

    missing: dict[str, int]
    blocked: frozenset[str]


def support_of(model: Model, *, logits: str, input: str) -> dict[str, Support]:  # noqa: A002
    """Return what the gradient walk and FG-CAM's refinement support of ``model``.

    Raises
    ------
    FgcamError
        The input does not lead to the score, or a tensor on the way has no known shape.
    """
    records = tuple(in_forms(tape_between(Emitter(model), sources=[input], output=logits)))
    composite = fg_cam()
    return {
        "gradient": _support(records, _derivatives),
        "fgcam": _support(records, lambda record: _flows(record) if composite.accepts(record) else None),
    }


def _flows(record: Record) -> Sequence[bool]:
    """Return to which inputs relevance goes on: those with a derivative, where any has one."""
    found = _derivatives(record)
    return found if found is not None and any(found) else record.on_tape


def _derivatives(record: Record) -> Sequence[bool] | None:
    """Return to which inputs a gradient goes on; None where the operator has no row."""
    row = vjp.RULES.get(key_of(record))
    if row is None or not isinstance(row, tuple):
        return None if row is None else record.on_tape
    return [on and rule is not None for on, rule in zip(record.on_tape, row, strict=False)]


def _support(records: tuple[Record, ...], flows: Callable[[Record], Sequence[bool] | None]) -> Support:
    """Walk as the engine does: what nothing flows to needs no rule, such as a condition or an index."""
    missing: Counter[str] = Counter()
    live = {records[-1].output.name} if records else set[str]()
    blocked: set[str] = set()
    for record in reversed(records):
        made = {o.name for o in record.outputs if o is not None}
        if not any(record.on_tape) or live.isdisjoint(made):
            continue
        going = flows(meant(record))
        if going is None or not any(going):
            missing[key_of(record)] += 1
        on = going if going is not None else record.on_tape
        names = {v.name for v, goes in zip(record.inputs, on, strict=False) if v is not None and goes}
        live |= names
        if going is None or not blocked.isdisjoint(made):
            blocked |= names
    read = {v.name for r in records for v in r.inputs if v is not None}
    return Support(dict(missing), frozenset(blocked | (read - live)))
