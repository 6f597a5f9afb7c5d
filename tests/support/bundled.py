"""The bundled models and pictures: their names, the pictures as a model takes them, the masks of the objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import fgcam_onnx
from fgcam_onnx.imaging import find_sidecar, preprocess_from, read_image, read_labels, sidecar_labels

NETS = ("vgg_shapes", "resnet_shapes")
EXPORTERS = ("dynamo", "torchscript")
MODELS = [f"{n}.{e}.onnx" for n in NETS for e in EXPORTERS]
NAMES = ("circle", "crescent", "cross", "heart", "ring", "square", "star", "triangle")


def prepared(bundled: Path, model: str) -> tuple[np.ndarray, list[int]]:
    """Return the bundled pictures as the model takes them, and their classes, by the sidecar."""
    sidecar = find_sidecar(bundled / model)
    assert sidecar is not None
    labels_file = sidecar_labels(sidecar)
    assert labels_file is not None
    labels = read_labels(labels_file)
    preprocess = preprocess_from(sidecar).bound(("N", 3, 96, 96), np.float32)
    x = np.concatenate([preprocess(read_image(bundled / "pictures" / f"{n}.png")) for n in NAMES])
    return x, [labels.index(n) for n in NAMES]


def mask(bundled: Path, name: str) -> np.ndarray:
    return np.asarray(Image.open(bundled / "pictures" / "masks" / f"{name}.png").convert("L")) > 127


def first_pictures(bundled: Path, net: str, count: int = 8) -> np.ndarray:
    """Return the first ``count`` pictures as ``net`` takes them."""
    model = bundled / f"{net}.onnx"
    preprocess = preprocess_from(find_sidecar(model)).bound(fgcam_onnx.load(model).inputs[0].shape, np.float32)
    files = sorted((bundled / "pictures").glob("*.png"))[:count]
    return np.concatenate([preprocess(read_image(f)) for f in files])
