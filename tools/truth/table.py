"""Print what ``truth.py`` measured: means of each row, and paired differences of the first row to each other.

python tools/truth/table.py OUT --against auto
"""

from __future__ import annotations

import argparse
import json
import pathlib
from typing import Any

import numpy as np
from measures import interval

BETTER = {"adr": -1, "deletion": -1, "insertion": 1, "energy": 1, "small": 1}


def column(scores: list[dict[str, dict[str, float]]], row: str, metric: str) -> np.ndarray:
    return np.asarray([s[row].get(metric, np.nan) for s in scores if row in s], np.float64)


def means(name: str, found: dict[str, Any]) -> None:
    scores, grids = found["scores"], found["grids"]
    print(f"\n{name}, n = {len(scores)}, {found['half']} half")
    titles = [f"{m} {'↓' if sign < 0 else '↑'}" for m, sign in BETTER.items()]
    print(f"| map | {' | '.join(titles)} | grid 2, 4, 16, 32 (shifted) |")
    print("| --- |" + " --- |" * (len(BETTER) + 1))
    for row in scores[0]:
        cells = [f"{np.nanmean(v):.3f}" if np.isfinite(v := column(scores, row, m)).any() else "" for m in BETTER]
        of = grids.get(row, {})
        dots = " ".join(f"{v:.2f} ({of[k + ' shifted']:.2f})" for k, v in of.items() if "shifted" not in k)
        print(f"| {row} | {' | '.join(cells)} | {dots} |")


def differences(name: str, found: dict[str, Any], against: str) -> None:
    scores = found["scores"]
    print(f"\n{name}: {against} less each other, for the better positive, 95 % paired bootstrap")
    print("| against | " + " | ".join(BETTER) + " |\n| --- |" + " --- |" * len(BETTER))
    for row in scores[0]:
        if row == against:
            continue
        cells = []
        for metric, sign in BETTER.items():
            both = [s for s in scores if row in s and against in s]
            mean, low, high = interval(sign * (column(both, against, metric) - column(both, row, metric)))
            cells.append(
                f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]{' worse' if high < 0 else ' better' if low > 0 else ''}"
            )
        print(f"| {row} | {' | '.join(cells)} |")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--against", default="auto")
    a = p.parse_args()
    found = {f.stem: json.loads(f.read_text()) for f in sorted(a.out.glob("*.json"))}
    for name, one in found.items():
        means(name, one)
        differences(name, one, a.against)
    shared = set.intersection(*(set(f["scores"][0]) for f in found.values()))
    pooled = [{r: v for r, v in s.items() if r in shared} for f in found.values() for s in f["scores"]]
    if len(found) > 1:
        differences(f"all {len(found)} nets pooled, n = {len(pooled)}", {"scores": pooled}, a.against)


if __name__ == "__main__":
    main()
