"""Count what is explained, by producer and kind of output: ``python tools/coverage/producers.py ROWS FOLDER...``.

Every ``.onnx`` below the folders that ONNX Runtime loads is explained on one seeded picture by a class activation map
of gradients, FG-CAM to the input, and one without gradients. Asked is nothing, as a person would first; where the
answer is a question (which output, which class is no object, which element), it is answered by the first of what the
question offers. A row a file goes to ROWS (JSON lines), and files that stand there are not done again; printed are the
table of ``docs/coverage.md`` and the reasons of what is not explained.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from fgcam_onnx import Explainer, load
from fgcam_onnx.errors import FgcamError
from fgcam_onnx.graph.model import Model
from fgcam_onnx.heads import Stated
from fgcam_onnx.targets import Element

METHODS = {"gradient CAM": "gradcam", "FG-CAM": "fgcam", "without gradients": "reciprocam"}
SIDE = 160
"""Sides of pictures where the file leaves them free."""

MAKERS = {
    "pytorch": "PyTorch", "tf2onnx": "tf2onnx", "tflite": "tflite2onnx", "onnx.quantize": "ONNX Runtime's quantizer",
    "cntk": "CNTK", "winml": "WinML", "onnxmltools": "onnxmltools", "paddle": "paddle2onnx", "keras": "Keras",
    "jax": "jax2onnx", "caffe2": "Caffe2", "": "not said",
}  # fmt: skip


def producer_of(model: Model) -> str:
    """Return who wrote a file, without its version."""
    said = model.producer.casefold()
    return next((name for key, name in MAKERS.items() if key and key in said), model.producer.split(" ")[0])


def runs(path: Path) -> bool:
    """Tell whether ONNX Runtime loads a file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception:  # whatever the runtime raises, it does not load the file
        return False
    return True


def inputs_of(model: Model, image: str) -> dict[str, np.ndarray]:
    """Return one seeded picture, and ones or noise for what goes in beside it."""
    rng, found = np.random.default_rng(0), {}
    for spec in model.inputs:
        free = SIDE if spec.name == image else 8
        shape = [d if isinstance(d, int) else (1 if a == 0 else free) for a, d in enumerate(spec.shape)]
        if spec.name == image and len(shape) == 4 and not any(d in (1, 3) for d in (spec.shape[1], spec.shape[3])):
            shape[1] = 3
        if spec.dtype.kind == "f":
            found[spec.name] = rng.normal(size=shape).astype(spec.dtype)
        else:
            found[spec.name] = (rng.integers(0, 255, shape) if spec.name == image else np.ones(shape)).astype(
                spec.dtype
            )
    return found


def ways(model: Model) -> Iterator[dict[str, Any]]:
    """Yield what is said, the least first: nothing, which class is no object, an output, an element of one."""
    inputs = [None] if len(model.inputs) == 1 else [i.name for i in model.inputs if len(i.shape) > 2]
    outputs = [None, *(o.name for o in model.answers if o.dtype.kind == "f")]
    for name, output in itertools.product(inputs, outputs):
        for said in ({}, {"head": Stated(background="none")}, {"head": Stated("embedding"), "target": Element(0)}):
            yield {"input": name, "output": output, **said}


def explained(model: Model, method: str) -> dict[str, Any]:
    """Return what of the ways to ask gives a map of ``method``, and the first refusal."""
    first = ""
    for said in ways(model):
        target = said.pop("target", None)
        try:
            explainer = Explainer(model, method=method, threads=1, batch=8, **said)
            found = explainer(inputs_of(model, explainer.input), target=target)
        except FgcamError as error:
            first = first or f"{type(error).__name__}: {error}"
            continue
        finite = all(np.isfinite(m).all() for m in found.maps.values())
        return {
            "explained": bool(finite),
            "kind": explainer.head.kind if target is None else "not known",
            "asked": first,
        }
    return {"explained": False, "reason": first}


def row_of(path: Path) -> dict[str, Any]:
    """Return what became of one file."""
    row: dict[str, Any] = {"file": str(path), "runs": runs(path)}
    if not row["runs"]:
        return row
    try:
        model = load(path)
    except FgcamError as error:
        proto = onnx.load(path, load_external_data=False)
        return row | {"producer": proto.producer_name or "not said", "reason": f"{type(error).__name__}: {error}"}
    row["producer"] = producer_of(model)
    for method in METHODS.values():
        try:
            row[method] = explained(model, method)
        except Exception as error:  # a fault is a line of the table, and no end of it
            row[method] = {"explained": False, "reason": f"{type(error).__name__}: {error}"}
    return row


def kind_of(row: dict[str, Any]) -> str:
    """Return what the output of a file is, as the first method that explains it found."""
    return next((row[m]["kind"] for m in METHODS.values() if row.get(m, {}).get("kind")), "not explained")


def table(rows: list[dict[str, Any]]) -> str:
    """Return the table by producer and kind, and what is not explained with the reason."""
    loaded = [r for r in rows if r["runs"]]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in loaded:
        groups[row["producer"], kind_of(row)].append(row)
    lines = [f"| producer | output | files | {' | '.join(METHODS)} |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    ordered = [(*key, members) for key, members in sorted(groups.items())]
    for producer, kind, members in [*ordered, ("all", "", loaded)]:
        counts = Counter(m for r in members for m in METHODS.values() if r.get(m, {}).get("explained"))
        told = " | ".join(str(counts[m]) for m in METHODS.values())
        lines.append(f"| {producer} | {kind} | {len(members)} | {told} |")
    lines.append("")
    for row in loaded:
        for title, method in METHODS.items():
            found = row.get(method, row)
            if not found.get("explained"):
                reason = re.sub(r"\s+", " ", found.get("reason", "not finite"))
                lines.append(f"- {Path(row['file']).parent.name}/{Path(row['file']).name}, {title}: {reason[:300]}")
    return "\n".join(lines)


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("rows", type=Path)
    p.add_argument("folders", type=Path, nargs="*")
    a = p.parse_args()
    rows = [json.loads(line) for line in a.rows.read_text("utf-8").splitlines()] if a.rows.is_file() else []
    done = {r["file"] for r in rows}
    files = sorted({f for folder in a.folders for f in folder.rglob("*.onnx")}, key=lambda f: f.stat().st_size)
    with a.rows.open("a", encoding="utf-8") as sink:
        for path in files:
            if str(path) not in done:
                rows.append(row_of(path))
                sink.write(json.dumps(rows[-1]) + "\n")
                sink.flush()
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
