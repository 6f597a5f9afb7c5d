"""Compare quantized classifiers with themselves under exact arithmetic, and their maps with a float model's.

    python tools/coverage/int8_arithmetic.py ASSETS [--pictures 100] [--maps 40] [--only shufflenet] [--processor NAME]

ASSETS is laid out as for ``tools/real_models.py``. Prints what the processor does to sums of integer products; then
a row per file: pictures whose top class differs between the arithmetics, and the accuracy under each; then a row per
float twin, method and arithmetic: the correlation of the two models' maps, of pictures on which both predict the same
class: how many of how many, median, 10 % and 90 %.
"""

from __future__ import annotations

import argparse
import functools
import json
import pathlib
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from real_models import Photo, photographs, specification

from fgcam_onnx import Explainer, Explanation, load
from fgcam_onnx.arithmetic import INT8, told
from fgcam_onnx.imaging import Preprocess, preprocess_from, read_image
from fgcam_onnx.runtime import saturates

FILES = (
    "shufflenet-v2-12-int8.onnx",
    "mobilenetv2-12-int8.onnx",
    "mobilenetv2-12-qdq.onnx",
    "tflite_mcunet-320kb-1mb_imagenet.onnx",
    "mobilenet_v2_dynint8_edge_bench.onnx",
    "tflite_mobilenet_v2_1.0_224_quant.onnx",
)
TWINS = {
    "shufflenet-v2-12-int8.onnx": "shufflenet_v2_fp32_dequant.onnx",
    "tflite_mcunet-320kb-1mb_imagenet.onnx": "mcunet_in3_fp32_torch.onnx",
    "mobilenet_v2_dynint8_edge_bench.onnx": "mobilenet_v2_fp32_dequant.onnx",
}
"""A float model with the weights that the quantized one was made from."""

METHODS = {"gradcam": None, "fgcam": "input"}


@dataclass(frozen=True)
class File:
    """A model of the collection, and its row of ``models.json``."""

    path: pathlib.Path
    row: dict[str, Any]

    @functools.cached_property
    def preprocess(self) -> Preprocess:
        """How this file takes pictures."""
        spec = load(self.path).inputs[0]
        return preprocess_from(specification(self.row)).bound(spec.shape, spec.dtype)

    def explainer(self, *, method: str, int8: str = "deployed") -> Explainer:
        """Return what explains this file by ``method`` at the layer of ``METHODS``."""
        return Explainer(self.path, method=method, layers=METHODS[method], int8=int8, threads=1)

    def prepared(self, photo: Photo) -> np.ndarray:
        """Return ``photo`` as this file takes it."""
        return self.preprocess(read_image(photo.path))

    def label(self, index: int) -> int:
        """Return the class that output ``index`` means."""
        return index - int(self.row["class_offset"])


def accuracy(file: File, photos: list[Photo]) -> str:
    """Return the row of ``file``: what differs between the arithmetics, and how often each is right."""
    explainers = [file.explainer(method="gradcam", int8=a) for a in INT8]
    top = np.array([[_top(e, file, p) for e in explainers] for p in photos])
    right = (top == np.array([p.label for p in photos])[:, None]).mean(0)
    differ = int((top[:, 0] != top[:, 1]).sum())
    return f"| {file.path.stem} | {len(photos)} | {differ} | {right[0]:.2f} | {right[1]:.2f} |"


def _top(explainer: Explainer, file: File, photo: Photo) -> int:
    return file.label(int(explainer.predict(file.prepared(photo)).reshape(-1).argmax()))


def correlations(plain: File, file: File, photos: list[Photo], method: str) -> Iterator[str]:
    """Yield a row for each arithmetic: how like the float model's maps the quantized one's are."""
    reference, others = plain.explainer(method=method), [file.explainer(method=method, int8=a) for a in INT8]
    found: dict[str, list[float]] = {a: [] for a in INT8}
    for photo in photos:
        e = reference(plain.prepared(photo))
        for arithmetic, explainer in zip(INT8, others, strict=True):
            q = explainer(file.prepared(photo))
            if _label(plain, e) == _label(file, q):
                found[arithmetic].append(float(np.corrcoef(e.map.ravel(), q.map.ravel())[0, 1]))
    for arithmetic, values in found.items():
        low, middle, high = np.percentile(values, [10, 50, 90])
        numbers = f"{len(values)} of {len(photos)} | {middle:.3f} | {low:.3f} | {high:.3f}"
        yield f"| {file.path.stem} | {method} | {arithmetic} | {numbers} |"


def _label(file: File, e: Explanation) -> int:
    return file.label(int(e.target[0]))


def processor() -> str:
    """Return the processor's name, where the system tells it."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    """Print both tables."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("assets", type=pathlib.Path)
    p.add_argument("--pictures", type=int, default=100, help="for the top class; 0 leaves that table out")
    p.add_argument("--maps", type=int, default=40, help="for the maps; 0 leaves that table out")
    p.add_argument("--only", default="", help="a part of the files' names")
    p.add_argument("--processor", default=processor(), help="its name, where it is emulated")
    a = p.parse_args()
    rows = {r["file"]: r for r in json.loads((a.assets / "models" / "models.json").read_text())}
    files = {n: File(a.assets / "models" / n, r) for n, r in rows.items()}
    chosen = [files[n] for n in FILES if a.only in n]
    word = "saturate" if saturates() else "are exact"
    print(f"{a.processor}: sums of uint8 times int8 {word}")
    versions = f"onnxruntime {onnxruntime.__version__}, onnx {onnx.__version__}, NumPy {np.__version__}"
    print(f"{versions}, Python {platform.python_version()}\n", flush=True)
    for file in chosen:
        print(f"{file.path.stem}: {told(load(file.path))}", flush=True)
    if a.pictures:
        print("\n| file | pictures | top class differs | accuracy, deployed | exact |\n|---|---:|---:|---:|---:|")
        for file in chosen:
            print(accuracy(file, photographs(a.assets, "ImageNet-1k", a.pictures)), flush=True)
    if a.maps:
        print("\n| file | method | int8 | same class | median | 10 % | 90 % |\n|---|---|---|---:|---:|---:|---:|")
        for file in chosen:
            if file.path.name in TWINS:
                for method in METHODS:
                    photos = photographs(a.assets, "ImageNet-1k", a.maps)
                    for line in correlations(files[TWINS[file.path.name]], file, photos, method):
                        print(line, flush=True)


if __name__ == "__main__":
    main()
