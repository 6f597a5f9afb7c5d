"""What an output means: classes, several heads of classes, a map of classes, boxes, an embedding, numbers.

Imports errors, graph and layers.
"""

from __future__ import annotations

from .columns import Columns
from .finding import find_head, meaning_of
from .head import KINDS, Head
from .names import fitted_labels, own_labels
from .stated import NOTHING, Stated

__all__ = [
    "KINDS",
    "NOTHING",
    "Columns",
    "Head",
    "Stated",
    "find_head",
    "fitted_labels",
    "meaning_of",
    "own_labels",
]
