"""Which operators of a model lack rules, and which layers that keeps a walk from reaching."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from . import vjp
from .graph.emitter import Emitter
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
    records = tuple(tape_between(Emitter(model), sources=[input], output=logits))
    composite = fg_cam()
    return {
        "gradient": _support(records, _has_derivative),
        "fgcam": _support(records, composite.accepts),
    }


def _has_derivative(record: Record) -> bool:
    row = vjp.RULES.get(key_of(record))
    if not isinstance(row, tuple):
        return row is not None
    return any(on and rule is not None for on, rule in zip(record.on_tape, row, strict=False))


def _support(records: tuple[Record, ...], has_rule: Callable[[Record], bool]) -> Support:
    missing: Counter[str] = Counter()
    blocked: set[str] = set()
    for record in reversed(records):
        lacking = not has_rule(meant(record))
        if lacking:
            missing[key_of(record)] += 1
        if lacking or any(o is not None and o.name in blocked for o in record.outputs):
            blocked.update(v.name for v in record.inputs if v is not None)
    return Support(dict(missing), frozenset(blocked))
