"""The runtimes: how each is started on a folder of cases, and why one that is not here is not."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnxruntime
from cases import CASES, SMALL

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OPENVINO = Path(os.environ.get("RUNTIMES_VENV", ROOT / ".venv-runtimes")) / "bin" / "python"
TIMEOUT = 1800
LARGEST = 3 * 96 * 96
"""Elements of the largest input that the reference evaluator is given: a batch of 1, or of 8 tiny pictures."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class MissingError(Exception):
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
        Takes the folder of the cases and the folder for outputs; raises MissingError.
    bound : float
        Largest difference from the explainer's map, relative to its largest value.
    real : bool
        Whether it also runs the real models; the small nets otherwise.
    largest : int, optional
        Elements of the largest input that it is given.
    """

    name: str
    run: Callable[[Path, Path], Result]
    bound: float = 1e-3
    real: bool = True
    largest: int | None = None


def in_python(
    run: Callable[[Path, dict[str, Any]], Callable[[dict[str, Any]], list[np.ndarray]]],
    given: list[dict[str, Any]],
    folder: Path,
    out: Path,
) -> dict[str, str]:
    """Run the cases ``given`` in sessions that ``run`` makes, and return what failed."""
    failures = {}
    for case in given:
        try:
            session = run(folder / case["model"], case)
            for one in case["runs"]:
                feeds = {f["name"]: np.fromfile(folder / f["file"], f["type"]).reshape(f["dims"]) for f in one["feeds"]}
                for i, array in enumerate(session(feeds)):
                    np.asarray(array).tofile(out / f"{one['id']}.{i}.bin")
        except Exception as error:  # a runtime's refusal, whatever its class, is what is looked for
            failures[case["id"]] = str(error).strip()
    return failures


def told(folder: Path, *, real: bool = True, largest: int | None = None) -> list[dict[str, Any]]:
    """Return the cases as they were written, without inputs of more elements than ``largest``."""
    found = json.loads((folder / (CASES if real else SMALL)).read_text())
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

    return Result(onnxruntime.__version__, in_python(made, told(folder), folder, out))


def reference(folder: Path, out: Path) -> Result:
    """Run with ONNX's own reference evaluator, operator by operator in NumPy; it is slow.

    Its ConvTranspose raises where there are groups; the tests' takes its place.
    """
    from reference_ops import ConvTranspose

    def made(path: Path, case: dict[str, Any]) -> Callable[[dict[str, Any]], list[np.ndarray]]:
        session = onnx.reference.ReferenceEvaluator(str(path), new_ops=[ConvTranspose])
        return lambda feeds: session.run(case["outputs"], feeds)

    with np.errstate(all="ignore"):
        return Result(onnx.__version__, in_python(made, told(folder, real=False, largest=LARGEST), folder, out))


def openvino(folder: Path, out: Path) -> Result:
    """Run with OpenVINO, which has an environment of its own."""
    if not OPENVINO.is_file():
        raise MissingError("openvino is not installed (make runtimes does)")
    return started([str(OPENVINO), str(HERE / "openvino_engine.py")], folder, out)


def node(folder: Path, out: Path) -> Result:
    """Run with onnxruntime-node."""
    require(HERE / "node_modules" / "onnxruntime-node")
    return started([found("node"), str(HERE / "node.mjs"), SMALL], folder, out)


def browser(folder: Path, out: Path) -> Result:
    """Run with onnxruntime-web, WebAssembly, in a headless browser."""
    require(ROOT / "tools" / "browser" / "node_modules" / "onnxruntime-web", HERE / "node_modules" / "playwright-core")
    return started([found("node"), str(HERE / "browser.mjs"), found(*BROWSERS)], folder, out)


def native(folder: Path, out: Path) -> Result:
    """Run with ONNX Runtime's C API: a C program, compiled here, that loads the library of the wheel."""
    library = next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so*"), None)
    if library is None:
        raise MissingError("onnxruntime's wheel has no libonnxruntime.so here")
    lines = []
    for case in told(folder, real=False):
        lines += [f"model\t{case['id']}\t{case['model']}", *(f"output\t{name}" for name in case["outputs"])]
        for one in case["runs"]:
            lines.append(f"run\t{one['id']}")
            lines += ["\t".join(map(str, ("feed", f["name"], f["type"], f["file"], *f["dims"]))) for f in one["feeds"]]
            lines.append("go")
    (folder / "cases.txt").write_text("\n".join(lines) + "\n")
    program = out / "c_engine"
    build = [found("cc", "gcc", "clang"), "-O1", "-std=c11", "-Wall", "-Wextra", str(HERE / "c_engine.c")]
    subprocess.run([*build, "-o", str(program), "-ldl"], check=True, timeout=TIMEOUT)
    return started([str(program), str(library)], folder, out)


def found(*names: str) -> str:
    """Return the first program of ``names`` that is on the path."""
    path = next((p for n in names if (p := shutil.which(n))), None)
    if path is None:
        raise MissingError(f"{names[0]} is not installed")
    return path


def require(*packages: Path) -> None:
    """Refuse unless npm has installed ``packages``."""
    for package in packages:
        if not package.is_dir():
            raise MissingError(f"{package.name} is not installed (npm ci in {package.parents[1].relative_to(ROOT)})")


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
    Engine("ONNX Runtime, C", native, real=False),
    Engine("ONNX Runtime, Node", node, real=False),
    Engine("ONNX reference evaluator", reference, real=False, largest=LARGEST),
    Engine("OpenVINO, Python", openvino),
    Engine("ONNX Runtime Web, Chromium", browser),
)
