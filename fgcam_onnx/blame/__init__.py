"""Blame: which layers make a model predict and look otherwise than the one it was made from, and how to mend it.

Imports errors, explainer, explanation, graph, imaging, layers, loading, methods, metrics, runtime, sizes, surgery and
targets.
"""

from __future__ import annotations

from .blaming import Blamed, Point, Profile, blame
from .drift import Drift, drift
from .mending import Mended, mend

__all__ = ["Blamed", "Drift", "Mended", "Point", "Profile", "blame", "drift", "mend"]
