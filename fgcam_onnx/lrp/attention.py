"""Relevance through attention (Achtibat et al., 2024, arXiv:2402.05602)."""

from __future__ import annotations

import numpy as np

from ..graph.tape import Record
from ..graph.value import Array, Value
from .rules import Given, first


def softmax_taylor(record: Record, given: Given) -> list[Value | None]:
    """Share by the first-order Taylor expansion: ``R_i = x_i (R_i - s_i sum_j R_j)``; nothing where ``s_i`` is 0."""
    r: Array = first(given)
    x: Array = record.inputs[0]
    s: Array = record.output
    total = r.sum(int(record.attrs.get("axis", -1)) % s.rank, keepdims=True)
    shared: Array = np.where(s == 0, 0, x * (r - s * total))  # masked logits are -inf
    return [shared]
