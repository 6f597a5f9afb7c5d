"""Write what the page shows beside its own files: exported explanations, sample pictures, colours.

``python tools/browser/prepare.py [FOLDER]``; default ``tools/browser/files``.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

import fgcam_onnx
from fgcam_onnx.imaging import find_sidecar, preprocess_from, read_labels, sidecar_labels

HERE = Path(__file__).resolve().parent
BUNDLED = HERE.parents[1] / "exported_models"

VGG, RESNET = "vgg_shapes.dynamo", "resnet_shapes.torchscript"
MODELS: dict[str, tuple[str, str, list[str]]] = {
    "FG-CAM of a small VGG": (VGG, "fgcam", ["input", "features.3", "features.10", "features.17"]),
    "FG-CAM of a small ResNet": (RESNET, "fgcam", ["input", "layer1.relu_1", "layer2.1.relu_1"]),
    "Grad-CAM of a small VGG": (VGG, "gradcam", ["features.24", "features.17", "features.10"]),
    "Relevance-CAM of a small ResNet": (RESNET, "relevancecam", ["layer4.relu_1", "layer3.relu_1", "layer2.1.relu_1"]),
}
"""Title: net, method, layers. What is shown first comes first."""

ABOUT = "96 × 96 pictures of eight drawn shapes"
POSITIVE = {n: n for n in ("inferno", "turbo", "viridis", "cividis")}
SIGNED = {"blue to red": "RdBu_r", "purple to orange": "PuOr_r", "pale blue to red": "coolwarm"}


def palette(name: str) -> list[list[int]]:
    """Return the 256 colours of a matplotlib colour map, 0 to 255."""
    found: list[list[int]] = matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3].tolist()
    return found


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    models: list[dict[str, Any]] = []
    for title, (net, method, layers) in MODELS.items():
        path = BUNDLED / f"{net}.onnx"
        sidecar = find_sidecar(path)
        assert sidecar is not None, path
        labels = sidecar_labels(sidecar)
        file = f"{net}.{method}.onnx"
        fgcam_onnx.export(
            path, folder / file, method=method, layers=layers, target="input", preprocess=preprocess_from(sidecar)
        )
        names = list(read_labels(labels)) if labels else []
        models.append({"title": title, "file": file, "labels": names, "about": ABOUT})
    pictures = sorted((BUNDLED / "pictures").glob("*.png"))
    for picture in pictures:
        shutil.copyfile(picture, folder / picture.name)
    told = {
        "models": models,
        "pictures": [p.name for p in pictures],
        "palettes": {k: {n: palette(c) for n, c in v.items()} for k, v in (("positive", POSITIVE), ("signed", SIGNED))},
    }
    (folder / "index.json").write_text(json.dumps(told, separators=(",", ":")))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=HERE / "files")
    write(parser.parse_args().folder)
