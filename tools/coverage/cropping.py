"""Measure what cropping costs pictures that have a model's size already: ``python tools/coverage/cropping.py``.

Two ResNet8 on the CIFAR-10 pictures of FGCAM_ASSETS: their accuracy on the pictures as they are, and on those that were
enlarged by 1/0.875 and cropped to the size that they had.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

import fgcam_onnx
from fgcam_onnx.imaging import PRESETS, Preprocess, read_image

NAMES = "airplane automobile bird cat deer dog frog horse ship truck".split()
MODELS = {"mlperftiny_resnet8_cifar10_int8.onnx": "cifar", "keras_resnet8_cifar10_mlperftiny.onnx": "none"}


def cropped(picture: Image.Image) -> Image.Image:
    """Return a square picture enlarged and cropped to its size."""
    side = picture.width
    whole = round(side / 0.875)
    at = round((whole - side) / 2)
    return picture.resize((whole, whole), Image.Resampling.BILINEAR).crop((at, at, at + side, at + side))


def accuracy(model: Path, preset: Preprocess, files: list[Path], before: Callable[[Image.Image], Image.Image]) -> float:
    """Return the share of ``files``, named after their class, that ``model`` names."""
    explainer = fgcam_onnx.Explainer(model, method="gradcam")
    image = explainer.model.inputs[0]
    preprocess = preset.bound(image.shape, image.dtype)
    x = np.concatenate([np.asarray(preprocess(before(read_image(f)))) for f in files])
    step = image.shape[0] if isinstance(image.shape[0], int) else len(x)
    right = 0
    for start in range(0, len(x), step):
        part = x[start : start + step]
        filled = np.concatenate([part, part[-1:].repeat(step - len(part), 0)])
        top = explainer.predict(filled)[: len(part)].argmax(1)
        right += sum(files[start + i].name.startswith(NAMES[c]) for i, c in enumerate(top))
    return right / len(files)


if __name__ == "__main__":
    assets = Path(os.environ["FGCAM_ASSETS"])
    pictures = sorted((assets / "images" / "cifar10").iterdir())
    for name, preset in MODELS.items():
        model = assets / "models" / name
        plain, worse = (accuracy(model, PRESETS[preset], pictures, how) for how in (lambda p: p, cropped))
        print(f"{name:40} {len(pictures)} pictures: {plain:.2f} as they are, {worse:.2f} enlarged and cropped")
