"""Maps that show nothing, which a picture does not tell from a map that is faint."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ZERO, NOT_POSITIVE = "zero everywhere", "nothing positive"


def emptiness(values: NDArray[Any]) -> str:
    """Return what to say of a map (h, w): zero everywhere, or nothing positive; "" where it has something positive."""
    if np.any(values > 0):
        return ""
    return NOT_POSITIVE if np.any(values) else ZERO
