"""Compare our gradient at the last feature layer with torch's, on networks exported by a zoo script.

    python tools/coverage/zoo_layers.py ZOO_SCRIPT FOLDER -o zoo_layers.json

ZOO_SCRIPT offers ``build(name) -> (network, size)`` (seeded); FOLDER holds ``NAME.EXPORTER.onnx`` and
``NAME.npz`` with the ``input``. Needs torch and what the script needs (see its text), and this package. The layer is
our default base; its twin among torch's module outputs is found by its values. Reports max |difference| over
max |torch|.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

import fgcam_onnx
from fgcam_onnx.errors import FgcamError
from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.graph.score import find_score
from fgcam_onnx.layers.layers import ranked_layers
from fgcam_onnx.program import TARGET, append_gradients, append_target
from fgcam_onnx.runtime import Session

TRIED = 12
"""How many of the ranked layers are looked for among torch's tensors."""


def torch_side(net: Any, x: np.ndarray) -> tuple[int, list[tuple[np.ndarray, np.ndarray]]]:
    """Return the top class, and (activations, gradient of its logit) of every module's output.

    An output that a later operation overwrites in place is left out: its gradient is that of what it became.
    """
    kept: list[Any] = []

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.requires_grad:
            output.retain_grad()
            kept.append((output, output.detach().clone(), output._version))

    for module in net.modules():
        module.register_forward_hook(keep)
    scores = net(torch.tensor(x).requires_grad_(True))
    top = int(scores[0].argmax())
    scores[0, top].backward()
    return top, [(a.numpy(), t.grad.numpy()) for t, a, v in kept if t.grad is not None and t._version == v]


def our_side(path: Path, x: np.ndarray, top: int) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Return (layer, activations, gradient) of the best layers."""
    model = fgcam_onnx.load(path)
    score = find_score(model)
    layers = [y.name for y in ranked_layers(model, logits=score.logits)[:TRIED]]
    emitter = Emitter(model)
    scored = append_target(emitter, score.logits)
    gradients = append_gradients(emitter, layers, output=score.logits, seed=scored.seed)
    for i, name in enumerate(layers):
        emitter.output(f"a{i}", emitter.value(name))
        emitter.output(f"g{i}", gradients[name])
    found = Session(emitter.build()).run({model.inputs[0].name: x, TARGET: np.array([top])})
    return [(name, found[f"a{i}"], found[f"g{i}"]) for i, name in enumerate(layers)]


def compare(build: Any, path: Path, name: str) -> dict[str, Any]:
    """Return the deepest layer that both sides have, and how far the gradients are apart there.

    Both libraries have nets of some names: the one whose tensors are found again is the one exported.
    """
    x = np.load(path.parent / f"{name}.npz")["input"]
    for prefix in ("tv", "timm"):
        try:
            net, _ = build(f"{prefix}:{name}")
        except Exception:  # the other library has it
            continue
        top, theirs = torch_side(net, x)
        try:
            ours = our_side(path, x, top)
        except FgcamError as error:
            return {"model": path.name, "error": str(error)}
        for layer, a, g in ours:
            twins = [
                h
                for b, h in theirs
                if b.shape == a.shape and np.abs(a - b).max() <= 1e-4 * np.abs(b).max() and np.abs(h).max() > 0
            ]
            if twins:  # several where residual branches start at 0: they differ in gradient alone
                apart = min(float(np.abs(g - h).max() / np.abs(h).max()) for h in twins)
                return {"model": path.name, "layer": layer, "shape": list(a.shape), "apart": apart}
    return {"model": path.name, "error": "none of the best layers is a torch module's output"}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("script", type=Path)
    p.add_argument("folder", type=Path)
    p.add_argument("-o", "--out", type=Path, default=Path("zoo_layers.json"))
    a = p.parse_args()
    spec = importlib.util.spec_from_file_location("zoo", a.script)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{a.script} is not a script")
    zoo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(zoo)
    rows: list[dict[str, Any]] = json.loads(a.out.read_text()) if a.out.exists() else []
    done = {r["model"] for r in rows}
    for path in sorted(a.folder.glob("*.onnx")):
        if path.name not in done:
            rows.append(compare(zoo.build, path, path.name.rsplit(".", 2)[0]))
            print(rows[-1], flush=True)
            a.out.write_text(json.dumps(rows, indent=1))
    apart = [r["apart"] for r in rows if "apart" in r]
    within = sum(d <= 1e-4 for d in apart)
    print(f"{within} of {len(apart)} within 1e-4; worst {max(apart, default=0):.1e}", file=sys.stderr)


if __name__ == "__main__":
    main()
