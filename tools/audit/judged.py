"""Audit damaged nets, which have to fail, and the same nets written otherwise, which have to pass.

    python tools/audit/judged.py ASSETS OUT [--what damaged|harmless] [--only "mcunet"] [--seeds 1]

ASSETS is laid out as for ``tools/coverage/real_models.py``. Nets are damaged in float, and quantized (QDQ, calibrated
on other photographs) and damaged then; the float net is the reference. Whether a damage matters is measured on
photographs that are not audited: by their labels (of those that one of both has right the candidate loses more than by
chance, sign test at 5 %), and by the map (its rank correlation or similarity is beyond the floor, 95 % interval).
Appends a line to OUT/damaged.csv or OUT/harmless.csv as each is done, and goes on from it; prints the table.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import functools
import pathlib
import re
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from candidates import CALIBRATION, Net, net_of
from damage import DAMAGES, PICTURES, UnfitError, damaged
from harmless import HARMLESS, changed
from real_models import Photo, specification
from scipy.stats import binomtest

import fgcam_onnx
from fgcam_onnx import load
from fgcam_onnx.auditing import Audit
from fgcam_onnx.auditing.verdicts import UNSURE
from fgcam_onnx.errors import FgcamError
from fgcam_onnx.imaging import preprocess_from

SMALL = ("resnet8", "resnet20", "mcunet", "mobilenet_v1")
FORMS = ("float", "int8")
KINDS = (*DAMAGES, "labels", *PICTURES)
MAPS = ("spearman", "ssim")
TRIES = 8
FIELDS = "net form kind seed layer outcome accuracy map matters seconds said".split()


@dataclass(frozen=True)
class Case:
    """A file to be judged."""

    net: str
    form: str
    kind: str
    seed: int

    @property
    def key(self) -> tuple[str, ...]:
        """What tells it from others."""
        return self.net, self.form, self.kind, str(self.seed)


def cases(what: str, only: str, seeds: int) -> Iterator[Case]:
    """Yield what is judged; damages change their form from net to net, what is done to pictures is done to float."""
    for seed in range(seeds):
        for n, kind in enumerate(KINDS if what == "damaged" else HARMLESS):
            for m, net in enumerate(SMALL):
                if not re.search(only, net):
                    continue
                quantizers = kind in ("saturated", "off_zero")
                drawn = "float" if kind in PICTURES else "int8" if quantizers else FORMS[(n + m + seed) % 2]
                yield from (Case(net, form, kind, seed) for form in ((drawn,) if what == "damaged" else FORMS))


def split(net: Net) -> tuple[list[Photo], list[Photo]]:
    """Return the photographs that are audited, and others; none of either calibrates."""
    every = [*net.photos(60), *net.photos(100, skip=60 + CALIBRATION)]
    return every[::3], every[1::3]


@functools.lru_cache(maxsize=8)
def floor(net: Net, form: str, photos: tuple[Photo, ...]) -> Audit:
    """Return the audit of a reference against itself."""
    file = net.path if form == "float" else net.quantized
    given = preprocess_from(specification(net.row))
    out = net.folder / f"floor.{net.name}.{form}.{len(photos)}"
    return audited(file, file, photos, preprocess=given, out=out, pictures=0)


def audited(reference: Any, candidate: Any, photos: Sequence[Photo], **options: Any) -> Audit:
    return fgcam_onnx.audit(reference, candidate, images=[p.path for p in photos], threads=1, batch=4, **options)


def compared(known: Audit, reference: Any, candidate: Any, photos: Sequence[Photo], **options: Any) -> Audit:
    """Return the audit of a candidate, whose floor is that of the reference's audit against itself."""
    found = audited(reference, candidate, photos, changes=(), **options)
    floors = {row["item"]: row["floor"] for row in known.known}
    rows = [row if "error" in row else {**row, "floor": floors[row["item"]]} for row in found.rows]
    return dataclasses.replace(found, rows=rows, changes=known.changes)


def part(found: Audit, photos: Sequence[Photo]) -> Audit:
    """Return the audit on some of the photographs."""
    names = {p.path.name for p in photos}
    return dataclasses.replace(found, rows=[r for r in found.rows if pathlib.Path(r["item"]).name in names])


def harm(found: Audit, photos: Sequence[Photo]) -> tuple[float, bool, float, bool]:
    """Return how much accuracy is lost and whether surely so, and how far the map is beyond the floor, and whether."""
    labels = {p.path.name: p.label for p in photos}
    tops = [
        (labels[pathlib.Path(r["item"]).name], r["reference"]["top"], r["candidate"]["top"])
        for r in found.known
        if "top" in r["candidate"]
    ]
    lost = sum(a == label != b for label, a, b in tops)
    won = sum(b == label != a for label, a, b in tops)
    sure = lost > won and bool(binomtest(lost, lost + won, alternative="greater").pvalue < 0.05)
    lines = [each.beyond for each in found.lines if each.measure.name in MAPS and each.beyond is not None]
    return (lost - won) / max(1, len(tops)), sure, max(b.mean for b in lines), any(b.low > 0 for b in lines)


def of_damage(net: Net, case: Case) -> dict[str, Any]:
    """Damage, audit, and say whether the damage matters."""
    own, others = split(net)
    spec = specification(net.row)
    options = {"preprocess": preprocess_from(spec)}
    if case.kind in PICTURES:
        changed_spec = PICTURES[case.kind](spec)
        if changed_spec == spec:
            raise UnfitError("nothing changes")
        model, layer = onnx.load(net.path), ""
        options["candidate_preprocess"] = preprocess_from(changed_spec)
    else:
        made, joint = _first(load(net.path if case.form == "float" else net.quantized), case)
        model, layer = made.standalone(), joint.end
    every = (*own, *others)
    found = compared(floor(net, "float", every), net.path, model, every, **options)
    audit, held = part(found, own), part(found, others)
    lost, sure, beyond, moved = harm(held, others)
    matters = " and ".join([*["accuracy"] * sure, *["map"] * moved])
    return {"layer": layer, "accuracy": f"{-lost:.3f}", "map": f"{beyond:.4f}", "matters": matters} | _told(audit)


def _first(model: Any, case: Case) -> tuple[Any, Any]:
    """Return the damage of the first layer drawn that can be damaged so."""
    for k in range(TRIES):
        try:
            return damaged(model, case.kind, seed=case.seed + 100 * k)
        except UnfitError:
            if k == TRIES - 1:
                raise
    raise AssertionError


def of_change(net: Net, case: Case) -> dict[str, Any]:
    """Write the net otherwise, and audit it."""
    own, _ = split(net)
    file = net.path if case.form == "float" else net.quantized
    model = changed(onnx.load(file), case.kind, seed=case.seed)
    found = compared(
        floor(net, case.form, tuple(own)), file, model, own, preprocess=preprocess_from(specification(net.row))
    )
    return _told(found)


def _told(found: Audit) -> dict[str, Any]:
    return {"outcome": found.outcome, "said": found.reason}


def table(what: str, rows: list[dict[str, str]]) -> str:
    """Return the table by net and by kind."""
    head = ("damages", "matter", "of these fail", "share", "pass, but not surely", "of the others fail")
    columns = head if what == "damaged" else ("files", "pass", "fail", "no verdict")
    lines = [f"| | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    names = list(dict.fromkeys(r["net"] for r in rows)), list(dict.fromkeys(r["kind"] for r in rows))
    groups: list[tuple[str, Callable[[dict[str, str]], bool]]] = [
        *((n, lambda r, n=n: r["net"] == n) for n in names[0]),
        *((f"`{k}`", lambda r, k=k: r["kind"] == k) for k in names[1]),
        ("all", lambda r: True),
    ]
    for name, inside in groups:
        own = [r for r in rows if inside(r)]
        outcomes = [r["outcome"] for r in own]
        if what == "damaged":
            bad = [r for r in own if r["matters"]]
            caught = sum(r["outcome"] == "fails" for r in bad)
            share = f"{caught / len(bad):.2f}" if bad else ""
            unsure = sum(r["outcome"] == "passes" and UNSURE in r["said"] for r in bad)
            cells = [len(own), len(bad), caught, share, unsure, outcomes.count("fails") - caught]
        else:
            passed, failed = outcomes.count("passes"), outcomes.count("fails")
            cells = [len(own), passed, failed, len(own) - passed - failed]
        lines.append(f"| {name} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is not done yet, and print the table."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("assets", type=pathlib.Path)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--what", choices=("damaged", "harmless"), default="damaged")
    p.add_argument("--only", default="", help="a pattern of nets' names")
    p.add_argument("--seeds", type=int, default=1)
    a = p.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    file = a.out / f"{a.what}.csv"
    if not file.exists():
        file.write_text(",".join(FIELDS) + "\n")
    known = {tuple(r[k] for k in FIELDS[:4]) for r in csv.DictReader(file.open())}
    for case in cases(a.what, a.only, a.seeds):
        if case.key in known:
            continue
        net, start = net_of(a.assets, case.net, a.out), time.perf_counter()
        try:
            row = (of_damage if a.what == "damaged" else of_change)(net, case)
        except UnfitError:
            continue
        except FgcamError as error:
            row = {"outcome": "refused", "said": str(error)}
        row |= {"seconds": f"{time.perf_counter() - start:.1f}", **dict(zip(FIELDS[:4], case.key, strict=True))}
        with file.open("a") as f:
            csv.DictWriter(f, FIELDS).writerow(row)
        print(*(row.get(k, "") for k in FIELDS), flush=True)
    print(table(a.what, list(csv.DictReader(file.open()))))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
