"""A viewer for notebooks: class, layer, method and opacity, on one picture.

Imports errors, explanation, gallery, graph, hand, imaging, methods and sweep.
"""

from __future__ import annotations

from .view import View, viewer

__all__ = ["View", "viewer"]
