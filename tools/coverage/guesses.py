"""Measure how sure the guess of a preprocessing is: ``python tools/coverage/guesses.py`` (real models by FGCAM_ASSETS).

For each model of ``models.json`` the guess is compared with how the model was trained: right where the arrays made of a
picture of noise are equal up to 2 % of their range. Prints a line for each model, and for each kind of evidence.
"""

from __future__ import annotations

import json
import os
import warnings
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import fgcam_onnx
from fgcam_onnx.guessing import guess
from fgcam_onnx.imaging import PRESETS, Preprocess, preprocess_from

WORDS = {
    "raw or /255 grey, white on black": ("none", "unit"),
    "(x/255-.5)/.5": ("tf",),
    "raw 0..255 grey": ("none",),
}
"""What the list says in words only."""

NEAR = 0.02


def wanted(entry: dict[str, Any]) -> list[Preprocess]:
    """Return how the model was trained; several where either does."""
    told = entry["preprocess"]
    if not isinstance(told, dict):
        return [PRESETS[name] for name in WORDS[entry["preprocess_in_words"]]]
    return [preprocess_from({k: v for k, v in told.items() if k != "y"})]


def before(image: fgcam_onnx.graph.model.TensorSpec) -> Preprocess:
    """Return the guess by type and channels alone, for comparison."""
    if image.dtype.kind != "f":
        return PRESETS["none"]
    return PRESETS["imagenet" if 3 in image.shape[1:] else "unit"]


def same(a: Preprocess, b: Preprocess, image: fgcam_onnx.graph.model.TensorSpec) -> bool:
    """Say whether two ways make the same of a picture, however it is fitted."""
    shape = tuple(d if isinstance(d, int) and d > 0 else 32 if i else 1 for i, d in enumerate(image.shape))
    pixels = np.random.default_rng(0).integers(0, 256, (shape[-2], shape[-2], 3), dtype=np.uint8)
    made = []
    for each in (a, b):
        bound = preprocess_from({**each.summary(), "resize": "stretch", "dtype": "float64"}).bound(shape, image.dtype)
        made.append(np.asarray(bound(Image.fromarray(pixels))))
    return bool(np.abs(made[0] - made[1]).max() <= NEAR * np.ptp(made[1]))


def main(folder: Path, entries: Iterable[dict[str, Any]]) -> None:
    rows: dict[str, list[bool]] = defaultdict(list)
    old = []
    for entry in entries:
        model = fgcam_onnx.load(folder / entry["file"])
        image = model.inputs[0]
        found, truths = guess(model, image), wanted(entry)
        right = any(same(found.preprocess, truth, image) for truth in truths)
        old.append(any(same(before(image), truth, image) for truth in truths))
        rows[found.kind].append(right)
        print(f"{'right' if right else 'WRONG'}  {entry['file']:48} {found.name}: {found.evidence}")
    print()
    for kind, rights in rows.items():
        print(f"{kind:32} {sum(rights)} of {len(rights)}")
    every = [right for rights in rows.values() for right in rights]
    print(f"{'all':32} {sum(every)} of {len(every)}; by type and channels alone {sum(old)}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    models = Path(os.environ["FGCAM_ASSETS"]) / "models"
    main(models, json.loads((models / "models.json").read_text()))
