"""Time explanations as multiples of the model's own forward pass in ONNX Runtime.

The nets have the shape of VGG16 and ResNet50 and seeded random weights; any other model is named by path.
All programs of a net are timed in turn, round after round, and the median of the rounds' ratios is given,
so that other load on the machine touches all alike. The first run after another session's is not counted:
that session's threads still spin, and the caches are cold::

    python tools/bench/bench.py --rounds 9
    python tools/bench/bench.py --net resnet50 --batch 4 --threads 1 --json
    python tools/bench/bench.py --model model.onnx
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from nets import NETS

from fgcam_onnx.cam.gradient import grad_cam
from fgcam_onnx.errors import DeviceError
from fgcam_onnx.fgcam import Rules, append_refinement
from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.graph.model import Model
from fgcam_onnx.graph.score import find_score
from fgcam_onnx.layers.layers import INPUT, Layer, default_base, find_layer
from fgcam_onnx.loading.loading import load
from fgcam_onnx.lrp.composites import fg_cam
from fgcam_onnx.program import TARGET, append_gradients, append_map, append_target
from fgcam_onnx.runtime import DEVICES, Session, resolve_device

FLOOR = {"gradcam": 1, "input gradient": 2, "fgcam": 3}
"""Convolutions that a program cannot do without, for each convolution of the model."""


def gradcam(model: Model) -> Model:
    """Return the program of Grad-CAM's map at the deepest layer."""
    logits = find_score(model).logits
    base = default_base(model, logits=logits)
    emitter, components = with_components(model, logits, base)
    emitter.output("map", append_map(emitter, base, components))
    return emitter.build()


def input_gradient(model: Model) -> Model:
    """Return the program of the score's gradient at the graph input."""
    logits = find_score(model).logits
    emitter = Emitter(model)
    seed = append_target(emitter, logits).seed
    name = model.inputs[0].name
    emitter.output("gradient", append_gradients(emitter, [name], output=logits, seed=seed)[name])
    return emitter.build()


def fgcam(model: Model) -> Model:
    """Return the program of FG-CAM's map at the input, refined from Grad-CAM's components."""
    logits = find_score(model).logits
    base, layer = default_base(model, logits=logits), find_layer(model, INPUT, logits=logits)
    emitter, components = with_components(model, logits, base)
    refined = append_refinement(
        emitter, components, base=base, layers=(layer,), rules=Rules(fg_cam()), source=layer.name
    )
    for name, value in refined.items():
        emitter.output(name, value)
    return emitter.build()


def with_components(model: Model, logits: str, base: Layer) -> tuple[Emitter, Any]:
    """Return an emitter with Grad-CAM's components at ``base`` appended."""
    emitter = Emitter(model)
    seed = append_target(emitter, logits).seed
    gradient = append_gradients(emitter, [base.name], output=logits, seed=seed)[base.name]
    return emitter, grad_cam(emitter.value(base.name), gradient, base.spatial_axes)


REPEATS = 3
"""Runs of a program in a round, of which the fastest counts."""

PROGRAMS: dict[str, Callable[[Model], Model]] = {
    "gradcam": gradcam,
    "input gradient": input_gradient,
    "fgcam": fgcam,
}


@dataclass(frozen=True)
class Row:
    """What one program costs: times in seconds; ``ratio`` and ``fastest`` compare with the forward pass."""

    net: str
    program: str
    ratio: float
    fastest: float
    milliseconds: float
    nodes: int
    load: float
    build: float
    session: float


def measure(path: Path, *, net: str, batch: int, threads: int, device: str, rounds: int, only: list[str]) -> list[Row]:
    """Time the programs of the model at ``path``, each round running all of them once."""
    loaded, model = timed(lambda: load(path))
    opened, forward = timed(lambda: plain_session(path, threads, device))
    runs: dict[str, Callable[[], Any]] = {}
    facts: dict[str, tuple[int, float, float]] = {"forward": (len(model.nodes), 0.0, opened)}
    feeds = feeds_of(model, batch)
    runs["forward"] = lambda: forward.run(None, feeds)
    given = feeds | {TARGET: np.full(len(next(iter(feeds.values()))), 1, np.int64)}
    for name in only:
        build, program = timed(lambda name=name: PROGRAMS[name](model))
        start, session = timed(lambda program=program: Session(program, device=device, threads=threads))
        facts[name] = (len(program.nodes), build, start)
        runs[name] = lambda session=session: session.run(given)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            took = [timed(run)[0] for _ in range(1 + REPEATS)]
            seconds[name].append(min(took[1:]))
    rows = []
    for name, (nodes, build, start) in facts.items():
        ratios = [a / b for a, b in zip(seconds[name], seconds["forward"], strict=True)]
        fastest = min(seconds[name]) / min(seconds["forward"])
        each = statistics.median(seconds[name]) * 1e3
        rows.append(Row(net, name, statistics.median(ratios), fastest, each, nodes, loaded, build, start))
    return rows


def named(net: str, batch: int) -> str:
    """Return the name of a row's net, with the batch where it is not 1."""
    return net if batch == 1 else f"{net} x{batch}"


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Return how many seconds ``run`` takes, and its result."""
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def plain_session(path: Path, threads: int, device: str) -> onnxruntime.InferenceSession:
    """Return a session of the untouched file, with the settings that programs get."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    providers = ["CUDAExecutionProvider"] if resolve_device(device) == "cuda" else []
    return onnxruntime.InferenceSession(path, options, providers=[*providers, "CPUExecutionProvider"])


def feeds_of(model: Model, batch: int) -> dict[str, np.ndarray]:
    """Return seeded normal inputs; a free dimension becomes ``batch``."""
    rng = np.random.default_rng(1)
    sizes = {i.name: [d if isinstance(d, int) else batch for d in i.shape] for i in model.inputs}
    return {i.name: rng.standard_normal(sizes[i.name]).astype(i.dtype) for i in model.inputs}


def versions() -> str:
    """Return what the times depend on."""
    names = [line.split(": ")[1] for line in read("/proc/cpuinfo") if line.startswith("model name")]
    runtime = f"onnxruntime {onnxruntime.__version__}, onnx {onnx.__version__}"
    machine = f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"
    return f"{runtime}, Python {platform.python_version()}, {machine}"


def read(path: str) -> list[str]:
    """Return the lines of a file, none where it does not exist."""
    return Path(path).read_text().splitlines() if Path(path).is_file() else []


def table(rows: list[Row], settings: str) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| net | program | × forward | fastest | ms | floor | over it | nodes | load | build | session |",
        "| --- | --- " + "| ---: " * 9 + "|",
    ]
    for r in rows:
        floor = FLOOR.get(r.program, 1)
        cells = [
            *(r.net, r.program, f"{r.ratio:.2f}", f"{r.fastest:.2f}"),
            *(f"{r.milliseconds:.0f}", floor, f"{100 * (r.ratio / floor - 1):+.0f} %", r.nodes),
            *(f"{r.load:.2f}", f"{r.build:.2f}", f"{r.session:.2f}"),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    note = (
        "× forward: median of the rounds' ratios; fastest: ratio of the fastest runs. "
        "Floor: convolutions needed for each one of the model. Load, build and session in seconds."
    )
    return "\n".join([*lines, "", note, f"{settings}; {versions()}."])


def main(argv: list[str] | None = None) -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description="time explanations against the forward pass")
    parser.add_argument("--net", choices=sorted(NETS), action="append", help="a built-in net; default all")
    parser.add_argument("--model", type=Path, action="append", help="any model.onnx instead")
    parser.add_argument("--program", choices=PROGRAMS, action="append", help="default all")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, action="append", help="repeatable; default 1")
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="where programs and forward pass run")
    parser.add_argument("--threads", type=int, default=0, help="inside an operator; 0: ONNX Runtime chooses")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a Markdown table")
    arguments = parser.parse_args(argv)
    onnxruntime.set_default_logger_severity(3)
    options: Mapping[str, Any] = {
        "device": arguments.device,
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "only": arguments.program or list(PROGRAMS),
    }
    try:
        resolve_device(arguments.device)
    except DeviceError as error:
        print(f"not measured: {error}")
        return
    rows: list[Row] = []
    batches = arguments.batch or [1]
    for path in arguments.model or []:
        for batch in batches:
            rows += measure(path, net=named(path.stem, batch), batch=batch, **options)
    for net in arguments.net or ([] if arguments.model else sorted(NETS)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{net}.onnx"
            path.write_bytes(NETS[net]().SerializeToString())
            for batch in batches:
                rows += measure(path, net=named(net, batch), batch=batch, **options)
    if arguments.json:
        print(json.dumps({"versions": versions(), **options, "rows": [vars(r) for r in rows]}, indent=2))
    else:
        threads = arguments.threads or "default"
        settings = f"Device {arguments.device}, {arguments.rounds} rounds, threads {threads}"
        print(table(rows, settings))


if __name__ == "__main__":
    main()
