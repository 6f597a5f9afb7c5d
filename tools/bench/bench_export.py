"""Time of exported files beside the plain model, in the same session settings.

    python tools/bench/bench_export.py [MODEL ...] [--method gradcam] [--threads 1] [--repeat 10]

For each model and method: milliseconds of the plain model, ratio of the exported file to it, and how many bytes
the file is larger. A method's variants follow a colon: ``fgcam:denoise``. Model and file are run in turn, so that
both meet the same load; the least time counts.
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile
import time
from typing import Any

import numpy as np
import onnxruntime

import fgcam_onnx

ROOT = pathlib.Path(__file__).parents[2] / "exported_models"
MODELS = [str(ROOT / f"{n}.onnx") for n in ("vgg_shapes.dynamo", "resnet_shapes.dynamo")]
METHODS = ["gradcam", "relevancecam", "eigencam", "saliency", "fgcam", "fgcam:denoise"]


def session(path: pathlib.Path | str, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def least_times(sessions: list[onnxruntime.InferenceSession], feeds: dict[str, Any], repeat: int) -> list[float]:
    """Return the least seconds of each session, run in turn."""
    times = [[] for _ in sessions]
    for _ in range(repeat + 1):
        for taken, each in zip(times, sessions, strict=True):
            start = time.perf_counter()
            each.run(None, feeds)
            taken.append(time.perf_counter() - start)
    return [min(t[1:]) for t in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--method", action="append", dest="methods")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=10)
    given = parser.parse_args()
    methods = given.methods or METHODS
    print("| model | plain, ms |", " | ".join(methods), "|")
    print("| --- " * (len(methods) + 2) + "|")
    for path in given.models:
        model = fgcam_onnx.load(path)
        spec = model.inputs[0]
        shape = [d if isinstance(d, int) else 1 for d in spec.shape]
        x = np.random.default_rng(0).uniform(0, 1, shape).astype(spec.dtype)
        plain = session(path, given.threads)
        cells, plainly = [], float("inf")
        with tempfile.TemporaryDirectory() as folder:
            for method in methods:
                name, _, variant = method.partition(":")
                options = {variant: True} if variant else {}
                try:
                    made = fgcam_onnx.export(model, pathlib.Path(folder) / "e.onnx", method=name, **options)
                except fgcam_onnx.FgcamError as error:
                    cells.append(f"refused ({type(error).__name__})")
                    continue
                both = least_times([plain, session(made.path, given.threads)], {spec.name: x}, given.repeat)
                plainly = min(plainly, both[0])
                larger = (made.size - pathlib.Path(path).stat().st_size) / 1000
                cells.append(f"{both[1] / both[0]:.2f} ({larger:+.0f} kB)")
        print(f"| {pathlib.Path(path).stem} | {1000 * plainly:.1f} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
