"""The same pictures by both engines of `fgcam batch`: whether rows and maps are the same, and the most memory.

python tools/bench/engines.py --pictures 10000 --ray
python tools/bench/engines.py --pictures 1000 --pictures 10000
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.dataset
from stopped import MODEL, pictures


def ran(images: Path, out: Path, *more: str) -> tuple[float, float]:
    """Run the command in a process of its own; return its seconds, and the most memory it took, in MiB."""
    command = [sys.executable, "-m", "fgcam_onnx", "batch", str(MODEL), str(images), "-o", str(out), *more]
    start = time.perf_counter()
    _, _, usage = os.wait4(os.spawnv(os.P_NOWAIT, sys.executable, command), 0)
    return time.perf_counter() - start, usage.ru_maxrss / (1024 if sys.platform != "darwin" else 2**20)


def rows(sink: Path) -> Any:
    """Return all rows by the pictures' names."""
    return pyarrow.dataset.dataset(sink).to_table().sort_by("id")


def main() -> int:
    """Run, and print tables in Markdown; the exit code is 1 where rows differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, action="append", required=True)
    parser.add_argument("--method", default="fgcam")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--ray", action="store_true", help="also on Ray")
    given = parser.parse_args()
    common = ["--method", given.method, "--workers", str(given.workers), "--batch-size", "8"]
    wrong, said = 0, []
    lines = [
        "| pictures | engine | seconds | most memory | rows | errors |",
        "| ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        for count in given.pictures:
            images = pictures(Path(scratch) / f"pictures{count}", count)
            found = {}
            for engine in ("local", "ray") if given.ray else ("local",):
                out = Path(scratch) / f"{engine}{count}"
                seconds, memory = ran(images, out, "--engine", engine, *common)
                found[engine] = table = rows(out)
                failed = table.num_rows - table["error"].null_count
                took = f"{memory:,.0f} MiB" if engine == "local" else ""
                lines.append(f"| {count:,} | {engine} | {seconds:,.0f} | {took} | {table.num_rows:,} | {failed} |")
            if given.ray:
                same = found["ray"].equals(found["local"])
                wrong += not same
                said.append(f"{count:,} pictures: {'the same rows, maps to the bit' if same else 'ROWS DIFFER'}")
    print("\n".join([*lines, "", *said]))
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
