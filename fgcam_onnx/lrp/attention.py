"""Relevance through attention (Achtibat et al., 2024, arXiv:2402.05602)."""

from __future__ import annotations

import numpy as np

from ..backward import Pullback
from ..graph.tape import Record
from ..graph.value import Array, Value
from .gates import self_gated
from .rules import Given, Rule, first


def softmax_taylor(record: Record, given: Given) -> list[Value | None]:
    """Share by the first-order Taylor expansion: ``R_i = x_i (R_i - s_i sum_j R_j)``; nothing where ``s_i`` is 0."""
    r: Array = first(given)
    x: Array = record.inputs[0]
    s: Array = record.output
    total = r.sum(int(record.attrs.get("axis", -1)) % s.rank, keepdims=True)
    shared: Array = np.where(s == 0, 0, x * (r - s * total))  # masked logits are -inf
    return [shared]


def uniform_product(rule: Rule) -> Pullback:
    """Return AttnLRP's rule of products: each operand half, by ``rule`` where it is a contraction.

    ``x * f(x)`` is one function of x and passes everything on; so does a product with what does not depend on the
    input, and a quotient, whose divisor is held constant.
    """

    def pull(record: Record, given: Given) -> list[Value | None]:
        r, varying = first(given), record.varying
        signal = varying[0] if len(varying) == 1 or record.op == "Div" else self_gated(record)
        takers = varying if signal is None else (signal,)
        part = r * (1 / len(takers))
        elementwise = record.op in ("Div", "Mul")
        return [
            None if k not in takers else part if elementwise else rule.message(record, part, k)
            for k in range(len(record.inputs))
        ]

    return pull
