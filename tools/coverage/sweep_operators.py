"""Hold the gradient rules of linear operators against ONNX Runtime: ``python tools/coverage/sweep_operators.py``.

The file's operator is run on the identity basis, and so are the loaded model and the walk back. The last is to be the
transpose of the first, up to rounding in float32; the second is to be equal to it bit for bit.
"""

from __future__ import annotations

import argparse
import random
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import numpy as np  # noqa: E402
import settings_places  # noqa: E402
import settings_windows  # noqa: E402
from linear import Outcome, Setting, judged  # noqa: E402

DRAWN = {**settings_windows.DRAWN, **settings_places.DRAWN}


def families(drawn: int, share: float) -> Iterator[tuple[str, list[Setting]]]:
    """Yield the settings by family: grids whole or a share of them, and ``drawn`` of each of the others."""
    for name, grid in settings_windows.GRIDS.items():
        settings = list(grid())
        yield name, settings if share == 1 else random.Random(name).sample(settings, int(share * len(settings)))
    for name, draw in DRAWN.items():
        rng = np.random.default_rng(zlib.crc32(name.encode()) + 1)
        yield name, [draw(rng) for _ in range(drawn)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drawn", type=int, default=1000, help="settings of each family that has no grid")
    parser.add_argument("--share", type=float, default=1.0, help="share of each grid")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    total: Counter[str] = Counter()
    print(
        "| settings of | run | right | refused | wrong | largest difference |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        sep="\n",
    )
    with ProcessPoolExecutor(given.jobs) as pool:
        for name, settings in families(given.drawn, given.share):
            outcomes: list[Outcome] = list(pool.map(judged, settings, chunksize=16))
            counts = Counter(o.kind for o in outcomes)
            total += counts
            off = max((o.off for o in outcomes if o.kind == "right"), default=0)
            print(row(name, counts, f"{off:.1g}"), flush=True)
            for outcome, setting in zip(outcomes, settings, strict=True):
                if outcome.kind == "wrong":
                    print(f"wrong: {setting}: {outcome.reason}, {outcome.off:.2g}", file=sys.stderr)
    print(row("all", total, ""))
    return int(total["wrong"] > 0)


def row(name: str, counts: Counter[str], off: str) -> str:
    run = sum(counts.values()) - counts["not run"]
    return f"| {name} | {run} | {counts['right']} | {counts['refused']} | {counts['wrong']} | {off} |"


if __name__ == "__main__":
    sys.exit(main())
