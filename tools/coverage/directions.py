"""Show how close the leading directions found by products and loops are to a singular value decomposition.

    python tools/coverage/directions.py ASSETS

Grad-CAM's components at the default layers of the bundled nets and of the real classifiers (and at the layer ranked
next), and matrices made up to be hard: the largest difference to NumPy's decomposition in float64, relative to the
largest component of the image, and the ratio of the last value kept to the first one dropped where it is closest to 1.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from real_models import CLASSIFIERS
from variants import BUNDLED, bundled_inputs, inputs

import fgcam_onnx
from fgcam_onnx.fgcam import DENOISE_SHARE
from fgcam_onnx.graph.score import find_score
from fgcam_onnx.layers.layers import ranked_layers
from fgcam_onnx.methods import BASES
from fgcam_onnx.methods.cams import find_components
from fgcam_onnx.program import TARGET
from fgcam_onnx.subspace import leading_part

PER_NET = 2
BUNDLED_PICTURES, PHOTOGRAPHS = 9, 20


def off(x: np.ndarray, rank: int) -> tuple[float, float]:
    """Return the largest difference of any image, and the ratio of the values at the cut, closest to 1."""
    u, s, v = np.linalg.svd(x.astype(np.float64), full_matrices=False)
    wanted = (u[..., :rank] * s[:, None, :rank]) @ v[:, :rank]
    live = np.abs(x).max((1, 2)) > 0
    scale = np.abs(wanted).max((1, 2))[live]
    apart = np.abs(leading_part(x, rank) - wanted).max((1, 2))[live] / scale
    ratio = s[live, rank] / s[live, rank - 1] if s.shape[1] > rank else np.zeros(1)
    return float(apart.max()), float(ratio.max())


def components(model: Path, xs: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Return Grad-CAM's components (N, C, positions), centred, of a model's first layers."""
    loaded = fgcam_onnx.load(model)
    for layer in ranked_layers(loaded, logits=find_score(loaded).logits)[:PER_NET]:
        explainer = fgcam_onnx.Explainer(loaded, method="gradcam", layers=[layer.name])
        options, _ = explainer.options()
        run = find_components(options, BASES["gradcam"], [options.base_layer])
        found = [run({explainer.input: x, TARGET: np.full(len(x), -1)})["fgcam/components/0"] for x in xs]
        moved = np.moveaxis(np.concatenate(found), options.base_layer.channel_axis, 1)
        flat = moved.reshape(*moved.shape[:2], -1)
        if min(flat.shape[1:]) > 1:
            yield flat - flat.mean(axis=2, keepdims=True)


def nets(assets: Path) -> Iterator[tuple[Path, list[np.ndarray]]]:
    """Return the nets and their pictures."""
    for name in ("vgg_shapes.dynamo", "resnet_shapes.dynamo"):
        yield BUNDLED / f"{name}.onnx", bundled_inputs(name, BUNDLED_PICTURES)
    for entry in json.loads((assets / "models" / "models.json").read_text()):
        if entry["task"] in CLASSIFIERS[:2] and entry["input"]["dtype"] == "FLOAT" and "int8" not in entry["file"]:
            yield assets / "models" / entry["file"], inputs(assets, entry["file"], PHOTOGRAPHS)


def with_values(values: np.ndarray, rows: int) -> np.ndarray:
    """Return a seeded matrix (1, rows, len(values)) of these singular values."""
    rng = np.random.default_rng(2)
    u, v = (np.linalg.qr(rng.standard_normal((n, len(values))))[0] for n in (rows, len(values)))
    return ((u * values) @ v.T).astype(np.float32)[None]


HARD = {
    "white noise, 512 x 49": (np.random.default_rng(0).standard_normal((1, 512, 49)).astype(np.float32), 4),
    "one direction 1000 times the others": (with_values(np.r_[1000, 0.98 ** np.arange(63)], 128), 6),
    "each direction 0.3 times the one before": (with_values(0.3 ** np.arange(64), 128), 6),
    "58 of 64 directions equal, 5 % below the sixth": (
        with_values(np.r_[np.linspace(1.1, 1.05, 6), np.ones(58)], 128),
        6,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    assets = parser.parse_args().assets
    parts: list[tuple[int, int, float, float]] = []
    firsts: list[float] = []
    count = 0
    for model, xs in nets(assets):
        try:
            found = list(components(model, xs))
        except fgcam_onnx.FgcamError as error:
            print(f"{model.name} left out: {error}")
            continue
        count += 1
        for x in found:
            size = min(x.shape[1:])
            rank = max(1, int(DENOISE_SHARE * size))
            parts.append((rank, size, *off(x, rank)))
            firsts.append(off(x, 1)[0])
    least, most = min(parts), max(parts)
    print("| components | r of | σ(r+1)/σ(r), closest | largest difference |\n| --- | --- | --- | --- |")
    print(
        f"| {len(parts)} layers of {count} real and bundled nets, {BUNDLED_PICTURES} or {PHOTOGRAPHS} pictures each | "
        f"{least[0]} of {least[1]} to {most[0]} of {most[1]} | {max(p[3] for p in parts):.3f} | "
        f"{max(p[2] for p in parts):.1e} |"
    )
    print(f"| the first principal component, same layers | 1 | | {max(firsts):.1e} |")
    for name, (x, rank) in HARD.items():
        apart, ratio = off(x, rank)
        print(f"| {name} | {rank} of {min(x.shape[1:])} | {ratio:.2f} | {apart:.0e} |")


if __name__ == "__main__":
    main()
