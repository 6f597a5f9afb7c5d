"""Time the input gradient beside the package onnx-ad, as multiples of the model's own forward pass.

The one-hot seed is the class 1. Forward pass, ours and, where it is installed, onnx-ad's ``reverse`` run in
turn in one process, as ``bench.py`` times. With ``--baseline`` programs saved before by ``--save`` run
too. ``--profile`` says which operators the time of our program goes to, of the appended part and of the
model's own; what converts between ONNX Runtime's layouts counts as the model's::

    python tools/bench/bench_peers.py model.onnx other.onnx --rounds 7 --threads 1 --profile
    python tools/bench/bench_peers.py model.onnx --save before/
    python tools/bench/bench_peers.py model.onnx --baseline before/
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import statistics
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from bench import REPEATS, feeds_of, input_gradient, timed, versions

from fgcam_onnx.loading.loading import load
from fgcam_onnx.program import TARGET

CLASS = 1


def session(proto: str | bytes, *, threads: int, profile: str = "") -> onnxruntime.InferenceSession:
    """Open a session; the number of onnx-ad's seeds is fixed to one."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_free_dimension_override_by_name("nadj", 1)
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, profile
    return onnxruntime.InferenceSession(proto, options, providers=["CPUExecutionProvider"])


def peer(path: Path) -> bytes | str:
    """Return onnx-ad's program of the gradient, or why there is none."""
    try:
        from onnx_ad import reverse
    except ImportError:
        return "not installed"
    try:
        made: bytes = reverse(onnx.load(path), layout="onnx").SerializeToString()
    except Exception as error:  # a peer may fail in any way
        return f"{type(error).__name__}: {error}"
    return made


def given(opened: onnxruntime.InferenceSession, images: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what a session reads: the images, our target, onnx-ad's one-hot seed."""
    feeds = {}
    for i in opened.get_inputs():
        if i.name == TARGET:
            feeds[i.name] = np.array([CLASS], np.int64)
        elif i.name not in images:
            seed = np.zeros([d if isinstance(d, int) else 1 for d in i.shape], np.float32)
            seed.reshape(-1)[CLASS] = 1
            feeds[i.name] = seed
    return feeds | {k: v for k, v in images.items() if k in {i.name for i in opened.get_inputs()}}


def ratios(runs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, tuple[float, float, float]]:
    """Return for each run the median ratio to the first, the ratio of the fastest, and its milliseconds."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, run in runs.items():
            seconds[name].append(min([timed(run)[0] for _ in range(1 + REPEATS)][1:]))
    base = seconds["forward"]
    return {
        name: (
            statistics.median(a / b for a, b in zip(took, base, strict=True)),
            min(took) / min(base),
            min(took) * 1e3,
        )
        for name, took in seconds.items()
    }


def shares(proto: bytes, images: dict[str, np.ndarray], *, threads: int) -> dict[str, Counter[str]]:
    """Return the milliseconds of every operator type, of the model's nodes and of the appended ones."""
    with tempfile.TemporaryDirectory() as folder:
        opened = session(proto, threads=threads, profile=f"{folder}/profile")
        for _ in range(2 + REPEATS):
            opened.run(None, given(opened, images))
        events = json.loads(Path(opened.end_profiling()).read_text())
    took: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            part = "appended" if "fgcam/" in event["name"] else "model"
            took[part, event["args"]["op_name"], event["name"]].append(event["dur"] / 1e3)
    parts: dict[str, Counter[str]] = {"model": Counter(), "appended": Counter()}
    for (part, op, _), each in took.items():
        parts[part][op] += statistics.median(each)  # type: ignore[assignment]
    return parts


def measure(path: Path, arguments: argparse.Namespace) -> list[str]:
    """Return the lines to print for one file."""
    model = load(path)
    program = input_gradient(model).standalone().SerializeToString()
    if arguments.save:
        arguments.save.mkdir(parents=True, exist_ok=True)
        (arguments.save / path.name).write_bytes(program)
        return [f"{path.stem}: saved"]
    sources: dict[str, Any] = {"forward": str(path), "ours": program, "onnx-ad": peer(path)}
    if arguments.baseline:
        sources["before"] = (arguments.baseline / path.name).read_bytes()
    images = feeds_of(model, 1)
    opened, lines = {}, []
    for name, source in sources.items():
        if name == "onnx-ad" and isinstance(source, str):
            lines.append(f"{path.stem}: onnx-ad: {source}")
        else:
            opened[name] = session(source, threads=arguments.threads)
    runs = {name: (lambda s=s: s.run(None, given(s, images))) for name, s in opened.items()}
    for name, (ratio, fastest, each) in ratios(runs, arguments.rounds).items():
        lines.append(f"{path.stem}: {name}: {ratio:.2f} (fastest {fastest:.2f}), {each:.1f} ms")
    if arguments.profile:
        for part, spent in shares(program, images, threads=arguments.threads).items():
            total = sum(spent.values())
            most = ", ".join(f"{op} {100 * t / total:.0f} %" for op, t in spent.most_common(8))
            lines.append(f"{path.stem}: {part} {total:.1f} ms: {most}")
    return lines


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description="time input gradients, beside onnx-ad")
    parser.add_argument("model", type=Path, nargs="+", help="model.onnx")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=0, help="inside an operator; 0: ONNX Runtime chooses")
    parser.add_argument("--profile", action="store_true", help="also where the time goes, by operator")
    parser.add_argument("--save", type=Path, help="only write our programs to this folder")
    parser.add_argument("--baseline", type=Path, help="a folder written by --save: timed too, as 'before'")
    arguments = parser.parse_args()
    onnxruntime.set_default_logger_severity(3)
    for path in arguments.model:
        print(*measure(path, arguments), sep="\n", flush=True)
    try:
        print(f"onnx-ad {importlib.metadata.version('onnx-ad')}; {versions()}")
    except importlib.metadata.PackageNotFoundError:
        print(versions())


if __name__ == "__main__":
    main()
