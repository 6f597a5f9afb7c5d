"""Oddities: what is unusual about a layer of the candidate, in sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .look import Look
from .weights import Floats

SAME, OTHER = 0.9, 0.5
"""Cosine above which two directions are one, and below which they are not."""

CHANGED = 0.1
"""A share or factor that is worth a word."""

FEW = 8
"""Steps of a quantizer with which hardly anything can be said."""

CUT = 0.002
"""Share of the results that a quantizer may cut off without a word."""

FAINT = 0.01
"""Size of a channel's weights over the largest channel's, below which their direction says nothing."""

TINY = 1e-12


def oddities_of(look: Look) -> tuple[str, ...]:
    """Return what is unusual about a layer, the plainest first."""
    return tuple(said for tell in ODDITIES if (said := tell(look)))


def suits(look: Look) -> bool:
    """Tell whether the candidate's quantizer behind a layer can say what the reference's results are."""
    return look.range is not None and not _cut_off(look) and not _coarse(look)


def _dead(look: Look) -> str:
    if look.mine is not None and look.theirs is not None and look.mine.rows.shape == look.theirs.rows.shape:
        dead = np.flatnonzero(~look.theirs.rows.any(1) & (_norm(look.mine.rows) > FAINT * _norm(look.mine.rows).max()))
        return f"{_channels(dead)} dead: all weights are 0" if len(dead) else ""
    dead = np.flatnonzero((np.ptp(look.b, axis=1) == 0) & (np.ptp(look.a, axis=1) > 0))
    return f"{_channels(dead)} dead: the result never changes" if 0 < len(dead) < len(look.a) else ""


def _weights(look: Look) -> str:
    """Tell a sign, a factor, an exchange, or weights that are others."""
    if look.mine is None or look.theirs is None or look.mine.rows.shape != look.theirs.rows.shape:
        return ""
    m, t = look.mine.rows, look.theirs.rows
    live = np.all([_norm(w) > FAINT * max(float(_norm(w).max()), TINY) for w in (m, t)], 0)
    if not live.any():
        return ""
    cosine = np.where(live, (m * t).sum(1) / np.maximum(_norm(m) * _norm(t), TINY), 1.0)
    factor = np.where(live, (m * t).sum(1) / np.maximum((m * m).sum(1), TINY), 1.0)
    turned = live & (cosine < -SAME)
    if turned.any():
        return (
            "the weights have the other sign"
            if turned[live].mean() > SAME
            else f"{_channels(turned.nonzero()[0])} of the other sign"
        )
    if look.theirs.scaled:
        off = live & (cosine > SAME) & (np.abs(factor - 1) > CHANGED)
        if off.any() and off[live].mean() > SAME:
            return f"the weights are {np.median(factor[off]):.3g} times the reference's"
        if off.any():
            return f"{_channels(off.nonzero()[0])} {np.median(factor[off]):.3g} times the reference's"
    moved = np.flatnonzero(live & (cosine < OTHER))
    if not len(moved):
        return ""
    across = (t[moved] / _norm(t[moved])[:, None]) @ (m / np.maximum(_norm(m), TINY)[:, None]).T
    best = across.argmax(1)
    if (across.max(1) > SAME).mean() > SAME:
        return _exchanged(moved, best)
    return f"the weights are others: cosine {float((m * t).sum() / np.linalg.norm(m) / np.linalg.norm(t)):.2f}"


def _pruned(look: Look) -> str:
    """Tell weights that are 0 though the quantizer would have had a step for them."""
    if look.mine is None or look.theirs is None or look.mine.rows.shape != look.theirs.rows.shape:
        return ""
    least = TINY if look.steps is None else np.resize(look.steps, len(look.mine.rows))[:, None]
    lost = float(((look.theirs.rows == 0) & (np.abs(look.mine.rows) > least)).mean())
    return f"{lost:.0%} of the weights were made 0" if lost > CHANGED / 2 else ""


def _bias(look: Look) -> str:
    ours, theirs = (None if w is None else w.bias for w in (look.mine, look.theirs))
    if ours is None or theirs is None or ours.shape != theirs.shape:
        return ""
    change = float(np.linalg.norm(theirs - ours) / max(float(np.linalg.norm(ours)), TINY))
    return f"the bias differs by {change:.0%} of its size" if change > CHANGED else ""


def _one_scale(look: Look) -> str:
    if look.mine is None or look.steps is None or look.steps.size > 1 or len(look.mine.rows) < 2:
        return ""
    reach = np.abs(look.mine.rows).max(1)
    steps = reach[reach > TINY] / look.steps[0]
    coarse = int((steps < FEW).sum())
    if not coarse:
        return ""
    return (
        f"one scale for {len(reach)} channels whose weights reach from {reach[reach > TINY].min():.2g} to "
        f"{reach.max():.2g}: {coarse} of them have fewer than {FEW} steps"
    )


def _cut_off(look: Look) -> str:
    if look.range is None:
        return ""
    low = look.range.low if look.range.low < -look.range.step else -np.inf
    share = float(((look.a > look.range.high) | (look.a < low)).mean())
    if share <= CUT:
        return ""
    reach = f"{look.a.min():.3g} to {look.a.max():.3g}"
    return (
        f"the quantizer behind it ends at {look.range.low:.3g} and {look.range.high:.3g}, the reference's results go "
        f"from {reach}: {share:.1%} are cut off"
    )


def _coarse(look: Look) -> str:
    if look.range is None:
        return ""
    used = np.ptp(look.a) / look.range.step
    return f"the quantizer behind it is coarse: the results use {used:.0f} of its steps" if used < 2 * FEW else ""


def _clipped(look: Look) -> str:
    top, reach = look.b.max(1, keepdims=True), look.a.max(1)
    flat = (look.b >= top - 1e-6 * np.abs(top)).mean(1)
    end = -np.inf if look.range is None else look.range.high
    before = (look.a >= look.a.max(1, keepdims=True)).mean(1)
    found = (top[:, 0] > 0) & (flat > before + CHANGED / 5) & (reach > 1.1 * top[:, 0]) & (top[:, 0] < 0.99 * abs(end))
    at = np.flatnonzero(found & (flat < 1))
    return f"{_channels(at)} clipped at {np.median(top[at]):.3g}" if 0 < len(at) <= max(1, len(found) // 2) else ""


def _results(look: Look) -> str:
    """Tell results that are exchanged, a multiple of the reference's, or shifted."""
    a, b = look.a, look.b
    if 1 < len(a) <= 4 and a.shape[1] > 1:
        across = (
            np.nan_to_num(np.corrcoef(a, b)[: len(a), len(a) :])
            if np.ptp(a, 1).all() and np.ptp(b, 1).all()
            else np.eye(len(a))
        )
        moved = np.flatnonzero(across.argmax(0) != np.arange(len(a)))
        if len(moved) and (across.max(0)[moved] > 0.999).all():
            return _exchanged(moved, across.argmax(0)[moved])
    centred = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    size = np.linalg.norm(centred[0]) * np.linalg.norm(centred[1])
    if size <= TINY:
        return ""
    cosine = float((centred[0] * centred[1]).sum() / size)
    factor = float((centred[0] * centred[1]).sum() / (centred[0] ** 2).sum())
    if cosine > SAME and abs(factor - 1) > CHANGED:
        return f"the results are {factor:.3g} times the reference's"
    shift = np.abs((b - a).mean(1)) / np.maximum(a.std(), TINY)
    if cosine > SAME and shift.max() > CHANGED:
        return f"the results are shifted, by up to {float(np.abs((b - a).mean(1)).max()):.3g}"
    return ""


ODDITIES: Sequence[Callable[[Look], str]] = (
    _dead,
    _weights,
    _pruned,
    _bias,
    _one_scale,
    _cut_off,
    _coarse,
    _clipped,
    _results,
)


def _norm(rows: Floats) -> Floats:
    return np.asarray(np.linalg.norm(rows, axis=1))


def _channels(which: Sequence[int] | np.ndarray) -> str:
    named = ", ".join(str(int(i)) for i in list(which)[:4]) + (" …" if len(which) > 4 else "")
    return f"channel {named} is" if len(which) == 1 else f"{len(which)} channels ({named}) are"


def _exchanged(moved: np.ndarray, best: np.ndarray) -> str:
    if len(moved) == 2 and list(best) == list(moved[::-1]):
        return f"channels {moved[0]} and {moved[1]} are exchanged"
    some = ", ".join(f"{b} at {m}" for m, b in list(zip(moved, best, strict=True))[:4])
    return f"{len(moved)} channels are permuted ({some}{' …' if len(moved) > 4 else ''})"
