"""Write the page of the bundled nets and pictures: ``python tools/browser/prepare.py [FOLDER]``."""

from __future__ import annotations

import argparse
from pathlib import Path

from fgcam_onnx.imaging import find_images, find_sidecar, preprocess_from, read_labels, sidecar_labels
from fgcam_onnx.loading.loading import load
from fgcam_onnx.page import Shown, explained, write_page

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


def shown(folder: Path, title: str) -> Shown:
    """Export a bundled net."""
    net, method, layers = MODELS[title]
    model = load(BUNDLED / f"{net}.onnx")
    assert model.path is not None
    sidecar = find_sidecar(model.path)
    assert sidecar is not None, net
    labels, image = sidecar_labels(sidecar), model.inputs[0]
    preprocess = preprocess_from(sidecar).bound(image.shape, image.dtype)
    names = read_labels(labels) if labels else ()
    return explained(model, folder, method=method, preprocess=preprocess, title=title, labels=names, layers=layers)


def write(folder: Path, *, runtime: Path | None = None) -> None:
    """Write the page, with ONNX Runtime as installed here."""
    pictures = find_images([BUNDLED / "pictures"])
    write_page(folder, [shown(folder, title) for title in MODELS], pictures, runtime=runtime)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=HERE / "files")
    parser.add_argument("--runtime", type=Path, default=HERE / "node_modules" / "onnxruntime-web" / "dist")
    given = parser.parse_args()
    write(given.folder, runtime=given.runtime)
