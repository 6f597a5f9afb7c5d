"""Measure what an audit costs: processor time beside the plain forward passes of both models, and peak memory.

python tools/bench/bench_audit.py REFERENCE CANDIDATE PICTURES --preprocess imagenet --count 50
python tools/bench/bench_audit.py REFERENCE CANDIDATE PICTURES --preprocess imagenet --memory 25,200

Processor time, one thread: what else runs on the machine does not count. Every memory is of a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import FrameType
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
"""Functions whose time, with all that they call, is a part's, where no caller's is."""

WITHIN = ("auditing/comparing.py", "auditing/work.py", "auditing/culprits.py", "auditing/page.py", "auditing/sides.py",
          "auditing/sameness.py", "auditing/results.py", "loading/loading.py", "imaging/reading.py")  # fmt: skip
TICK = 0.002
"""Seconds of processor time between two looks at what is running: a profiler that follows every call would cost as
much again."""


class Looks:
    """Processor time by part: what passed since the last look is the part's that runs now."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self.last = time.process_time()
        self.parts = {name: part for part, names in PARTS.items() for name in names}

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Look."""
        part = "the rest"
        while frame is not None:
            code = frame.f_code
            if code.co_name in self.parts and code.co_filename.endswith(WITHIN):
                part = self.parts[code.co_name]
            frame = frame.f_back
        now = time.process_time()
        self.spent[part] += now - self.last
        self.last = now

    def __enter__(self) -> Looks:
        signal.signal(signal.SIGPROF, self)
        signal.setitimer(signal.ITIMER_PROF, TICK, TICK)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)


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
    with Looks() as looks:
        spent = audited(a, pictures, blame=True)
    print(f"{len(pictures)} pictures; forward {plain[0]:.1f} s and {plain[1]:.1f} s, audit {spent:.1f} s")
    print("| part | processor time, s | times both forward passes |\n|---|---:|---:|")
    rest = spent - sum(looks.spent[part] for part in PARTS)
    for part, own in [*((part, looks.spent[part]) for part in PARTS), ("the rest", rest), ("all", spent)]:
        print(f"| {part} | {own:.1f} | {own / sum(plain):.1f} |")


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
