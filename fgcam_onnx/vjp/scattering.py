"""Adding elements into zeros, the adjoint of taking them."""

from __future__ import annotations

import numpy as np

from ..graph.value import Value


def added(op: str, x: Value, indices: Value, g: Value, *, axis: int | None = None) -> Value:
    """Return zeros of the shape of ``x`` with ``g`` added at ``indices`` by ``op``.

    Adding is done in float32 where the elements are narrower: ONNX Runtime has no such kernel for float16.
    """
    e = x.emitter
    wide = np.dtype(np.float32) if g.dtype.itemsize < 4 else g.dtype
    zeros = e.zeros_like(x).astype(wide)
    return e.emit(op, zeros, indices, g.astype(wide), axis=axis, reduction="add").astype(g.dtype)
