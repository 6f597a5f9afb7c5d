"""Specs of reductions."""

from __future__ import annotations

import numpy as np
from spec import Spec, apart, ints, normal, spec, uniform

POSITIVE = uniform(0.3, 2, 2, 3, 4)
X = apart(2, 3, 4)
WITH_ZEROS = np.where(np.eye(3, 4) > 0, 0, apart(2, 3, 4) + 1)

ARGUMENTS = {
    "all": ((), {}),
    "all, flat": ((), {"keepdims": 0}),
    "last axis": ((ints(-1),), {"keepdims": 0}),
    "two axes": ((ints(2, 0),), {}),
    "two axes, flat": ((ints(0, -1),), {"keepdims": 0}),
    "no axes": ((ints(),), {"noop_with_empty_axes": 1}),
}


def reductions(op: str, x: np.ndarray, *, linear: bool = False) -> tuple[Spec, ...]:
    return tuple(spec(op, x, *axes, about=about, linear=linear, **attrs) for about, (axes, attrs) in ARGUMENTS.items())


SPECS: tuple[Spec, ...] = (
    spec("CumSum", normal(3, 4), np.array(1), linear=True),
    spec("CumSum", normal(3, 4), np.array(0), about="exclusive", linear=True, exclusive=1),
    spec("CumSum", normal(3, 4), np.array(-1), about="reverse", linear=True, reverse=1),
    spec("CumSum", normal(3, 4), np.array(-2), about="exclusive reverse", linear=True, exclusive=1, reverse=1),
    *reductions("ReduceL1", X),
    *reductions("ReduceL2", X),
    *reductions("ReduceLogSum", POSITIVE),
    *reductions("ReduceLogSumExp", X),
    *reductions("ReduceMax", X),
    *reductions("ReduceMean", X, linear=True),
    *reductions("ReduceMin", X),
    *reductions("ReduceProd", POSITIVE),
    spec("ReduceProd", WITH_ZEROS, ints(2), about="one zero in each product"),
    spec("ReduceProd", WITH_ZEROS, ints(0), about="two zeros in a product"),
    *reductions("ReduceSum", X, linear=True),
    *reductions("ReduceSumSquare", X),
    spec("TopK", apart(3, 6), ints(2), outputs=2),
    spec("TopK", apart(3, 6, 2), ints(4), about="smallest, axis 1", outputs=2, axis=1, largest=0),
    spec("TopK", apart(3, 6), ints(3), about="unsorted", outputs=2, sorted=0, compiled=False),
)
