"""Harmless changes: what moves a map without meaning anything, so that a drift can be told from it."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

STEPS = 224
"""A shift is this part of the width: a pixel of a small picture is further than what means nothing."""

Draw = Callable[[Image.Image, int], Image.Image]


@dataclass(frozen=True)
class Change:
    """A row of the table.

    Attributes
    ----------
    name, summary : str
    picture : callable
        Takes what the model sees of a picture, 8-bit RGB, and a seed.
    optimization : str
        How far ONNX Runtime rewrites the graph.
    """

    name: str
    summary: str
    picture: Draw
    optimization: str = "all"


def noise(view: Image.Image, seed: int) -> Image.Image:
    """Add normal noise with a deviation of half a grey level, and round."""
    pixels = np.asarray(view, np.float64)
    drawn = np.random.default_rng(seed).normal(0, 0.5, pixels.shape)
    return Image.fromarray(np.clip(np.rint(pixels + drawn), 0, 255).astype(np.uint8))


def jpeg(view: Image.Image, seed: int) -> Image.Image:
    """Write as JPEG at quality 95 and read again."""
    buffer = io.BytesIO()
    view.save(buffer, "JPEG", quality=95)
    with Image.open(buffer) as read:
        return read.convert("RGB")


def shift(view: Image.Image, seed: int) -> Image.Image:
    """Shift to the right by a pixel of 224, and by no more than a pixel; the first column stays."""
    pixels = np.asarray(view, np.float64)
    part = min(1.0, view.width / STEPS)
    moved = np.concatenate([pixels[:, :1], pixels[:, :-1]], 1)
    return Image.fromarray(np.rint((1 - part) * pixels + part * moved).astype(np.uint8))


def same(view: Image.Image, seed: int) -> Image.Image:
    """Return the picture as it is."""
    return view


CHANGES: dict[str, Change] = {
    c.name: c
    for c in (
        Change("noise", "normal noise of half a grey level", noise),
        Change("jpeg", "JPEG at quality 95", jpeg),
        Change("shift", "a shift by a 224th of the width, a pixel at most", shift),
        Change("unoptimized", "ONNX Runtime's optimisations off", same, "off"),
    )
}
