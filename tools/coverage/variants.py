"""Show how close the maps of a net in another form are to those of its float32 form.

    python tools/coverage/variants.py ASSETS --half
    python tools/coverage/variants.py ASSETS --quantized

``--half``: exported files with ``--fp16`` beside those without, bundled and real nets, 4 pictures each: size (of the
method that shrinks least) and the least correlation of the maps. ``--quantized``: quantized files beside their float
twins, on photographs of which both predict the same class: correlation of the maps, 10 %, median and 90 %.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from real_models import photographs, specification

import fgcam_onnx
from fgcam_onnx.imaging import preprocess_from, read_image

BUNDLED = Path(__file__).parents[2] / "exported_models"
METHODS = ("gradcam", "relevancecam", "fgcam", "saliency")
REAL = {
    "MobileNetV2": "mobilenet_v2_fp32_dequant.onnx",
    "SqueezeNet 1.1": "squeezenet1.1_fp32_rebuilt.onnx",
    "ShuffleNet v2": "shufflenet_v2_fp32_dequant.onnx",
    "ViT-Tiny": "vit_tiny_patch16_224_opset17.onnx",
}
TWINS = {
    "MobileNetV2, dynamic int8": ("mobilenet_v2_fp32_dequant.onnx", "mobilenet_v2_dynint8_edge_bench.onnx"),
    "ShuffleNetV2, QOperator int8": ("shufflenet_v2_fp32_dequant.onnx", "shufflenet-v2-12-int8.onnx"),
    "MCUNet (PyTorch), QDQ int8 from TFLite": ("mcunet_in3_fp32_torch.onnx", "tflite_mcunet-320kb-1mb_imagenet.onnx"),
    "MobileNetV2 QOperator, the same as QDQ": ("mobilenetv2-12-int8.onnx", "mobilenetv2-12-qdq.onnx"),
}


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def inputs(assets: Path, file: str, count: int) -> list[np.ndarray]:
    """Return photographs as ``file`` takes them."""
    entry = next(e for e in json.loads((assets / "models" / "models.json").read_text()) if e["file"] == file)
    spec = fgcam_onnx.load(assets / "models" / file).inputs[0]
    preprocess = preprocess_from(specification(entry)).bound(spec.shape, spec.dtype)
    return [preprocess(read_image(photo.path)) for photo in photographs(assets, entry["task"], count)]


def bundled_inputs(name: str, count: int) -> list[np.ndarray]:
    """Return bundled pictures as a bundled net takes them."""
    preprocess = preprocess_from(BUNDLED / f"{name}.json").bound(("N", 3, 96, 96), np.dtype(np.float32))
    return [preprocess(read_image(path)) for path in sorted((BUNDLED / "pictures").glob("*.png"))[:count]]


def exported(model: Path, method: str, xs: list[np.ndarray], **options: Any) -> tuple[int, list[np.ndarray]]:
    """Return the size of the file that explains itself, and its maps."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "explained.onnx"
        fgcam_onnx.export(model, path, method=method, **options)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        maps = [session.run(["explanation"], {name: x})[0] for x in xs]
        return sum(p.stat().st_size for p in Path(folder).iterdir()), maps


def half(assets: Path, count: int) -> None:
    """Print the table of ``--fp16``."""
    nets = {
        n: (BUNDLED / f"{n}.dynamo.onnx", bundled_inputs(f"{n}.dynamo", count)) for n in ("vgg_shapes", "resnet_shapes")
    }
    nets |= {name: (assets / "models" / file, inputs(assets, file, count)) for name, file in REAL.items()}
    print(f"| | size | {' | '.join(METHODS)} |\n| --- |{' ---: |' * (len(METHODS) + 1)}")
    for name, (model, xs) in nets.items():
        size, cells = 0.0, []
        for method in METHODS:
            try:
                whole, wanted = exported(model, method, xs)
                small, found = exported(model, method, xs, fp16=True)
                size = max(size, small / whole)
                cells.append(f"{min(map(correlation, found, wanted)):.4f}")
            except fgcam_onnx.FgcamError:
                cells.append("refused")
        print(f"| {name} | {size:.2f} | {' | '.join(cells)} |", flush=True)


def quantized(assets: Path, count: int) -> None:
    """Print the table of quantized files beside their float twins."""
    print("| net | photographs | Grad-CAM: 10 %, median, 90 % | FG-CAM to the input |\n| --- | ---: | --- | --- |")
    for name, files in TWINS.items():
        maps: dict[str, list[float]] = {"gradcam": [], "fgcam": []}
        xs = [inputs(assets, file, count) for file in files]
        for method, found in maps.items():
            explainers = [fgcam_onnx.Explainer(assets / "models" / file, method=method) for file in files]
            for pair in zip(*xs, strict=True):
                one, other = (explainer(x) for explainer, x in zip(explainers, pair, strict=True))
                if one.target[0] == other.target[0]:
                    found.append(correlation(one.map, other.map))
        cells = [", ".join(f"{v:.3f}" for v in np.quantile(found, (0.1, 0.5, 0.9))) for found in maps.values()]
        print(f"| {name} | {len(maps['fgcam'])} of {count} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--half", action="store_true")
    which.add_argument("--quantized", action="store_true")
    parser.add_argument("--pictures", type=int, help="default: 4 in half precision, 20 of quantized files")
    asked = parser.parse_args()
    if asked.half:
        half(asked.assets, asked.pictures or 4)
    else:
        quantized(asked.assets, asked.pictures or 20)


if __name__ == "__main__":
    main()
