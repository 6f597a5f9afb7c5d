"""Linear operators that act on each axis alone: pooling averages and resizing, as small matrices.

``y = M_h x M_w^T`` makes the adjoint ``M_h^T g M_w``, whatever padding, rounding or interpolation is
in ``M``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..graph.value import Value
from ..matrices import Matrix


def apply_along(x: Value, matrices: Mapping[int, Matrix]) -> Value:
    """Multiply every axis in ``matrices`` by its (out, in) matrix."""
    e = x.emitter
    for axis, matrix in sorted(matrices.items(), reverse=True):
        if matrix.shape[0] == matrix.shape[1] and np.array_equal(matrix, np.eye(len(matrix))):
            continue
        if axis == x.rank - 1:
            x = x @ e.constant(matrix.T.astype(x.dtype))
        elif axis == x.rank - 2:
            x = e.constant(matrix.astype(x.dtype)) @ x
        else:
            order = [a for a in range(x.rank) if a != axis] + [axis]
            back = [order.index(a) for a in range(x.rank)]
            moved = x.transpose(order) @ e.constant(matrix.T.astype(x.dtype))
            x = moved.transpose(back)
    return x
