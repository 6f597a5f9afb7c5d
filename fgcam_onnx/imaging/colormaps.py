"""OpenCV's colormaps by their numbers, without OpenCV."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from fgcam_onnx.errors import OptionError

COLORMAP_JET = 2
SAME_IN_MATPLOTLIB = {
    0: "autumn",
    1: "bone",
    3: "winter",
    6: "summer",
    7: "spring",
    8: "cool",
    13: "magma",
    14: "inferno",
    15: "plasma",
    16: "viridis",
    17: "cividis",
    20: "turbo",
}
"""Those whose 256 colours are matplotlib's within 1 of 255 (OpenCV 5.0); its jet, hot, hsv and others differ."""


@functools.cache
def opencv_colors(number: int) -> NDArray[np.uint8]:
    """Return the 256 RGB colours of OpenCV's colormap ``number``, of shape (256, 3).

    Raises
    ------
    OptionError
        It is not one of those known here.
    """
    if number == COLORMAP_JET:
        return _jet()
    if number not in SAME_IN_MATPLOTLIB:
        known = ", ".join(f"{n} ({name})" for n, name in sorted({**SAME_IN_MATPLOTLIB, COLORMAP_JET: "jet"}.items()))
        raise OptionError(f"colormap {number!r} is not one of OpenCV's that are known here: {known}")
    import matplotlib

    colors = matplotlib.colormaps[SAME_IN_MATPLOTLIB[number]](np.arange(256))[:, :3]
    return np.asarray(np.round(colors * 255), np.uint8)


def _jet() -> NDArray[np.uint8]:
    """Return the colours of OpenCV's jet: ramps of 4 of 255 a step, placed unlike matplotlib's; one is off by 1."""
    step = 4 * np.arange(256)
    rising = (step - 382, step - 128, step + 128)
    falling = (1148 - step, 892 - step, 638 - step)
    colors = [np.minimum(up, down) for up, down in zip(rising, falling, strict=True)]
    return np.asarray(np.clip(np.stack(colors, 1), 0, 255), np.uint8)
