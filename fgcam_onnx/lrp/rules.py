"""Relevance rules, as data.

One equation, a modified gradient, propagates all of them:

    R_in = sum_k c_k sum_t x_t * VJP_t(R_out / z_k)      with z_k = sum_t f(x_t, w_t) + b_t

after Montavon et al., 2019 (doi:10.1007/978-3-030-28954-6_10).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .. import vjp
from ..errors import UnsupportedOperatorError
from ..graph.tape import Record
from ..graph.value import Array, Value
from .gates import size_of
from .modifiers import (
    Modifier,
    above_lowest,
    absolute,
    below_highest,
    is_non_negative,
    keep,
    negative,
    ones,
    positive,
)

__all__ = ["Group", "Rule", "Term", "stabilized"]

Given = tuple[Value | None, ...]
NOTHING = 1e-30
"""Denominators below this are taken for 0."""


class Division(Protocol):
    """How relevance is divided by a denominator, whose only sign, 0 aside, is ``sign``; 0 where it may have either."""

    def __call__(self, r: Array, z: Array, sign: int = 0, /) -> Array:
        """Return ``r`` over ``z``."""
        ...


CONTRACTIONS = ("Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul")


def divide_or_zero(r: Array, z: Array, sign: int = 0) -> Array:
    """Return ``r / z``, and 0 where ``z`` is 0, or so near to it that the quotient would overflow.

    A masked attention weight is no exact 0 but ``exp(-100)`` or less, and may be all that a sum has.
    """
    return np.where((z if sign > 0 else abs(z)) < NOTHING, 0, r / z)


def fraction(part: Array, whole: Array, sign: int = 1) -> Array:
    """Return ``part / whole`` for ``0 <= part <= whole``, and 0 where ``whole`` is 0."""
    return part / np.maximum(whole, 6e-8 if whole.dtype == np.float16 else 1.2e-38)


def stabilized(epsilon: float) -> Division:
    """Return the division by ``z + epsilon * sign(z)``, where the sign of 0 is 1 (Bach et al., 2015).

    With epsilon 0, what is divided by 0 becomes 0.
    """

    def divide(r: Array, z: Array, sign: int = 0) -> Array:
        return r / (z + sign * epsilon if sign else np.where(z < 0, z - epsilon, z + epsilon))

    return divide if epsilon else divide_or_zero


POINTED = {"GridSample": 0, "RoiAlign": 0}
"""Operators whose other inputs say where to look, and take no relevance, as gates do: the input that takes it."""


@dataclass(frozen=True)
class Term:
    """A message: how input and weight are modified, and whether the bias, modified as the weight, takes a share."""

    x: Modifier = keep
    w: Modifier = keep
    bias: bool = False

    @property
    def sign(self) -> int:
        """The only sign, 0 aside, of what it adds to a denominator; 0 where that may have either."""
        return self.x.sign * self.w.sign


@dataclass(frozen=True)
class Group:
    """Terms that share one denominator.

    Attributes
    ----------
    terms : tuple of Term
    factor : float
        What the group's relevance is multiplied by.
    sign : {0, 1, -1}
        The sign of the outputs that the group is for; 0 for all.
    """

    terms: tuple[Term, ...]
    factor: float = 1.0
    sign: int = 0

    @property
    def whole_sign(self) -> int:
        """The only sign, 0 aside, of the denominator; 0 where it may have either."""
        signs = {term.sign for term in self.terms}
        return signs.pop() if len(signs) == 1 else 0


@dataclass(frozen=True)
class Shifted(Record):
    """A linear operator with a bias of its own, added to its output; replaying leaves the bias out."""

    shift: Value | None = None


@dataclass(frozen=True)
class Rule:
    """A weighted sum of groups of terms; the terms of a group share one denominator."""

    groups: tuple[Group, ...]
    divide: Division = divide_or_zero

    @property
    def turns(self) -> bool:
        """Whether shares change their sign with the output's: a term may be of either sign."""
        return any(not term.sign for group in self.groups for term in group.terms)

    def __call__(self, record: Record, given: Given) -> list[Value | None]:
        """Return the relevance of the record's input, None for its weights."""
        i = _input_index(record)
        message = self.message(record, first(given), i)
        return [message if k == i else None for k in range(len(record.inputs))]

    def message(self, record: Record, r: Value, i: int) -> Value | None:
        """Return the relevance that input ``i`` takes of ``r``, its other operand being the weight."""
        total: Value | None = None
        for group in self.groups:
            terms = _effective(record, i, group.terms)
            replays = [record.replay(_modified(record, i, t)) for t in terms]
            z = _sum([_with_bias(record, t, replay) for t, replay in zip(terms, replays, strict=True)])
            share = self.divide(_of_sign(r, record, group.sign), z, group.whole_sign)
            for term, replay in zip(terms, replays, strict=True):
                ct = vjp.pullback(replay, (share,))[i]
                x = replay.inputs[i]
                if ct is not None and x is not None:
                    message = group.factor * (ct if term.x is ones else x * ct)
                    total = message if total is None else total + message
        return total


def _of_sign(r: Value, record: Record, sign: int) -> Array:
    """Return ``r`` where the operator's output has the sign, all of it where the sign is 0."""
    if not sign:
        return r
    y: Array = whole_output(record)
    kept: Array = r
    return np.where(y > 0 if sign > 0 else y < 0, kept, 0)


def whole_output(record: Record) -> Value:
    """Return what the operator computes, its bias added: the model's own tensor where that is at hand."""
    return record.output if isinstance(record, Shifted) else record.replay(record.inputs).output


def _with_bias(record: Record, term: Term, replay: Record) -> Value:
    """Return the output of a term, with the bias where it counts."""
    if not term.bias:
        return replay.output
    if term.x is keep and term.w is keep:
        return whole_output(record)
    bias = bias_of(record)
    return replay.output if bias is None else replay.output + term.w(bias)


def bias_of(record: Record) -> Value | None:
    """Return the bias of a linear operator, shaped to be added to its output; None where there is none."""
    if isinstance(record, Shifted):
        return record.shift
    bias = record.inputs[2] if record.op in CONTRACTIONS and len(record.inputs) > 2 else None
    if bias is None:
        return None
    if record.op == "Gemm":
        return bias * float(record.attrs.get("beta", 1.0))
    return bias.emitter.reshape(bias, (*bias.shape, *[1] * (record.output.rank - 2)))


def first(given: Given) -> Value:
    """Return the relevance of the first output, which is all that rules are made for."""
    r = given[0]
    if r is None or any(g is not None for g in given[1:]):
        raise UnsupportedOperatorError("relevance reaches a second output, for which there is no rule")
    return r


def _input_index(record: Record) -> int:
    """Return the only input that is not constant, or the one that the others point into."""
    if record.op in POINTED:
        return POINTED[record.op]
    found = record.varying
    if len(found) != 1:
        raise UnsupportedOperatorError(
            f"{record} multiplies two tensors that both depend on the input: no relevance rule. "
            "Choose a layer after it."
        )
    return found[0]


def _sum(values: Sequence[Value]) -> Value:
    total = values[0]
    for v in values[1:]:
        total = total + v
    return total


def _effective(record: Record, i: int, terms: Sequence[Term]) -> list[Term]:
    """Drop the terms of the negative input where the input is known non-negative."""
    x = record.inputs[i]
    if x is None or not is_non_negative(x):
        return list(terms)
    return [t for t in terms if t.x is not negative]


def _modified(record: Record, i: int, term: Term) -> list[Value | None]:
    """Return the record's inputs as ``term`` modifies them."""
    inputs = list(record.inputs)
    x = inputs[i]
    inputs[i] = None if x is None else term.x(x)
    if record.op in CONTRACTIONS:
        w = inputs[1 - i]
        inputs[1 - i] = None if w is None else term.w(w)
        if len(inputs) > 2:
            inputs[2] = None
    return inputs


Z_PLUS = (Term(positive, positive), Term(negative, negative))
Z_BOX = (Term(above_lowest, positive), Term(below_highest, negative))
"""``f(x, w) - f(l, w+) - f(h, w-)`` of the lowest input l and the highest h, by the weight's sign."""

positive_input = Rule((Group((Term(positive),)),))
z_box = Rule((Group(Z_BOX),))
z_plus = Rule((Group(Z_PLUS),))
z_rule = Rule((Group((Term(),)),))


def passthrough(record: Record, given: Given) -> list[Value | None]:
    """Hand the relevance on unchanged, to the signal where there are several inputs."""
    r, i = first(given), record.varying[0]
    return [r if k == i else None for k in range(len(record.inputs))]


def product(rule: Rule, *, signal: Callable[[Record], int | None]) -> Callable[[Record, Given], list[Value | None]]:
    """Return the rule of a product of two tensors that both depend on the input.

    The operand that ``signal`` names takes all, the other being its gate or, in a contraction, its weight by ``rule``.
    Where it names none the product is bilinear: each operand takes half.
    """

    def pull(record: Record, given: Given) -> list[Value | None]:
        r, i = first(given), signal(record)
        takers = record.varying if i is None else (i,)
        part = r * (1 / len(takers))
        elementwise = record.op in ("Div", "Mul")
        return [
            None if k not in takers else part if elementwise else rule.message(record, part, k)
            for k in range(len(record.inputs))
        ]

    return pull


def to_maximum(record: Record, given: Given) -> list[Value | None]:
    """Send the relevance to the first maximum; it is dropped where the maximum is 0."""
    y: Array = record.output
    r: Array = first(given)
    kept: Array = np.where(y == 0, 0, r)
    return vjp.pullback(record, (kept,))


def shares(part: Modifier, divide: Division) -> Callable[[Record, Given], list[Value | None]]:
    """Return the rule of a sum that shares relevance in proportion to ``part`` of each addend."""

    def rule(record: Record, given: Given) -> list[Value | None]:
        r = first(given)
        varying = record.varying
        if len(varying) == 1 or _takes_off_a_statistic(record):
            return [r if i == varying[0] else None for i in range(len(record.inputs))]
        signs = [1, -1] if record.op == "Sub" else [1] * len(record.inputs)
        parts = [
            part(v if s > 0 else -v) if i in varying and v is not None else None
            for i, (v, s) in enumerate(zip(record.inputs, signs, strict=True))
        ]
        z = _sum([p for p in parts if p is not None])
        return [None if p is None else r * divide(p, z) for p in parts]

    return rule


def _takes_off_a_statistic(record: Record) -> bool:
    """Tell ``x - mean(x)`` of a normalisation, whose statistics are held constant."""
    a, b = record.inputs[0], record.inputs[1] if len(record.inputs) > 1 else None
    return record.op == "Sub" and a is not None and b is not None and size_of(b) < size_of(a)


RESIDUAL = {
    "positive": shares(positive, fraction),
    "ratio": shares(absolute, fraction),
    "signed": shares(keep, divide_or_zero),
}
"""How a residual Add shares relevance: a+/(a+ + b+), |a|/(|a| + |b|), or a/(a + b)."""
