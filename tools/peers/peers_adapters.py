"""Run Quantus and PAIR's saliency library on an exported model, and compare with the same sums by plain loops.

Needs fgcam_onnx' dependencies, quantus, torch and saliency in one environment of their own:

    python tools/peers/peers_adapters.py exported_models/resnet_shapes.dynamo.onnx exported_models/pictures/star.png
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision_cpu  # noqa: F401  before what imports torchvision
from saliency import core

import quantus  # isort: skip

sys.path.insert(0, str(Path(__file__).parents[2]))

from fgcam_onnx import Explainer
from fgcam_onnx.adapters import quantus_explain, quantus_model, saliency_call
from fgcam_onnx.imaging import read_image
from fgcam_onnx.preparing import prepare


def furthest(one: Any, other: Any) -> str:
    return f"{np.abs(one - other).max() / np.abs(other).max():.1e}"


def saliency_rows(explainer: Explainer, x: Any, target: int) -> None:
    """Print what each method of the library gives through the callable."""
    call = saliency_call(explainer, target=target)
    picture = np.moveaxis(x[0], 0, -1)
    total = np.zeros_like(picture)
    for alpha in np.linspace(0, 1, 25):
        total += call((alpha * picture)[None])["INPUT_OUTPUT_GRADIENTS"][0]
    raw = np.maximum(explainer(x, target=target).map[0], 0)
    wanted = {
        "GradientSaliency": call(picture[None])["INPUT_OUTPUT_GRADIENTS"][0],
        "IntegratedGradients": total * picture / 25,
        "GradCam": raw,
    }
    options: dict[str, dict[str, Any]] = {
        "GradCam": {"should_resize": False, "three_dims": False},
        "IntegratedGradients": {"batch_size": 8},
        "XRAI": {"batch_size": 8},
    }
    for name in ("GradientSaliency", "IntegratedGradients", "GradCam", "BlurIG", "XRAI", "GuidedIG"):
        begun = time.perf_counter()
        try:
            found = getattr(core, name)().GetMask(picture, call, **options.get(name, {}))
        except TypeError as error:
            print(f"saliency {name:20s} fails in the library: {error}")
            continue
        took = time.perf_counter() - begun
        beside = f"{furthest(found, wanted[name])} from the plain sum" if name in wanted else f"shape {found.shape}"
        print(f"saliency {name:20s} {beside}, {took:.2f} s")


def quantus_rows(path: Path, x: Any, target: int) -> None:
    """Print a few of Quantus' figures for two methods."""
    y = np.array([target])
    for method, options in (("gradcam", {}), ("fgcam", {"layers": "input"})):
        explainer = Explainer(path, method=method, **options)
        model, explain = quantus_model(explainer, torch.nn.Module), quantus_explain(explainer)
        measures = {
            "pixel flipping, 1st step": quantus.PixelFlipping(
                features_in_step=x[0, 0].size // 32,
                perturb_baseline="mean",
                disable_warnings=True,
            ),
            "sparseness": quantus.Sparseness(disable_warnings=True),
            "max sensitivity": quantus.MaxSensitivity(nr_samples=5, disable_warnings=True),
        }
        for name, measure in measures.items():
            found = measure(model=model, x_batch=x, y_batch=y, explain_func=explain, softmax=True, channel_first=True)
            print(f"quantus  {method:10s} {name:22s} {float(np.ravel(found)[0]):.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--preprocess")
    parser.add_argument("--layer", help="the convolution whose activations are given")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    print(", ".join(f"{name} {version(name)}" for name in ("saliency", "quantus", "torch", "numpy", "onnxruntime")))
    explainer = Explainer(given.model, method="gradcam", layers=given.layer)
    preprocess = prepare(explainer.model, given.preprocess, image=explainer.model.inputs[0]).preprocess
    x = preprocess(read_image(given.picture))
    target = int(explainer(x).target[0])
    saliency_rows(explainer, x, target)
    quantus_rows(given.model, x, target)


if __name__ == "__main__":
    main()
