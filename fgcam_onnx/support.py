"""Which operators of a model stop a walk, and which layers it does not reach: a dry walk of the very rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import vjp
from .backward import Pullback, unbroadcast
from .errors import FgcamError
from .graph.emitter import Emitter
from .graph.forms import in_forms
from .graph.model import Model
from .graph.tape import Record, Tape, tape_between
from .graph.value import Value
from .lrp.composites import fg_cam
from .lrp.pairs import in_pairs
from .quantized import meaning_of, on_real_values, real
from .vjp.pullback import key_of


@dataclass(frozen=True)
class Support:
    """What a walk can reach.

    Attributes
    ----------
    missing : dict of str to int
        Operators on the way from the input to the score that let nothing through, and how many there are.
    blocked : frozenset of str
        Tensors that the walk cannot reach because one of them lies behind.
    """

    missing: dict[str, int]
    blocked: frozenset[str]


def support_of(model: Model, *, logits: str, input: str, base: str | None = None) -> dict[str, Support]:  # noqa: A002
    """Return what the gradient walk and FG-CAM's refinement, which begins at ``base``, support of ``model``.

    Raises
    ------
    FgcamError
        The input does not lead to the score, or a tensor on the way has no known shape.
    """
    return {
        "gradient": _dry(model, input, logits, vjp.pullback, units=True),
        "fgcam": _dry(model, input, logits if base in (None, input) else str(base), fg_cam(), units=False),
    }


def _dry(model: Model, source: str, output: str, pullback: Pullback, *, units: bool) -> Support:
    """Walk as the engine does, over what stops it, too, and note that."""
    emitter = Emitter(model)
    tape = in_forms(tape_between(emitter, sources=[source], output=output))
    tape = tape if units else in_pairs(tape)
    walk = on_real_values(pullback, units=units)
    missing: Counter[str] = Counter()
    blocked: set[str] = set()
    live = {output: _nothing(emitter.value(output))}
    for record in reversed(tape):
        given = tuple(live.get(o.name) if o is not None else None for o in record.outputs)
        if not any(record.on_tape) or all(g is None for g in given):
            continue
        found = _handed(walk, record, given)
        if found is None:
            missing[_name(record)] += 1
        behind = found is None or any(o is not None and o.name in blocked for o in record.outputs)
        for k, (v, on) in enumerate(zip(record.inputs, record.on_tape, strict=True)):
            ct = _nothing(v) if found is None and v is not None else found[k] if found is not None else None
            if on and v is not None and ct is not None:
                live.setdefault(v.name, ct)
                blocked |= {v.name} if behind else set()
    return Support(dict(missing), frozenset(blocked | (_read(tape) - live.keys())))


def _handed(walk: Pullback, record: Record, given: tuple[Value | None, ...]) -> Sequence[Value | None] | None:
    """Return what goes on to each input; None where nothing does, or there is no rule for it."""
    try:
        returned = walk(record, given)
        ends = zip(record.inputs, record.on_tape, returned, strict=True)
        found = [unbroadcast(ct, v) if on and v is not None and ct is not None else None for v, on, ct in ends]
    except FgcamError:
        return None
    return found if any(ct is not None for ct in found) else None


def _nothing(v: Value) -> Value:
    """Return zeros of the real numbers that a tensor stands for."""
    x = real(v)
    return v.emitter.zeros_like(x if x.dtype.kind == "f" else x.astype(np.float32))


def _name(record: Record) -> str:
    meaning = meaning_of(record)
    return key_of(record if meaning is None or meaning.record.op == "Identity" else meaning.record)


def _read(tape: Tape) -> set[str]:
    return {v.name for r in tape for v, on in zip(r.inputs, r.on_tape, strict=True) if v is not None and on}
