"""Explain every .onnx file in a folder, and say what works.

``python tools/coverage/coverage.py FOLDER -o docs/coverage``.

For each model: whether it loads, the gradient at the input and at the best base layer, FG-CAM to the input with
its conservation, times, and the error where one refuses. A ``NAME.npz`` beside ``NAME.EXPORTER.onnx`` (arrays
``input``, ``top64``, ``gradient32``, ``gradient64``) is compared with: correlation of our input gradient with
the float64 one, and torch float32's own, since gradients of deep nets jump at kinks. Writes OUT.json and OUT.md;
results are kept as they come, and models that OUT.json already has are not run again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import fgcam_onnx
from fgcam_onnx.errors import FgcamError
from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.graph.quantization import LAYOUTS
from fgcam_onnx.graph.score import find_score
from fgcam_onnx.layers.layers import default_base
from fgcam_onnx.lrp.composites import ACTIVATIONS, AVERAGES, MAXIMA, MOVEMENTS, SAME, SUMS
from fgcam_onnx.lrp.rules import CONTRACTIONS
from fgcam_onnx.program import TARGET, append_gradients, append_scores, append_target
from fgcam_onnx.runtime import Session
from fgcam_onnx.vjp import RULES

Row = dict[str, Any]

RELEVANT = {*ACTIVATIONS, *AVERAGES, *CONTRACTIONS, *MAXIMA, *MOVEMENTS, *SAME, *SUMS, "Div", "Mul"}
QUANTIZED = {"ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "QuantizeLinear"} | {
    name.rpartition(".")[2] for name in LAYOUTS
}


def example(model: Any, path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return an input for ``model``, and the reference arrays beside ``path`` where there are any."""
    reference = path.parent / f"{path.name.removesuffix('.onnx').rpartition('.')[0]}.npz"
    spec = model.inputs[0]
    if reference.exists():
        arrays = dict(np.load(reference))
        return arrays["input"].astype(spec.dtype), arrays
    shape = [d if isinstance(d, int) else 1 for d in spec.shape]
    rng = np.random.default_rng(0)
    if spec.dtype.kind == "f":
        return rng.standard_normal(shape).astype(spec.dtype), {}
    limits = np.iinfo(spec.dtype)
    return rng.integers(limits.min, limits.max, shape, dtype=spec.dtype), {}


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return the correlation of two arrays, 1 where they are equal."""
    a, b = (v.ravel().astype(np.float64) for v in (a, b))
    if np.array_equal(a, b):
        return 1.0
    spread = np.std(a) * np.std(b)
    return float(np.mean((a - a.mean()) * (b - b.mean())) / spread) if spread else 0.0


def gradient(model: Any, layer: str | None, x: np.ndarray, target: int) -> tuple[np.ndarray, float]:
    """Return the gradient of the target's logit at ``layer`` (None: the input), and its time over the forward's."""
    score = find_score(model)
    emitter = Emitter(model)
    scored = append_target(emitter, score.logits)
    name = layer or model.inputs[0].name
    emitter.output("g", append_gradients(emitter, [name], output=score.logits, seed=scored.seed)[name])
    backward = Session(emitter.build())
    emitter = Emitter(model)
    emitter.output("scores", append_scores(emitter, score.logits))
    forward = Session(emitter.build())
    feeds = {model.inputs[0].name: x}
    given = {**feeds, TARGET: np.full(len(x), target)}
    found = backward.run(given)["g"]
    forward.run(feeds)
    ratios = []
    for _ in range(3):
        start = time.perf_counter()
        forward.run(feeds)
        middle = time.perf_counter()
        backward.run(given)
        ratios.append((time.perf_counter() - middle) / (middle - start))
    return found, float(np.median(ratios))


def cover(path: Path) -> Row:
    """Return what works on one model."""
    row: Row = {"model": path.name, "operators": {}}
    start = time.perf_counter()
    try:
        model = fgcam_onnx.load(path)
        row["operators"] = dict(sorted(Counter(n.op_type for n in model.nodes).items()))
        row["load s"] = round(time.perf_counter() - start, 2)
        x, reference = example(model, path)
        target = int(reference["top64"]) if reference else 0
    except FgcamError as error:
        return row | {"error": f"load: {error}"}
    steps = {
        "input": lambda: _at_input(model, x, target, reference),
        "layer": lambda: _at_layer(model, x, target),
        "fgcam": lambda: _fgcam(model, x),
    }
    for step, run in steps.items():
        try:
            row |= run()
        except FgcamError as error:
            row[f"{step} error"] = str(error)
    return row


def _at_input(model: Any, x: np.ndarray, target: int, reference: dict[str, np.ndarray]) -> Row:
    g, ratio = gradient(model, None, x, target)
    row: Row = {"input gradient / forward": round(ratio, 2), "finite": bool(np.isfinite(g).all())}
    if reference:
        row["input correlation"] = round(correlation(g, reference["gradient64"]), 5)
        row["torch's own"] = round(correlation(reference["gradient32"], reference["gradient64"]), 5)
    return row


def _at_layer(model: Any, x: np.ndarray, target: int) -> Row:
    base = default_base(model, logits=find_score(model).logits)
    g, _ = gradient(model, base.name, x, target)
    return {
        "layer": f"{base.name} {base.channels}x{'x'.join(map(str, base.spatial))}",
        "layer gradient": float(np.abs(g).max()),
    }


def _fgcam(model: Any, x: np.ndarray) -> Row:
    e = fgcam_onnx.explain(model, x)
    return {"fgcam conservation": round(float(e.conservation["input"][0]), 4)}


HEADING = """# Coverage of the zoo

Exports with random weights; see [operators](operators.md).

Figures by `python tools/coverage/coverage.py ZOO -o OUT/coverage`; needs hours, zoo.
"""

COLUMNS = (
    "model", "load s", "input correlation", "torch's own", "input gradient / forward", "layer", "fgcam conservation",
)  # fmt: skip


def operator_table(rows: list[Row]) -> list[str]:
    """Return, for each operator, how many models use it, and whether gradient and relevance have a rule for it."""
    counts = Counter(op for r in rows for op in r["operators"])
    lines = ["| operator | models | gradient | FG-CAM |", "| --- | ---: | --- | --- |"]
    for name, count in sorted(counts.items()):
        row = RULES.get(name)
        differentiable = row is not None and (not isinstance(row, tuple) or any(row))
        gradient = "yes" if differentiable or name in QUANTIZED else "no derivative" if row is not None else "no rule"
        lines.append(f"| {name} | {count} | {gradient} | {'yes' if name in RELEVANT | QUANTIZED else 'refused'} |")
    return lines


def markdown(rows: list[Row]) -> str:
    """Return the table, a count of what works, and the refusals by name."""
    total = len(rows)
    counts = {s: sum("error" not in r and f"{s} error" not in r for r in rows) for s in ("input", "layer", "fgcam")}
    lines = [
        HEADING,
        f"{total} models: {sum('error' not in r for r in rows)} load; gradient at the input of {counts['input']}, "
        f"at the best layer of {counts['layer']}; FG-CAM to the input of {counts['fgcam']}.\n",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + " --- |" * len(COLUMNS),
    ]
    lines += ["| " + " | ".join(str(r.get(c, "")) for c in COLUMNS) + " |" for r in rows]
    lines += ["", *operator_table(rows)]
    refused = [(r["model"], k, v) for r in rows for k, v in r.items() if k.endswith("error")]
    if refused:
        lines += ["", "Refused:", ""] + [f"- {m}, {k}: {v}" for m, k, v in refused]
    return "\n".join(lines) + "\n"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("-o", "--out", type=Path, default=Path("coverage"))
    p.add_argument("--only", default="")
    a = p.parse_args()
    kept = a.out.with_suffix(".json")
    rows: list[Row] = json.loads(kept.read_text()) if kept.exists() else []
    done = {r["model"] for r in rows}
    for path in sorted(a.folder.glob("*.onnx")):
        if path.name in done or a.only not in path.name:
            continue
        rows.append(cover(path))
        print({k: v for k, v in rows[-1].items() if k != "operators"}, flush=True)
        rows.sort(key=lambda r: r["model"])
        kept.write_text(json.dumps(rows, indent=1))
        a.out.with_suffix(".md").write_text(markdown(rows))


if __name__ == "__main__":
    main()
