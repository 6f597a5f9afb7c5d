"""Say where each model of a folder is explained by default.

``python tools/coverage/token_layers.py FOLDER... -o table.md``.

One row a family (files ``NAME.EXPORTER.onnx``): the default base layer, the size of its map, the tokens left out, and
on how many of the map's positions the gradient of the top class is not 0 on a random image (``NAME.npz`` where there
is one). Rows of both exporters are one where they agree. ``--all`` lists networks without tokens, too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import fgcam_onnx
from fgcam_onnx.errors import FgcamError
from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.graph.score import find_score
from fgcam_onnx.layers.layers import candidate_layers, default_base
from fgcam_onnx.program import TARGET, append_gradients, append_target
from fgcam_onnx.runtime import Session


def row(path: Path) -> tuple[bool, list[str]]:
    """Return whether a model has tokens, and its row: layer, map, tokens left out, share of live positions."""
    model = fgcam_onnx.load(path)
    score = find_score(model)
    base = default_base(model, logits=score.logits)
    tokens = any(x.grid is not None for x in candidate_layers(model, logits=score.logits))
    emitter = Emitter(model)
    scored = append_target(emitter, score.logits)
    g = append_gradients(emitter, [base.name], output=score.logits, seed=scored.seed)[base.name]
    emitter.output("g", base.folded(g))
    spec = model.inputs[0]
    kept = path.parent / f"{path.name.rsplit('.', 2)[0]}.npz"
    shape = [d if isinstance(d, int) else 1 for d in spec.shape]
    x = np.load(kept)["input"] if kept.exists() else np.random.default_rng(0).standard_normal(shape)
    found = Session(emitter.build(), threads=1).run({spec.name: x.astype(np.float32), TARGET: np.full(len(x), -1)})["g"]
    live = (found != 0).any(axis=base.channel_axis).mean()
    kind = "tokens" if base.grid is not None else "picture" if base.channel_axis == 1 else "picture, channels last"
    extra = str(base.grid.extra) if base.grid is not None else ""
    layer = base.scope or base.name
    return tokens, [f"{layer} ({base.op})", kind, "x".join(map(str, base.spatial)), extra, f"{100 * live:.0f} %"]


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folders", type=Path, nargs="+")
    p.add_argument("-o", "--out", type=Path)
    p.add_argument("--only", default="")
    p.add_argument("--all", action="store_true")
    a = p.parse_args()
    lines = ["| model | default base layer | kind | map | extra tokens | positions with gradient |", "|" + " --- |" * 6]
    for path in sorted(f for folder in a.folders for f in folder.glob("*.onnx")):
        if a.only not in path.name:
            continue
        try:
            tokens, cells = row(path)
        except FgcamError as error:
            tokens, cells = True, [str(error), "", "", "", ""]
        if tokens or a.all:
            lines.append("| " + " | ".join([path.name.removesuffix(".onnx"), *cells]) + " |")
            print(lines[-1], flush=True)
    if a.out:
        a.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
