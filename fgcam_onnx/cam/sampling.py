"""What sampled explanations draw and add up: quadrature, windows, random masks, moments of gradients.

Every draw depends on the seed and its own number only: not on the batch, the picture or how many are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError, check_known
from ..graph.value import Array
from ..matrices import along, resize_matrix

Floats = NDArray[np.float64]


def _gauss_legendre(steps: int) -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return weights / 2, (1 + nodes) / 2


def _riemann(first: float, last: float) -> Callable[[int], tuple[Floats, Floats]]:
    return lambda n: (np.full(n, 1 / n), np.linspace(first / n, 1 - last / n, n))


def _trapezoid(steps: int) -> tuple[Floats, Floats]:
    weights = np.full(steps, 1 / max(steps - 1, 1))
    weights[[0, -1]] /= 2 if steps > 1 else 1
    return weights, np.linspace(0, 1, steps)


RULES: dict[str, Callable[[int], tuple[Floats, Floats]]] = {
    "gausslegendre": _gauss_legendre,
    "left": _riemann(0, 1),
    "middle": _riemann(0.5, 0.5),
    "right": _riemann(1, 0),
    "trapezoid": _trapezoid,
}
"""Rules of quadrature on [0, 1]: number of steps -> weights, which sum to 1, and places."""


def quadrature(rule: str, steps: int) -> tuple[Floats, Floats]:
    """Return the weights and places, (steps,) each, of a rule of quadrature on [0, 1].

    Raises
    ------
    OptionError
        No such rule, or fewer steps than 1 (for ``trapezoid`` 2).
    """
    check_known("rule", rule, RULES)
    least = 2 if rule == "trapezoid" else 1
    if steps < least:
        raise OptionError(f"steps of {rule} must be at least {least}, not {steps}")
    return RULES[rule](steps)


def generator(seed: int, number: int) -> np.random.Generator:
    """Return the generator of draw ``number``: the same whatever else is drawn."""
    return np.random.default_rng([seed, number])


def normal_noise(shape: Sequence[int], numbers: Sequence[int], *, seed: int) -> NDArray[np.float32]:
    """Return standard normal noise of shape (n, *shape), one draw for each of ``numbers``."""
    return np.stack([generator(seed, m).standard_normal(tuple(shape), np.float32) for m in numbers])


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Return where windows start along an axis; the last may stick out, so that every position is covered."""
    return [k * stride for k in range(-(-(length - window) // stride) + 1)]


def rise_masks(
    size: tuple[int, ...], numbers: Sequence[int], *, cells: int, p: float, seed: int
) -> NDArray[np.float32]:
    """Return RISE's masks: random cells, upsampled bilinearly and shifted by less than a cell.

    Petsiuk, Das & Saenko, 2018, arXiv:1806.07421: ``cells`` a side, at most as many as there are positions, each 1
    with probability ``p``, enlarged to one more a side and cut to ``size`` at a random place.

    Returns
    -------
    ndarray of shape (n, *size), values in [0, 1]
    """
    counts = [min(cells, s) for s in size]
    sides = [-(-s // n) for s, n in zip(size, counts, strict=True)]
    ways = [resize_matrix(n, (n + 1) * s) for s, n in zip(sides, counts, strict=True)]
    masks = np.empty((len(numbers), *size), np.float32)
    for mask, m in zip(masks, numbers, strict=True):
        rng = generator(seed, m)
        kept = (rng.random(counts) < p).astype(np.float64)
        starts = [int(rng.integers(s)) for s in sides]
        cut = [way[at : at + wide] for way, at, wide in zip(ways, starts, size, strict=True)]
        mask[:] = along(kept, dict(enumerate(cut)))
    return masks


def smooth_grad_cam_pp(
    a: Array, moments: tuple[Array, Array, Array], space: Sequence[int], *, floor: float = 1e-8
) -> Any:
    """Weigh each channel as Grad-CAM++ does, on moments of the gradient over noisy inputs.

    ``w = sum(alpha * max(E[g], 0))``, ``alpha = E[g^2] / (2 E[g^2] + sum(a E[g^3]) + floor)`` (Omeiza et al.,
    2019, arXiv:1908.01224). The numerator is Grad-CAM++'s, of second order, as torch-cam has it.

    Parameters
    ----------
    a : array of shape (N, C, ...)
        Activations of the clean input.
    moments : three arrays of that shape
        Means of the gradient, its square and its cube.
    space : the spatial axes

    Returns
    -------
    array of the shape of ``a``
    """
    g1, g2, g3 = moments
    axes = tuple(space)
    alpha = g2 / (2 * g2 + np.sum(a * g3, axis=axes, keepdims=True) + floor)
    return np.sum(alpha * np.maximum(g1, 0), axis=axes, keepdims=True) * a
