"""Time and memory of exported files that run copies, by how many elements a part of the copies may have.

    python tools/bench/bench_copies.py ASSETS

One image, one thread, each file in a process of its own: the least time of 5, and the growth of the process's largest
size while it runs.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BUNDLED = Path(__file__).parents[2] / "exported_models"
LIMITS = (22, 24, 27)
REPEAT = 5
CASES = (
    ("ViT-Tiny, reciprocam", "vit_tiny_patch16_224_opset17.onnx", "reciprocam"),
    ("SqueezeNet 1.1, reciprocam", "squeezenet1.1_fp32_rebuilt.onnx", "reciprocam"),
    ("vgg_shapes, scorecam", "vgg_shapes.dynamo.onnx", "scorecam"),
)


def write(model: Path, method: str, power: int, path: Path) -> None:
    """Export with another limit on the elements of a part."""
    import fgcam_onnx
    from fgcam_onnx.methods import unrolled

    unrolled.LIMIT = 2**power
    fgcam_onnx.export(model, path, method=method)


def measure(path: Path) -> str:
    """Return the least time and the growth of this process, which has run nothing before."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    shape = [d if isinstance(d, int) else 1 for d in session.get_inputs()[0].shape]
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    before, times = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    for _ in range(REPEAT):
        start = time.perf_counter()
        session.run(["explanation"], {session.get_inputs()[0].name: x})
        times.append(time.perf_counter() - start)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return f"{min(times) * 1000:.0f} ms, {grown / 1024:.0f} MiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(measure(asked.assets))
        return
    print(f"| | {' | '.join(f'2^{p}' for p in LIMITS)} |\n| --- |{' --- |' * len(LIMITS)}")
    with tempfile.TemporaryDirectory() as folder:
        for name, file, method in CASES:
            model = next(p for p in (BUNDLED / file, asked.assets / "models" / file) if p.is_file())
            cells = []
            for power in LIMITS:
                path = Path(folder) / f"{power}.onnx"
                write(model, method, power, path)
                again = [sys.executable, __file__, str(path), "--measure"]
                cells.append(subprocess.run(again, check=True, capture_output=True, text=True).stdout.strip())
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
