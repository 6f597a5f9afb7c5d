"""Metrics as formulas on arrays, for one map of one picture.

``whole``, ``masked``, ``blank`` and the like are probabilities of the class that is explained: on the picture, and on
changed copies of it. ``positive`` is the positive part of the map scaled to 1, ``order`` its pixels from the highest to
the lowest, ``region`` where the object is. NaN stands for what is not defined on a picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .case import Bools, positive_part
from .grids import Floats, Order

NONE = float("nan")
LARGE = 0.5
"""A region that covers as much of a picture says little: a guess at the middle finds it."""


def drop(whole: float, masked: float) -> float:
    """Return the share of the probability that is lost, ``max(0, p - p_masked) / p``."""
    return max(0.0, whole - masked) / whole if whole > 0 else NONE


def increase(whole: float, masked: float) -> float:
    """Return 1 where the probability rises, else 0."""
    return float(masked > whole)


def gain(whole: float, masked: float) -> float:
    """Return the share of what is missing to 1 that is won, ``max(0, p_masked - p) / (1 - p)``."""
    return max(0.0, masked - whole) / (1 - whole) if whole < 1 else 0.0


def deletion(shares: tuple[float, ...], whole: float, removed: Floats, blank: float) -> float:
    """Return the area under the probability as the share of removed pixels goes from 0 to 1."""
    return area(shares, whole, removed, blank)


def insertion(shares: tuple[float, ...], whole: float, kept: Floats, blank: float) -> float:
    """Return the area under the probability as the share of pixels that are there goes from 0 to 1."""
    return area(shares, blank, kept, whole)


def area(shares: tuple[float, ...], first: float, between: Floats, last: float) -> float:
    """Return the area under a curve from 0 to 1 by trapezoids, ``between`` standing at ``shares``."""
    return float(np.trapezoid([first, *between, last], [0.0, *shares, 1.0]))


def flipping(shares: tuple[float, ...], whole: float, removed: Floats, blank: float) -> float:
    """Return the mean fall of the probability while pixels are replaced."""
    return whole - area(shares, whole, removed, blank)


def road(most: Floats, least: Floats) -> float:
    """Return half the probability with the least relevant pixels imputed, less that with the most relevant ones."""
    return float(np.mean(least) - np.mean(most)) / 2


def coherency(positive: Floats, again: Floats) -> float:
    """Return the correlation, brought to 0..1, of a map and the map of the picture under it."""
    return (correlation(positive, positive_part(again[0])) + 1) / 2


def complexity(positive: Floats) -> float:
    """Return the mean of the map scaled to 1."""
    return float(positive.mean())


def adcc(whole: float, masked: float, positive: Floats, again: Floats) -> float:
    """Return the harmonic mean of coherency, 1 - complexity and 1 - drop."""
    return harmonic(coherency(positive, again), 1 - complexity(positive), 1 - drop(whole, masked))


def arcc(most: Floats, least: Floats, positive: Floats, again: Floats) -> float:
    """Return the harmonic mean of coherency, 1 - complexity and twice ROAD, which is cut to 0..1."""
    return harmonic(coherency(positive, again), 1 - complexity(positive), min(max(2 * road(most, least), 0), 1))


def harmonic(*values: float) -> float:
    """Return the harmonic mean; 0 where one is 0, NaN where one is."""
    if any(np.isnan(values)):
        return NONE
    return len(values) / sum(1 / v for v in values) if min(values) > 0 else 0.0


def infidelity(map: Floats, whole: float, squares: tuple[tuple[slice, slice], ...], without: Floats) -> float:  # noqa: A002
    """Return the mean squared error of a square's sum of the map as the fall of the probability without the square.

    The map is scaled by the factor that makes the error least, since maps have no unit.
    """
    said = np.array([map[square].sum() for square in squares])
    falls = whole - without
    power = float(said @ said)
    return float(np.mean((said * ((said @ falls) / power if power else 0.0) - falls) ** 2))


def max_sensitivity(map: Floats, noisy: Floats) -> float:  # noqa: A002
    """Return the largest change of the map under noise that is too small to see, relative to its norm."""
    norm = np.linalg.norm(map)
    return float(max(np.linalg.norm(other - map) for other in noisy) / norm) if norm > 0 else NONE


def pointing(order: Order, region: Bools, tolerance: int = 15) -> float:
    """Return 1 where the highest pixel is on the object or at most ``tolerance`` pixels (of 224) off, else 0."""
    height, width = region.shape
    row, column = divmod(int(order[0]), width)
    rows, columns = np.nonzero(region)
    near = (rows - row) ** 2 + (columns - column) ** 2 <= (tolerance * min(height, width) / 224) ** 2
    return float(near.any()) if len(rows) else NONE


def energy(positive: Floats, region: Bools) -> float:
    """Return the share of the positive map that is on the object."""
    total = positive.sum()
    return float(positive[region].sum() / total) if total > 0 and region.any() else NONE


def iou(order: Order, region: Bools) -> float:
    """Return intersection over union of the object and as many of the highest pixels as it has."""
    count = int(region.sum())
    hits = int(region.reshape(-1)[order[:count]].sum())
    return hits / (2 * count - hits) if count else NONE


def top_pixels(order: Order, region: Bools, share: float = 0.05) -> float:
    """Return which share of the highest ``share`` of the pixels is on the object."""
    count = max(1, round(share * len(order)))
    return float(region.reshape(-1)[order[:count]].mean()) if region.any() else NONE


def of_small(region: Bools) -> bool:
    """Return whether the object covers less than half of the picture."""
    return float(region.mean()) < LARGE


def energy_small(positive: Floats, region: Bools) -> float:
    """Return :func:`energy` where the object covers less than half of the picture."""
    return energy(positive, region) if of_small(region) else NONE


def pointing_small(order: Order, region: Bools) -> float:
    """Return :func:`pointing` where the object covers less than half of the picture."""
    return pointing(order, region) if of_small(region) else NONE


def entropy(positive: Floats) -> float:
    """Return the entropy of the positive map as a distribution over pixels, relative to that of an even one."""
    shares = positive[positive > 0] / positive.sum() if positive.any() else positive[:0]
    return float(-(shares * np.log(shares)).sum() / np.log(positive.size)) if len(shares) else NONE


def gini(positive: Floats) -> float:
    """Return the Gini index of the positive map: 0 where all pixels are alike, to 1 where one has it all."""
    values = np.sort(positive, axis=None)
    n, total = len(values), values.sum()
    return float((2 * np.arange(1, n + 1) - n - 1) @ values / (n * total)) if total > 0 else NONE


def likeness(map: Floats, others: Floats) -> float:  # noqa: A002
    """Return the mean rank correlation of a map and others."""
    own = ranked(map)
    return float(np.mean([correlation(own, ranked(other)) for other in others]))


def correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Return Pearson's correlation; 1 of two constant maps, 0 of a constant map and another."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float(np.ptp(a) == np.ptp(b))
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b)))


def ranked(values: Floats) -> Floats:
    """Return the ranks of the values, equal ones sharing the mean of theirs."""
    flat = values.reshape(-1)
    order = np.argsort(flat, kind="stable")
    ordered = flat[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    ends = np.append(starts[1:], len(flat))
    ranks = np.empty(len(flat))
    ranks[order] = np.repeat((starts + ends - 1) / 2, ends - starts)
    return ranks
