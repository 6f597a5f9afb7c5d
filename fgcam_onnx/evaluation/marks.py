"""Marks by which a run knows its own models and pictures again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from ..graph.model import Model


def digest(parts: Iterable[bytes]) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of all parts."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()[:16]


def bytes_of(model: Model) -> list[bytes]:
    """Return a model's graph and weights."""
    constants = [part for n, a in sorted(model.constants.items()) for part in (n.encode(), a.tobytes())]
    return [model.proto.SerializeToString(deterministic=True), *constants]
