"""Make the README's picture from bundled models: ``python tools/training/readme_picture.py docs/demo.png``."""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

import fgcam_onnx
from fgcam_onnx.imaging import contact_sheet, overlay, preprocess_from, read_image, read_labels

BUNDLED = Path(__file__).parents[2] / "exported_models"
LAYERS = ("features.10", "input")
ROWS = (("star", "star"), ("two", "star"), ("two", "ring"))


def tiles(name: str, label: str) -> list[tuple[str, Image.Image]]:
    """Return a picture, its Grad-CAM, and FG-CAM at ever finer layers."""
    model = fgcam_onnx.load(BUNDLED / "vgg_shapes.dynamo.onnx")
    spec = model.inputs[0]
    preprocess = preprocess_from(BUNDLED / "vgg_shapes.dynamo.json").bound(spec.shape, spec.dtype)
    target = read_labels(BUNDLED / "shapes.labels.txt").index(label)
    image = read_image(BUNDLED / "pictures" / f"{name}.png")
    x, view = preprocess(image), preprocess.view(image).resize((192, 192), Image.Resampling.LANCZOS)
    coarse = fgcam_onnx.explain(model, x, target=target, method="gradcam", layers="features.24")
    fine = fgcam_onnx.explain(model, x, target=target, layers=LAYERS)
    maps = [("Grad-CAM", coarse.map), *((f"FG-CAM at {n}", m) for n, m in fine.maps.items())]
    return [(f"what is {label}?", view), *((caption, overlay(view, m[0])) for caption, m in maps)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    file = parser.parse_args().file
    sheet = contact_sheet([t for name, label in ROWS for t in tiles(name, label)], columns=4, tile=192)
    sheet.save(file, optimize=True)


if __name__ == "__main__":
    main()
