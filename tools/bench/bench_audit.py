"""Measure what an audit costs: processor time beside the plain forward passes of both models, and peak memory.

python tools/bench/bench_audit.py REFERENCE CANDIDATE PICTURES --preprocess imagenet --count 50
python tools/bench/bench_audit.py REFERENCE CANDIDATE PICTURES --preprocess imagenet --memory 25,200

Processor time, one thread: what else runs on the machine does not count. Every memory is of a process of its own.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import onnxruntime

from fgcam_onnx import audit, load
from fgcam_onnx.imaging import find_images, preprocess_from, read_image

PARTS = {
    "both models loaded and built": ("_side", "matched", "load"),
    "whether they are one net": ("compared",),
    "the reference explained": ("_of_reference",),
    "the candidate explained": ("_of_candidate",),
    "the floor": ("_changed",),
    "pictures read": ("read_image",),
    "measures": ("_compared",),
    "intervals": ("lines",),
    "blame": ("with_culprits",),
    "report and page": ("write_page", "save"),
}
"""Functions whose time, with all that they call, is a part's; what blame reads of pictures is counted twice."""

WITHIN = ("auditing/comparing.py", "auditing/work.py", "auditing/culprits.py", "auditing/page.py", "auditing/sides.py",
          "auditing/sameness.py", "auditing/results.py", "loading/loading.py", "imaging/reading.py")  # fmt: skip


def forward(path: Path, pictures: list[Path], spec: str) -> float:
    """Return the processor time of a model's plain passes over the pictures, prepared before."""
    model = load(path)
    prepare = preprocess_from(spec).bound(model.inputs[0].shape, model.inputs[0].dtype)
    feeds = [{model.inputs[0].name: prepare(read_image(p))} for p in pictures]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    session.run(None, feeds[0])
    start = time.process_time()
    for feed in feeds:
        session.run(None, feed)
    return time.process_time() - start


def audited(a: argparse.Namespace, pictures: list[Path], **options: Any) -> float:
    """Return the processor time of an audit."""
    spec = preprocess_from(a.preprocess)
    with tempfile.TemporaryDirectory() as out:
        start = time.process_time()
        audit(a.reference, a.candidate, images=pictures, preprocess=spec, threads=1, out=out, **options)
        return time.process_time() - start


def cost(a: argparse.Namespace, pictures: list[Path]) -> None:
    """Print the multiple, and where the time goes."""
    plain = [forward(path, pictures, a.preprocess) for path in (a.reference, a.candidate)]
    profiler = cProfile.Profile(time.process_time)
    profiler.enable()
    spent = audited(a, pictures, blame=True)
    profiler.disable()
    stats: dict[Any, Any] = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    print(f"{len(pictures)} pictures; forward {plain[0]:.1f} s and {plain[1]:.1f} s, audit {spent:.1f} s")
    print("| part | processor time, s | times both forward passes |\n|---|---:|---:|")
    left = spent
    for part, names in PARTS.items():
        own = sum(v[3] for (file, _, name), v in stats.items() if name in names and file.endswith(WITHIN))
        left -= own
        print(f"| {part} | {own:.1f} | {own / sum(plain):.1f} |")
    print(f"| the rest | {left:.1f} | {left / sum(plain):.1f} |")
    print(f"| all | {spent:.1f} | {spent / sum(plain):.1f} |")


def memory(a: argparse.Namespace, counts: list[int]) -> None:
    """Print the peak memory of audits of so many pictures."""
    given = [sys.executable, __file__, *map(str, (a.reference, a.candidate, a.pictures)), "--preprocess", a.preprocess]
    for count in counts:
        made = subprocess.run([*given, "--count", str(count), "--peak"], check=True, capture_output=True, text=True)
        print(f"{count} pictures: {made.stdout.strip()} MB", flush=True)


def main() -> None:
    """Measure."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("reference", type=Path)
    p.add_argument("candidate", type=Path)
    p.add_argument("pictures", type=Path)
    p.add_argument("--preprocess", default="imagenet", help="of both")
    p.add_argument("--count", type=int, default=50)
    p.add_argument("--memory", default="", help="numbers of pictures, such as 25,200")
    p.add_argument("--peak", action="store_true", help="only audit, and print the peak memory in MB")
    a = p.parse_args()
    if a.memory:
        memory(a, [int(n) for n in a.memory.split(",")])
        return
    pictures = find_images([a.pictures])[: a.count]
    if a.peak:
        audited(a, pictures, changes=("shift",))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    else:
        cost(a, pictures)


if __name__ == "__main__":
    main()
