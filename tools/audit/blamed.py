"""Damage layers of real nets, and see whether blame finds them.

    python tools/audit/blamed.py ASSETS OUT [--only "mcunet|resnet"] [--seeds 2] [--pictures 4]

ASSETS is laid out as for ``tools/coverage/real_models.py``. Every net is damaged in float, and quantized (QDQ, by
onnxruntime, calibrated on other photographs) and damaged then. A damage counts where it drifts twice as far from the
float net as the undamaged candidate does, in prediction or map, and by a hundredth at least. Blame is right where the
layer that it ranks first is the damaged one or reads it or is read by it. Writes OUT/blamed.csv, a line as each is
done, and goes on from it; prints the table.
"""

from __future__ import annotations

import csv
import itertools
import re
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from arguments import of_measurement
from candidates import NETS, Net, net_of
from damage import DAMAGES, UnfitError, damaged

from fgcam_onnx import load
from fgcam_onnx.blame import blame
from fgcam_onnx.blame.skeleton import Joint, by_name, skeleton_of
from fgcam_onnx.graph.model import Model
from fgcam_onnx.graph.score import find_score

FORMS = ("float", "int8")
LEAST = 0.01
FIELDS = (
    "net form damage seed layer drift_prediction drift_map healthy_prediction healthy_map "
    "blamed where share seconds said"
).split()


@dataclass(frozen=True)
class Case:
    """A damage to be found."""

    net: str
    form: str
    damage: str
    seed: int

    @property
    def key(self) -> tuple[str, ...]:
        """What tells it from others."""
        return self.net, self.form, self.damage, str(self.seed)


def cases(only: str, seeds: int) -> Iterator[Case]:
    for seed, damage, form in itertools.product(range(seeds), DAMAGES, FORMS):
        for net in NETS:
            if re.search(only, net):
                yield Case(net, form, damage, seed)


def neighbours(model: Model, name: str) -> set[str]:
    """Return the ends of the layer that makes ``name``, of those it reads and of those that read it."""
    joints = skeleton_of(model, source=model.inputs[0].name, logits=find_score(model).logits)
    own = next(j for j in joints if name in (*j.chain, *j.copies))
    names = by_name(joints)
    near: list[Joint] = [own, *(names[i] for i in own.inputs), *(j for j in joints if own.name in j.inputs)]
    return {t for j in near for t in (*j.chain, *j.copies)}


def judged(net: Net, case: Case, healthy: tuple[float, float], pictures: list[np.ndarray]) -> dict[str, object]:
    """Damage, blame, and say whether it is right."""
    reference = net.explainer(net.path)
    source = load(net.path if case.form == "float" else net.quantized)
    model, layer = damaged(source, case.damage, seed=case.seed)
    start = time.perf_counter()
    profile = blame(reference, net.explainer(model.standalone()), pictures=pictures)
    spent = time.perf_counter() - start
    first = profile.layers[0]
    there = first.candidate in (*layer.chain, *layer.copies)
    near = first.candidate in neighbours(model, layer.end)
    drift = profile.drift
    beyond = any(d > max(2 * h, LEAST) for d, h in zip((drift.prediction, drift.map), healthy, strict=True))
    return {
        "layer": layer.end,
        "drift_prediction": f"{drift.prediction:.4f}",
        "drift_map": f"{drift.map:.4f}",
        "healthy_prediction": f"{healthy[0]:.4f}",
        "healthy_map": f"{healthy[1]:.4f}",
        "blamed": first.candidate,
        "where": ("" if beyond else "within ") + ("layer" if there else "neighbour" if near else "elsewhere"),
        "share": f"{first.share:.3f}",
        "seconds": f"{spent:.1f}",
        "said": "; ".join(first.oddities),
    }


def healthy_drift(net: Net, form: str, pictures: list[np.ndarray]) -> tuple[float, float]:
    if form == "float":
        return 0.0, 0.0
    found = blame(net.explainer(net.path), net.explainer(net.quantized), pictures=pictures, cuts=0, singles=0)
    return found.drift.prediction, found.drift.map


def table(rows: list[dict[str, str]]) -> str:
    """Return the table of what was found, by net and form."""
    lines = [
        "| net | candidate | damages | beyond the floor | the layer itself | or a neighbour | share found |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    groups = [(n, f) for n in NETS for f in FORMS] + [("all", "")]
    for net, form in groups:
        own = [r for r in rows if net == "all" or (r["net"], r["form"]) == (net, form)]
        if not own:
            continue
        beyond = [r for r in own if not r["where"].startswith("within")]
        there, near = (sum(r["where"] == w for r in beyond) for w in ("layer", "neighbour"))
        share = f"{(there + near) / len(beyond):.2f}" if beyond else ""
        lines.append(f"| {net} | {form} | {len(own)} | {len(beyond)} | {there} | {near} | {share} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is not done yet, and print the table."""
    p = of_measurement(__doc__)
    p.add_argument("--seeds", type=int, default=1)
    p.add_argument("--pictures", type=int, default=4)
    a = p.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    file = a.out / "blamed.csv"
    done = list(csv.DictReader(file.open())) if file.exists() else []
    known = {tuple(r[k] for k in ("net", "form", "damage", "seed")) for r in done}
    if not file.exists():
        file.write_text(",".join(FIELDS) + "\n")
    healthy: dict[tuple[str, str], tuple[float, float]] = {}
    for case in cases(a.only, a.seeds):
        if case.key in known:
            continue
        net = net_of(a.assets, case.net, a.out)
        pictures = net.pictures(a.pictures)
        try:
            if (case.net, case.form) not in healthy:
                healthy[case.net, case.form] = healthy_drift(net, case.form, pictures)
            row = judged(net, case, healthy[case.net, case.form], pictures)
        except UnfitError:
            continue
        with file.open("a") as f:
            csv.DictWriter(f, FIELDS).writerow(
                row | dict(zip(("net", "form", "damage", "seed"), case.key, strict=True))
            )
        print(
            *case.key, row["layer"], row["blamed"], row["where"], row["share"], row["seconds"], row["said"], flush=True
        )
    print(table(list(csv.DictReader(file.open()))))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
