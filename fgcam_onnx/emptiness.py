"""Maps that show nothing, which a picture does not tell from a map that is faint."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ZERO, NOT_POSITIVE, EVEN = "zero everywhere", "nothing positive", "the same everywhere"


def emptiness(values: NDArray[Any], *, relative: bool = False) -> str:
    """Return what to say of a map (h, w): zero everywhere, or nothing positive; "" where it has something positive.

    Of a ``relative`` one, in which 0 means nothing, that it is the same everywhere.
    """
    if relative:
        return "" if np.ptp(values) else EVEN
    if np.any(values > 0):
        return ""
    return NOT_POSITIVE if np.any(values) else ZERO
