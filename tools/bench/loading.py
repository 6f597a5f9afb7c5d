"""Measure what loading a file and building an explanation take: processor time, and the most memory.

    python tools/bench/loading.py FILES [--method fgcam] [--package FOLDER]

Each file in a process of its own, with one thread: seconds of the processor to load it and to build the explainer
(the session included), the most memory of the process (imports included) after both, and of one that only opens the
file in ONNX Runtime and runs it once. The slowest come first. ``--package`` measures another copy of this package.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]

EXPLAINED = """
import json, resource, sys, time
import onnxruntime, onnx_graphsurgeon
from fgcam_onnx import Explainer, load
start = time.process_time()
model = load(sys.argv[1])
loaded = time.process_time()
Explainer(model, method=sys.argv[2], threads=1)
built = time.process_time()
most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"load": loaded - start, "build": built - loaded, "peak": most}))
"""

PLAIN = """
import json, resource, sys
import numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options)
(taken,) = session.get_inputs()
session.run(None, {taken.name: np.zeros([d if isinstance(d, int) else 1 for d in taken.shape], np.float32)})
print(json.dumps({"plain": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def measured(program: str, *arguments: str, package: pathlib.Path) -> dict[str, Any]:
    """Run ``program`` in a process of its own and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run([sys.executable, "-c", program, *arguments], env=environment, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"{arguments[0]}: {ran.stderr.strip().splitlines()[-1]}")
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print the table."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("files", nargs="+", type=pathlib.Path)
    p.add_argument("--method", default="fgcam")
    p.add_argument("--package", type=pathlib.Path, default=ROOT, help="the folder that fgcam_onnx is in")
    a = p.parse_args()
    rows = []
    for path in a.files:
        found = measured(EXPLAINED, str(path), a.method, package=a.package)
        found |= measured(PLAIN, str(path), package=a.package)
        rows.append((found["load"] + found["build"], path, found))
    print("| file | MB | load s | build s | peak MB | in ONNX Runtime alone |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for _, path, found in sorted(rows, reverse=True, key=lambda row: row[0]):
        size = path.stat().st_size / 2**20
        times = f"{found['load']:.2f} | {found['build']:.2f}"
        print(f"| {path.stem} | {size:.0f} | {times} | {found['peak']:.0f} | {found['plain']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
