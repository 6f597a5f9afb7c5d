"""Linear operators that act on each axis alone: pooling averages, resizing and padding.

``y = M_h x M_w^T`` makes the adjoint ``M_h^T g M_w``. The matrices are what the runtime itself makes of the identity,
so that they hold whatever its version rounds to, and fold into constants when the program is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import FgcamError
from ..graph.value import Value
from ..matrices import along

LARGEST = 2**26
"""Most elements of a matrix: an axis of 8192 in and out."""


def identity(g: Value, size: int, out: int, *, height: int | None = None) -> Value:
    """Return the unit vectors of an axis of ``size`` elements, (size, 1, size), or (size, 1, height, size), to try on.

    Raises
    ------
    FgcamError
        When the matrix from ``size`` to ``out`` elements would be too large.
    """
    if size * max(size, out) > LARGEST:
        raise FgcamError(f"an axis of {size} elements averaged or resized to {out} is too long to invert")
    e = g.emitter
    units = np.eye(size, dtype=np.float64 if g.dtype == np.float64 else np.float32)
    if height is None:
        return e.constant(units.reshape(size, 1, size))
    return e.emit("Expand", e.constant(units.reshape(size, 1, 1, size)), e.ints([size, 1, height, size]))


def windows(g: Value, op: str, sizes: tuple[int, int], **attrs: Any) -> Value:
    """Return the (size, out) matrix of a pooling ``op`` along one axis of which ``sizes`` are in and out."""
    size, out = sizes
    made = g.emitter.emit(op, identity(g, size, out), **attrs)
    return made.reshape((size, out))


def apply_along(g: Value, matrices: Mapping[int, Value]) -> Value:
    """Multiply every axis in ``matrices`` by the transpose of its matrix, which is (in, out) of the operator."""
    found: Value = along(g, {axis: matrix.astype(g.dtype) for axis, matrix in sorted(matrices.items(), reverse=True)})
    return found
