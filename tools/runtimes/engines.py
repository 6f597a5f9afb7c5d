"""The runtimes: how each is started on a folder of cases, and why one that is not here is not."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnxruntime

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OPENVINO = Path(os.environ.get("RUNTIMES_VENV", ROOT / ".venv-runtimes")) / "bin" / "python"
TIMEOUT = 420
LARGEST = 3 * 96 * 96
"""Elements of the largest input that the reference evaluator is given: a batch of 1, or of 8 where pictures are tiny."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class NotHere(Exception):
    """A runtime is not installed; says what is missing."""


@dataclass(frozen=True)
class Result:
    """What a runtime did: its version, and why each case that failed did; outputs lie in its folder."""

    version: str
    failures: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Engine:
    """A runtime.

    Attributes
    ----------
    name : str
    run : callable
        Takes the folder of the cases and the folder for outputs; raises NotHere.
    bound : float
        Largest difference from the explainer's map, relative to its largest value.
    small_only : bool
        Run on the small nets only, and on inputs of at most LARGEST elements.
    """

    name: str
    run: Callable[[Path, Path], Result]
    bound: float = 1e-3
    small_only: bool = False


def in_python(run: Callable[[Path, dict[str, Any]], list[np.ndarray]], folder: Path, out: Path, **only: Any) -> dict:
    """Run every case with ``run`` and return what failed."""
    failures = {}
    for case in told(folder, **only):
        try:
            session = run(folder / case["model"], case)
            for one in case["runs"]:
                feeds = {f["name"]: np.fromfile(folder / f["file"], f["type"]).reshape(f["dims"]) for f in one["feeds"]}
                for i, array in enumerate(session(feeds)):
                    np.asarray(array).tofile(out / f"{one['id']}.{i}.bin")
        except Exception as error:  # a runtime's refusal, whatever its class, is what is looked for
            failures[case["id"]] = str(error).strip()
    return failures


def told(folder: Path, *, names: Iterable[str] | None = None, largest: int | None = None) -> list[dict[str, Any]]:
    """Return the cases as ``cases.json`` has them: of ``names``, and with no input of more elements than ``largest``."""
    found = json.loads((folder / "cases.json").read_text())
    if names is not None:
        found = [c for c in found if c["id"] in set(names)]
    for case in found:
        case["runs"] = [r for r in case["runs"] if largest is None or math.prod(r["feeds"][0]["dims"]) <= largest]
    return found


def onnxruntime_python(folder: Path, out: Path) -> Result:
    """Run with the wheel that the package uses."""

    def made(path: Path, case: dict[str, Any]) -> Callable[[dict[str, Any]], list[np.ndarray]]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return lambda feeds: session.run(case["outputs"], feeds)

    return Result(onnxruntime.__version__, in_python(made, folder, out))


def reference(folder: Path, out: Path) -> Result:
    """Run with ONNX's own reference evaluator, operator by operator in NumPy; it is slow.

    Its ConvTranspose raises where there are groups; the tests' takes its place.
    """
    from reference_ops import ConvTranspose

    small = json.loads((folder / "small.json").read_text())

    def made(path: Path, case: dict[str, Any]) -> Callable[[dict[str, Any]], list[np.ndarray]]:
        session = onnx.reference.ReferenceEvaluator(str(path), new_ops=[ConvTranspose])
        return lambda feeds: session.run(case["outputs"], feeds)

    with np.errstate(all="ignore"):
        return Result(onnx.__version__, in_python(made, folder, out, names=small, largest=LARGEST))


def openvino(folder: Path, out: Path) -> Result:
    """Run with OpenVINO, which has an environment of its own."""
    if not OPENVINO.is_file():
        raise NotHere("openvino is not installed (make runtimes does)")
    return started([str(OPENVINO), str(HERE / "openvino_engine.py")], folder, out)


def node(folder: Path, out: Path) -> Result:
    """Run with onnxruntime-node."""
    require(HERE / "node_modules" / "onnxruntime-node")
    return started([found("node"), str(HERE / "node.mjs")], folder, out)


def browser(folder: Path, out: Path) -> Result:
    """Run with onnxruntime-web, WebAssembly, in a headless browser."""
    require(ROOT / "tools" / "browser" / "node_modules" / "onnxruntime-web", HERE / "node_modules" / "playwright-core")
    return started([found("node"), str(HERE / "browser.mjs"), found(*BROWSERS)], folder, out)


def native(folder: Path, out: Path) -> Result:
    """Run with ONNX Runtime's C API: a C program, compiled here against the wheel's library."""
    library = next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so*"), None)
    if library is None:
        raise NotHere("onnxruntime's wheel has no libonnxruntime.so here")
    program = out / "c_engine"
    build = [found("cc", "gcc", "clang"), "-O1", "-std=c11", "-Wall", "-Wextra", "-Werror", str(HERE / "c_engine.c")]
    subprocess.run([*build, "-o", str(program), "-ldl"], check=True, timeout=TIMEOUT)
    return started([str(program), str(library)], folder, out)


def found(*names: str) -> str:
    """Return the first program of ``names`` that is on the path."""
    path = next((p for n in names if (p := shutil.which(n))), None)
    if path is None:
        raise NotHere(f"{names[0]} is not installed")
    return path


def require(*packages: Path) -> None:
    """Refuse unless npm has installed ``packages``."""
    for package in packages:
        if not package.is_dir():
            raise NotHere(f"{package.name} is not installed (npm ci in {package.parents[1].relative_to(ROOT)})")


def started(command: list[str], folder: Path, out: Path) -> Result:
    """Run ``command`` on the two folders and read its ``result.json``."""
    done = subprocess.run(
        [*command, str(folder), str(out)], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    if done.returncode or not (out / "result.json").is_file():
        raise RuntimeError(f"{' '.join(command)} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    sys.stdout.write(done.stdout)
    return Result(**json.loads((out / "result.json").read_text()))


ENGINES = (
    Engine("ONNX Runtime, Python", onnxruntime_python, bound=1e-5),
    Engine("ONNX reference evaluator", reference, small_only=True),
    Engine("OpenVINO, Python", openvino),
    Engine("ONNX Runtime, Node", node),
    Engine("ONNX Runtime Web, Chromium", browser),
)
