"""What was found of the layers that are to blame, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..blame import Drift, Mended, Profile

DIGITS = 6
"""Significant digits of a number of a profile."""


def plain(profile: Profile) -> dict[str, Any]:
    """Return a profile as plain values."""
    layers = [
        {"name": x.name, "node": x.node, "share": _short(x.share), "measured": x.measured, "oddities": list(x.oddities)}
        for x in profile.layers
    ]
    depth = [
        {
            "name": p.reference,
            "sqnr": _short(p.sqnr),
            "alone": _short(p.alone),
            "cosine": _short(p.cosine),
            "before": _drift(p.before),
            "behind": _drift(p.behind),
        }
        for p in profile.depth
    ]
    return {"layers": layers, "depth": depth, "without_partner": [*profile.alone, *profile.alone_in_candidate]}


def plain_mended(mended: Mended) -> dict[str, Any]:
    """Return what came of mending as plain values, times aside, which no second run has."""
    return {
        "helped": mended.model is not None,
        "layers": [b.name for b in mended.floats],
        "nodes_to_exclude": list(mended.exclude),
        "products_kept": mended.kept,
        "products": mended.of,
        "bytes": list(mended.size),
    }


def _drift(drift: Drift | None) -> Mapping[str, float] | None:
    return None if drift is None else {"prediction": _short(drift.prediction), "map": _short(drift.map)}


def _short(value: float) -> float:
    """Return a number of so many digits; a signal without noise has as many decibels as JSON can say."""
    return float(f"{min(max(value, -1e9), 1e9):.{DIGITS}g}")
