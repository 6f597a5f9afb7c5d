"""Audit damaged nets, which have to fail, and the same nets written otherwise, which have to pass.

    python tools/audit/judged.py ASSETS OUT [--what damaged|harmless] [--only "mcunet"] [--seeds 1] [--pictures 100]

Nets are damaged in float, and quantized (QDQ, calibrated on other photographs) and damaged then; the float net is the
reference. Whether a damage matters is measured on photographs that are not audited: by their labels (of those that one
of both has right the candidate loses more than by chance, sign test at 5 %), and by the map (the whole 95 % interval of
its rank correlation or similarity lies beyond the floor and what is allowed). Keeps what was compared, a file for each
candidate, and goes on from it; prints the table, and writes it picture by picture as OUT/damaged.csv or
OUT/harmless.csv.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import json
import pathlib
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from arguments import of_measurement
from candidates import Net, net_of
from damage import DAMAGES, LABELS, PICTURES, UnfitError, damaged
from harmless import HARMLESS, changed
from real_models import Photo, specification
from scipy.stats import binomtest

import fgcam_onnx
from fgcam_onnx import load
from fgcam_onnx.auditing import Audit
from fgcam_onnx.errors import FgcamError
from fgcam_onnx.imaging import preprocess_from

SMALL = ("resnet8", "resnet20", "mcunet", "mobilenet_v1", "squeezenet")
FORMS = ("float", "int8")
KINDS = (*DAMAGES, LABELS, *PICTURES)
MAPS = ("spearman", "ssim")
TRIES = 8
FIELDS = "net form kind seed layer outcome accuracy map matters slight said".split()


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


@dataclass(frozen=True)
class Judge:
    """A net, and its photographs: those that are audited, and others by which is told whether a damage matters."""

    net: Net
    own: tuple[Photo, ...]
    others: tuple[Photo, ...]

    @classmethod
    @functools.lru_cache(maxsize=8)
    def of(cls, net: Net, pictures: int) -> Judge:
        """Split the photographs; none calibrates."""
        every = net.others(2 * pictures)
        return cls(net, tuple(every[::2]), tuple(every[1::2]))

    @property
    def photos(self) -> tuple[Photo, ...]:
        """All of them."""
        return *self.own, *self.others


@functools.lru_cache(maxsize=16)
def floor(net: Net, form: str, photos: tuple[Photo, ...]) -> Audit:
    """Return the audit of a reference against itself."""
    file = net.path if form == "float" else net.quantized
    given = preprocess_from(specification(net.row))
    out = net.folder / f"floor.{net.name}.{form}.{len(photos)}"
    return audited(file, file, photos, preprocess=given, out=out, pictures=0)


def audited(reference: Any, candidate: Any, photos: Sequence[Photo], **options: Any) -> Audit:
    return fgcam_onnx.audit(reference, candidate, images=[p.path for p in photos], threads=1, batch=4, **options)


def rows_of(known: Audit, reference: Any, candidate: Any, photos: Sequence[Photo], **options: Any) -> list[Any]:
    """Return the rows of a candidate, whose floor is that of the reference's audit against itself."""
    found = audited(reference, candidate, photos, changes=(), **options)
    floors = {row["item"]: row["floor"] for row in known.known}
    return [row if "error" in row else {**row, "floor": floors[row["item"]]} for row in found.rows]


def part(found: Audit, photos: Sequence[Photo]) -> Audit:
    """Return the audit on some of the photographs."""
    names = {p.path.name for p in photos}
    return dataclasses.replace(found, rows=[r for r in found.rows if pathlib.Path(r["item"]).name in names])


def harm(found: Audit, photos: Sequence[Photo]) -> dict[str, str]:
    """Return how accuracy changes, how far the map is beyond the floor, and what of both matters, or is slight."""
    labels = {p.path.name: p.label for p in photos}
    tops = [
        (labels[pathlib.Path(r["item"]).name], r["reference"]["top"], r["candidate"]["top"])
        for r in found.known
        if "top" in r["candidate"]
    ]
    lost = sum(a == label != b for label, a, b in tops)
    won = sum(b == label != a for label, a, b in tops)
    sure = lost > won and bool(binomtest(lost, lost + won, alternative="greater").pvalue < 0.05)
    lines = {each.measure.name: each for each in found.lines}
    beyond = [(b, lines[m].limit or 0.0) for m in MAPS if (b := lines[m].beyond) is not None]
    moved = any(b.low > limit for b, limit in beyond)
    slight = not moved and any(b.low > 0 for b, _ in beyond)
    matters = " and ".join([*["accuracy"] * sure, *["map"] * moved])
    return {
        "accuracy": f"{(won - lost) / max(1, len(tops)):.3f}",
        "map": f"{max(b.mean for b, _ in beyond):.4f}",
        "matters": matters,
        "slight": "map" if slight and not matters else "",
    }


def of_damage(judge: Judge, case: Case) -> tuple[str, list[Any]]:
    """Damage and compare; return the layer, and the rows."""
    net, spec = judge.net, specification(judge.net.row)
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
    return layer, rows_of(floor(net, "float", judge.photos), net.path, model, judge.photos, **options)


def _first(model: Any, case: Case) -> tuple[Any, Any]:
    """Return the damage of the first layer drawn that can be damaged so."""
    for k in range(TRIES):
        try:
            return damaged(model, case.kind, seed=case.seed + 100 * k)
        except UnfitError:
            if k == TRIES - 1:
                raise
    raise AssertionError


def of_change(judge: Judge, case: Case) -> tuple[str, list[Any]]:
    """Write the net otherwise and compare; return nothing, and the rows."""
    net = judge.net
    file = net.path if case.form == "float" else net.quantized
    model = changed(onnx.load(file), case.kind, seed=case.seed)
    options = {"preprocess": preprocess_from(specification(net.row))}
    return "", rows_of(floor(net, case.form, judge.own), file, model, judge.own, **options)


def judged(judge: Judge, case: Case, kept: dict[str, Any], what: str) -> dict[str, Any]:
    """Return what the audit says, and of a damage whether it matters."""
    told = {**dict(zip(FIELDS[:4], case.key, strict=True)), "layer": kept.get("layer", "")}
    if "refused" in kept:
        return {**told, "outcome": "refused", "said": kept["refused"]}
    harmless = what == "harmless"
    known = floor(judge.net, case.form if harmless else "float", judge.own if harmless else judge.photos)
    found = dataclasses.replace(known, rows=kept["rows"])
    audit = part(found, judge.own)
    matters = {} if harmless else harm(part(found, judge.others), judge.others)
    return {**told, "outcome": audit.outcome, "said": audit.reason, **matters}


def table(what: str, rows: list[dict[str, Any]]) -> str:
    """Return the table by net and by kind."""
    head = ("damages", "matter", "of these fail", "share", "undecided", "pass", "others", "of these fail", "undecided")
    columns = head if what == "damaged" else ("files", "pass", "fail", "undecided", "refused")
    lines = [f"| | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    names = list(dict.fromkeys(r["net"] for r in rows)), list(dict.fromkeys(r["kind"] for r in rows))
    groups: list[tuple[str, Callable[[dict[str, Any]], bool]]] = [
        *((n, lambda r, n=n: r["net"] == n) for n in names[0]),
        *((f"`{k}`", lambda r, k=k: r["kind"] == k) for k in names[1]),
        ("all", lambda r: True),
    ]
    for name, inside in groups:
        own = [r for r in rows if inside(r)]
        outcomes = Counter(r["outcome"] for r in own)
        if what == "damaged":
            bad = Counter(r["outcome"] for r in own if r["matters"])
            share = f"{bad['fails'] / bad.total():.2f}" if bad else ""
            rest = outcomes - bad
            told = [bad.total(), bad["fails"], share, bad["undecided"], bad["passes"]]
            cells = [len(own), *told, rest.total(), rest["fails"], rest["undecided"]]
        else:
            cells = [len(own), *(outcomes[o] for o in ("passes", "fails", "undecided", "refused"))]
        lines.append(f"| {name} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is not done yet, and print the table."""
    p = of_measurement(__doc__)
    p.add_argument("--what", choices=("damaged", "harmless"), default="damaged")
    p.add_argument("--seeds", type=int, default=1)
    p.add_argument("--pictures", type=int, default=100, help="photographs that are audited, at most")
    a = p.parse_args()
    (a.out / a.what).mkdir(parents=True, exist_ok=True)
    compare = of_damage if a.what == "damaged" else of_change
    found = []
    for case in cases(a.what, a.only, a.seeds):
        judge = Judge.of(net_of(a.assets, case.net, a.out), a.pictures)
        file = a.out / a.what / f"{'.'.join(case.key)}.json"
        if not file.exists():
            try:
                layer, rows = compare(judge, case)
                kept: dict[str, Any] = {"layer": layer, "rows": rows}
            except UnfitError as error:
                kept = {"unfit": str(error)}
            except FgcamError as error:
                kept = {"refused": str(error)}
            file.write_text(json.dumps(kept))
        kept = json.loads(file.read_text())
        if "unfit" not in kept:
            found.append(judged(judge, case, kept, a.what))
            print(*(found[-1].get(k, "") for k in FIELDS), flush=True)
    with (a.out / f"{a.what}.csv").open("w") as f:
        writer = csv.DictWriter(f, FIELDS)
        writer.writeheader()
        writer.writerows(found)
    print(table(a.what, found))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
