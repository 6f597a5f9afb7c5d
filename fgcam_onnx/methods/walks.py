"""Gradient walks that are looked at on the way, or go along another tape than the model's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .. import vjp
from ..backward import backward
from ..cells import in_cells
from ..graph.forms import in_forms
from ..graph.tape import Record, Tape
from ..graph.value import Value
from ..quantized import on_real_values

Cotangents = Sequence[Value | None]
Watch = Callable[[Record, Cotangents, Cotangents], None]
"""Called with each record, in real numbers, the cotangents of its outputs and what went to its inputs."""


def gradients_along(
    tape: Tape, seed: Value, *, saturation: bool = True, cells: bool = False, watch: Watch | None = None
) -> dict[str, Value]:
    """Return the gradient, weighed by ``seed``, at every tensor on ``tape``; ``cells`` as in `append_gradients`."""

    def pullback(record: Record, given: tuple[Value | None, ...]) -> list[Value | None]:
        returned = vjp.pullback(record, given)
        if watch is not None:
            watch(record, given, returned)
        return returned

    walk = in_cells(pullback, derivative=True) if cells else pullback
    wide = seed if seed.dtype.kind == "f" and seed.dtype.itemsize > 2 else seed.astype(np.float32)
    return backward(in_forms(tape), wide, on_real_values(walk, units=True, floor=saturation))
