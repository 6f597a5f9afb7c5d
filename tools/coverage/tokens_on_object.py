"""Show how much of a vision transformer's map lies on the object, at each layer and by several methods.

    python tools/coverage/tokens_on_object.py ASSETS
    python tools/coverage/tokens_on_object.py ASSETS --refined

A trained ViT-Ti/16 on photographs with boxes: the mean share of the positive map inside the boxes, and in brackets of
those photographs whose boxes cover less than half. ``--refined``: FG-CAM to the input, with the sum that
arrives, of those photographs whose components do not cancel.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from real_models import Photo, inside, photographs
from variants import inputs

import fgcam_onnx

FILE = "vit_tiny_patch16_224_opset17.onnx"
SIZE = (224, 224)
METHODS = ("gradcam", "layercam", "hirescam", "gradcamelementwise")
LAYERS = ("blocks.11.norm1", "blocks.10", "blocks.9", "blocks.8", "blocks.6", "patch_embed.proj")
REFINED: tuple[dict[str, str], ...] = (
    *({"base": base, "residual": residual} for base in ("gradcam", "hirescam") for residual in ("positive", "ratio")),
    {"base": "hirescam", "residual": "ratio", "base_layer": "blocks.9"},
)


def mean(shares: list[float], areas: list[float]) -> str:
    """Return the mean, and in brackets that of photographs whose boxes cover less than half."""
    small = np.array(areas) < 0.5
    return f"{np.mean(shares):.2f} ({np.mean(np.array(shares)[small]):.2f})"


def shares(maps: list[np.ndarray], photos: list[Photo]) -> list[float]:
    return [inside(values, photo, SIZE)[0] for values, photo in zip(maps, photos, strict=True)]


def by_layer(model: Any, photos: list[Photo], xs: list[np.ndarray], areas: list[float]) -> None:
    print(f"| layer | {' | '.join(METHODS)} |\n| --- |{' --- |' * len(METHODS)}")
    found: dict[str, list[Any]] = {}
    for method in METHODS:
        explainer = fgcam_onnx.Explainer(model, method=method, layers=LAYERS)
        found[method] = [explainer(x) for x in xs]
    for i, layer in enumerate(LAYERS):
        maps = {method: [list(e.maps.values())[i][0] for e in of] for method, of in found.items()}
        print(f"| {layer} | {' | '.join(mean(shares(m, photos), areas) for m in maps.values())} |", flush=True)


def refined(model: Any, photos: list[Photo], xs: list[np.ndarray], areas: list[float]) -> None:
    print("| base | residual | on the object | conservation (10 %, median, 90 %) |\n| --- | --- | --- | --- |")
    for options in REFINED:
        explainer = fgcam_onnx.Explainer(model, method="fgcam", layers="input", **options)
        found = [explainer(x) for x in xs]
        sums = np.array([e.conservation["input"][0] for e in found])
        kept = np.quantile(sums[np.isfinite(sums)], (0.1, 0.5, 0.9))
        cancelled = f" of {np.isfinite(sums).sum()}" if not np.isfinite(sums).all() else ""
        named = options["base"] + (f" at {options['base_layer']}" if "base_layer" in options else "")
        on = mean(shares([e.map[0] for e in found], photos), areas)
        print(
            f"| {named} | {options['residual']} | {on} | {', '.join(f'{v:.2f}' for v in kept)}{cancelled} |", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--refined", action="store_true")
    parser.add_argument("--pictures", type=int, help="default: 80, refined 40")
    asked = parser.parse_args()
    count = asked.pictures or (40 if asked.refined else 80)
    photos = photographs(asked.assets, "ImageNet-1k", count)
    areas = [inside(np.ones(SIZE), photo, SIZE)[1] for photo in photos]
    print(f"{len(photos)} photographs, whose boxes cover {mean(areas, areas)}\n")
    model = fgcam_onnx.load(asked.assets / "models" / FILE)
    (refined if asked.refined else by_layer)(model, photos, inputs(asked.assets, FILE, count), areas)


if __name__ == "__main__":
    main()
