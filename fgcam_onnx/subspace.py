"""Leading singular directions without an SVD: products, a loop, and nothing that ONNX lacks.

Subspace iteration (Rutishauser, 1969, doi:10.1007/BF02219773) on the smaller Gram matrix, on a block twice as wide as
what is wanted; the block is kept independent by Newton-Schulz steps towards its polar factor (Björck & Bowie, 1971,
doi:10.1137/0708036). Within the block, eigenvectors by Jacobi's rotations, as many at a time as there are pairs
(Brent & Luk, 1985, doi:10.1137/0906007). All of it is array formulas, which compute on arrays and emit nodes on values.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .graph.loops import repeated
from .graph.value import Array, Value

STEPS = 32
"""Multiplications by the Gram matrix."""

SPARE = 8
"""Columns of the block beyond twice those wanted."""

SWEEPS = 8
"""Times that every pair of the block is rotated."""

STRETCH = (3.4445, -4.7750, 2.0315)
"""Odd polynomial that takes singular values from 1e-3 to between 0.7 and 1.2 in six steps (Jordan, 2024)."""

SETTLE = (15 / 8, -10 / 8, 3 / 8)
"""Odd polynomial that takes those to 1, cubically."""

TINY = 1e-30


def leading_part(x: Array, rank: int) -> Array:
    """Return what ``x`` (N, a, b) is within its ``rank`` leading singular directions, those of each matrix.

    The difference to a singular value decomposition is below 1e-4 of the largest value where the singular values
    fall as those of real components do. It grows where a value within the block and one beyond it are nearly equal,
    and where a kept value is below about 1/100 of the largest: what is wrong then is of that size.
    """
    w = leading_directions(x, rank)
    if _by_columns(x):
        return np.matmul(np.matmul(x, w), _turned(w))
    return np.matmul(w, np.matmul(_turned(w), x))


def leading_directions(x: Array, rank: int) -> Array:
    """Return orthonormal columns that span the ``rank`` leading singular directions of ``x`` (N, a, b).

    Of the shorter side's: (N, min(a, b), k) with ``k >= rank``, the columns beyond being 0, in no order.
    """
    gram = np.matmul(_turned(x), x) if _by_columns(x) else np.matmul(x, _turned(x))
    size = gram.shape[-1]
    eye = np.eye(size, dtype=np.float32)
    gram = gram / np.maximum((gram * eye).sum(axis=(1, 2), keepdims=True), np.float32(TINY))
    width = min(size, 2 * rank + SPARE) // 2 * 2
    if size == 1:
        return np.zeros_like(gram) + eye
    if width == size:
        return _chosen(*_jacobi(gram), rank)
    (block,) = repeated(
        lambda q: (_polar(np.matmul(gram, q), stretch=6),), _polar(np.matmul(gram, _start(gram, width))), times=STEPS
    )
    block = _polar(block, settle=3)
    values, vectors = _jacobi(np.matmul(np.matmul(_turned(block), gram), block))
    return np.matmul(block, _chosen(values, vectors, rank))


def principal_part(x: Array) -> Array:
    """Return each row's part in the projection of ``x`` (N, C, P) on its first principal component over P.

    With ``x`` centred per row, s u v' its leading singular triple: ``u[c] x[c]``, which sum over the rows to s v'. The
    sign is the one in which that correlates positively with the sum of the rows, and where that is nearly 0, the
    one in which its element of largest magnitude is positive: `cam.projection.principal` without a decomposition.
    """
    x = x - x.mean(axis=2, keepdims=True)
    direction = leading_directions(x, 1).sum(axis=2, keepdims=True)
    if _by_columns(x):
        direction = np.matmul(x, direction)
        direction = direction / np.maximum(_length(direction), np.float32(TINY))
    parts = direction * x
    projection, like = parts.sum(axis=1, keepdims=True), x.sum(axis=1, keepdims=True)
    agreement = (projection * like).sum(axis=(1, 2), keepdims=True)
    sure = abs(agreement) > _length(projection) * _length(like) * 1e-6
    largest = projection.max(axis=(1, 2), keepdims=True) + projection.min(axis=(1, 2), keepdims=True)
    return np.where(np.where(sure, agreement, largest) < 0, -parts, parts)


def _length(x: Array) -> Array:
    return np.sqrt((x * x).sum(axis=(1, 2), keepdims=True))


def _by_columns(x: Array) -> bool:
    return bool(x.shape[2] <= x.shape[1])


def _turned(x: Array) -> Array:
    return x.transpose((0, 2, 1))


def _start(like: Array, width: int) -> Array:
    """Return the block that iteration starts from: any that no model's directions are at right angles to."""
    drawn = np.random.default_rng(0).standard_normal((1, like.shape[-1], width)).astype(np.float32)
    return like.emitter.constant(drawn) if isinstance(like, Value) else drawn


def _polar(block: Array, *, stretch: int = 8, settle: int = 0) -> Array:
    """Return a block of the same span whose columns are orthonormal (with ``settle``), or nearly.

    Singular values below 1e-3 of the largest (stretch 6; 1e-4: 8) stay below 1.
    """
    block = block / np.maximum(_length(block), np.float32(TINY))
    for a, b, c in (*(STRETCH,) * stretch, *(SETTLE,) * settle):
        gram = np.matmul(_turned(block), block)
        block = block * a + np.matmul(block, gram * b + np.matmul(gram, gram) * c)
    return block


def _jacobi(matrix: Array) -> tuple[Array, Array]:
    """Return eigenvalues (N, b) and eigenvectors, the rows of (N, b, b), of symmetric ``matrix``; b is even."""
    size = matrix.shape[-1]
    half, order = size // 2, tournament(size)
    even, odd = np.arange(0, size, 2), np.arange(1, size, 2)

    def turned(m: Array, by: Array) -> Array:
        rotated = np.matmul(by, m.reshape((-1, half, 2, size)))
        return np.take(rotated.reshape((-1, size, size)), order, axis=1)

    def step(m: Array, vectors: Array) -> tuple[Array, Array]:
        flat = m.reshape((-1, size * size))
        first, second = (np.take(flat, at * size + at, axis=1) for at in (even, odd))
        beside = np.take(flat, even * size + odd, axis=1) * 2.0
        apart = second - first
        length = np.sqrt(apart * apart + beside * beside)
        tangent = np.where(apart < 0, -beside, beside) / np.maximum(abs(apart) + length, np.float32(TINY))
        cosine = 1.0 / np.sqrt(tangent * tangent + 1.0)
        sine = tangent * cosine
        parts = [p.reshape((-1, half, 1)) for p in (cosine, -sine, sine, cosine)]
        by = np.concatenate(parts, axis=2).reshape((-1, half, 2, 2))
        return turned(_turned(turned(m, by)), by), turned(vectors, by)

    eye = np.eye(size, dtype=np.float32)
    matrix, vectors = repeated(step, matrix, np.zeros_like(matrix) + eye, times=SWEEPS * (size - 1))
    return (matrix * eye).sum(axis=2), vectors


def tournament(size: int) -> NDArray[np.int64]:
    """Return an order of ``size`` players, neighbours playing: repeated, all meet all in ``size - 1`` rounds."""
    top, bottom = list(range(0, size, 2)), list(range(1, size, 2))
    tops = [top[0], bottom[0], *top[1:-1]] if len(top) > 1 else top
    bottoms = [*bottom[1:], top[-1]] if len(top) > 1 else bottom
    return np.asarray([p for pair in zip(tops, bottoms, strict=True) for p in pair], np.int64)


def _chosen(values: Array, vectors: Array, rank: int) -> Array:
    """Return the eigenvectors of the ``rank`` largest values as columns, the others being 0."""
    top: Array
    if isinstance(values, Value):
        top, _ = values.emitter.emit_many("TopK", values, values.emitter.ints([rank]), count=2, axis=1)
    else:
        top = np.sort(values, axis=1)[:, -rank:]
    kept = values >= top.min(axis=1, keepdims=True)
    size = vectors.shape[-1]
    return _turned(vectors * kept.reshape((-1, size, 1)).astype(np.float32))
