"""Mend damaged and badly calibrated int8 nets, and say what that took and cost.

    python tools/audit/mended.py ASSETS OUT [--only "mcunet|resnet"] [--pictures 4] [--held 16]
    python tools/audit/mended.py ASSETS OUT --audited 60 [--only resnet]

Every candidate is blamed on a few photographs and mended until, on others, it drifts at most half as much again from
the float net as the int8 net that is well calibrated does, in prediction and in map. Prints a row for each: drift
before and after and of the well calibrated net, layers in float, products of integers kept, bytes and time, and how
often the top class is the float net's. With ``--audited`` a whole audit mends those whose layers are damaged, as
``fgcam audit --mend`` does, and another audits the file that was written.
"""

from __future__ import annotations

import pathlib
import re
import warnings
from collections.abc import Callable

import numpy as np
import onnx
from arguments import of_measurement
from candidates import CALIBRATION, NETS, Net, net_of
from damage import damaged
from real_models import specification

from fgcam_onnx import Explainer, audit, load
from fgcam_onnx.blame import Drift, blame, drift, mend
from fgcam_onnx.imaging import preprocess_from

MORE = 1.5
Candidate = Callable[[Net], pathlib.Path]


def _damaged(kind: str, seed: int) -> Candidate:
    def make(net: Net) -> pathlib.Path:
        target = net.folder / f"{net.name}.{kind}.{seed}.int8.onnx"
        model, _ = damaged(load(net.quantized), kind, seed=seed)
        onnx.save(model.standalone(), target)
        return target

    return make


def _twice(net: Net) -> pathlib.Path:
    """Damage two layers."""
    target = net.folder / f"{net.name}.twice.int8.onnx"
    first, _ = damaged(load(net.quantized), "saturated", seed=1)
    second, _ = damaged(first, "negated", seed=4)
    onnx.save(second.standalone(), target)
    return target


def _per_tensor(net: Net) -> pathlib.Path:
    """Quantize weights with one scale for each tensor, where each channel needs one."""
    return net.int8("tensor", net.prepared(net.photos(CALIBRATION, skip=60)), per_channel=False)


def _black(net: Net) -> pathlib.Path:
    """Calibrate on black pictures."""
    black = [np.full_like(x, x.min()) for x in net.prepared(net.photos(2, skip=60))]
    return net.int8("black", black)


def _one_picture(net: Net) -> pathlib.Path:
    """Calibrate on one picture."""
    return net.int8("one", net.prepared(net.photos(1, skip=60)))


DAMAGED: dict[str, Candidate] = {
    "a layer's results saturated": _damaged("saturated", 1),
    "a layer negated": _damaged("negated", 3),
    "a layer saturated, another negated": _twice,
}
CANDIDATES: dict[str, Candidate] = DAMAGED | {
    "one scale for each weight": _per_tensor,
    "calibrated on one picture": _one_picture,
    "calibrated on black pictures": _black,
}


def row(net: Net, name: str, pictures: list[np.ndarray], held: np.ndarray) -> str:
    """Return the row of a candidate."""
    reference = net.explainer(net.path)
    truth = reference(held)

    def far(explainer: Explainer) -> Drift:
        return drift(truth, explainer(held, target=[int(t) for t in truth.target]))

    def same(explainer: Explainer) -> float:
        tops = [np.asarray(e.predict(held)).reshape(len(held), -1).argmax(1) for e in (reference, explainer)]
        return float((tops[0] == tops[1]).mean())

    healthy = far(net.explainer(net.quantized))
    candidate = net.explainer(CANDIDATES[name](net))
    before = far(candidate)
    if within(before, healthy):
        return f"| {net.name} | {name} | {told(before)} | | {told(healthy)} | will do as it is | | | | |"
    profile = blame(reference, candidate, pictures=pictures)
    made = mend(reference, candidate, profile=profile, pictures=pictures, enough=lambda e: within(far(e), healthy))
    if made.model is None:
        return f"| {net.name} | {name} | {told(before)} | | {told(healthy)} | {made.said} | | | | |"
    mended = net.explainer(made.model)
    classes = f"{same(candidate):.2f}, {same(mended):.2f}"
    drifts = f"{told(before)} | {told(far(mended))} | {told(healthy)}"
    price = f"{made.kept} of {made.of} | {made.size[1] / made.size[0]:.2f} | {made.slower:.2f}"
    return f"| {net.name} | {name} | {drifts} | {len(made.floats)} | {price} | {classes} |"


def audited_row(net: Net, name: str, count: int) -> str:
    """Return the row of a candidate that an audit mends."""
    candidate = CANDIDATES[name](net)
    target = net.folder / f"{net.name}.{name.replace(' ', '_')}.mended.onnx"
    target.unlink(missing_ok=True)
    spec = load(net.path).inputs[0]
    preprocess = preprocess_from(specification(net.row)).bound(spec.shape, spec.dtype)
    given = {"images": [str(p.path) for p in net.others(count)], "preprocess": preprocess, "threads": 1}
    given["candidate_preprocess"] = preprocess
    found = audit(net.path, candidate, mend=target, **given)
    made = found.mended
    if made is None or made.model is None:
        said = "" if made is None else made.said
        return f"| {net.name} | {name} | {found.outcome} | {said} | | | | |"
    price = f"{len(made.floats)} | {made.kept} of {made.of} | {made.size[1] / made.size[0]:.2f} | {made.slower:.2f}"
    return f"| {net.name} | {name} | {found.outcome} | {price} | {audit(net.path, target, **given).outcome} |"


def within(found: Drift, healthy: Drift) -> bool:
    return found.prediction <= MORE * healthy.prediction and found.map <= MORE * healthy.map


def told(found: Drift) -> str:
    return f"{found.prediction:.3f}, {found.map:.3f}"


def main() -> None:
    """Print the table."""
    p = of_measurement(__doc__)
    p.add_argument("--pictures", type=int, default=4)
    p.add_argument("--held", type=int, default=16)
    p.add_argument("--audited", type=int, default=0, help="mend by audits on so many photographs")
    a = p.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    if a.audited:
        print("| net | candidate | audit | layers in float | int8 kept | bytes | time | audit of the mended |")
        print("|---|---|---|---:|---|---:|---:|---|")
        for name in (n for n in NETS if re.search(a.only, n)):
            for candidate in DAMAGED:
                print(audited_row(net_of(a.assets, name, a.out), candidate, a.audited), flush=True)
        return
    print(
        "| net | candidate | drift of prediction, map | mended | well calibrated | layers in float | int8 kept | bytes "
        "| time | top class kept, before and after |"
    )
    print("|---|---|---|---|---|---:|---|---:|---:|---|")
    for name in (n for n in NETS if re.search(a.only, n)):
        net = net_of(a.assets, name, a.out)
        held = np.concatenate(net.prepared(net.photos(a.held, skip=20)))
        for candidate in CANDIDATES:
            print(row(net, candidate, net.pictures(a.pictures), held), flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
