"""Explain one small net, written in every form that exporters use, by every method, and compare the maps.

    python tools/coverage/forms.py [--methods gradcam,fgcam]

A row for each kind of function: its forms, the methods that explain the net, and the largest difference of a map from
that of the form that the others are compared with, over its maximum. The nets: ``tests/support/written_forms.py``.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from written_forms import FORMS, every_form, net, picture  # noqa: E402

from fgcam_onnx import explain, load  # noqa: E402
from fgcam_onnx.errors import FgcamError  # noqa: E402
from fgcam_onnx.methods import METHODS  # noqa: E402


def maps_of(form: Mapping[str, Any], methods: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the map of every method that explains the net in ``form``."""
    model, found = load(net(**form)), {}
    for method in methods:
        try:
            found[method] = explain(model, picture(1), method=method, target=2).map
        except FgcamError as error:
            print(f"{method}: {error}", file=sys.stderr)
    return found


def main() -> None:
    """Print the table."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--methods", default=",".join(sorted(METHODS)))
    methods = p.parse_args().methods.split(",")
    wanted: dict[str, dict[str, np.ndarray]] = {}
    worst: dict[str, tuple[float, str]] = dict.fromkeys(FORMS, (0.0, ""))
    counts: dict[str, set[str]] = {}
    for name, form, base in every_form():
        kind = name.split(":")[0]
        if repr(base) not in wanted:
            wanted[repr(base)] = maps_of(base, methods)
        known = wanted[repr(base)]
        found = maps_of(form, methods)
        if found.keys() != known.keys():
            print(f"{name}: explained by other methods: {found.keys() ^ known.keys()}", file=sys.stderr)
        counts.setdefault(kind, set()).update(found)
        for method, m in found.items():
            apart = float(abs(m - known[method]).max() / abs(known[method]).max())
            worst[kind] = max(worst[kind], (apart, f"{method}, {name.split(': ')[1]}"))
    print("| function | forms | methods | largest difference | of |\n| --- | ---: | ---: | ---: | --- |")
    for kind, forms in FORMS.items():
        base = 0 if "tanh" in forms[0] else 1
        print(f"| {kind} | {len(forms) + base} | {len(counts[kind])} | {worst[kind][0]:.0e} | {worst[kind][1]} |")


if __name__ == "__main__":
    main()
