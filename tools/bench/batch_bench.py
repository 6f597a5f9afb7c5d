"""Time and memory of ``fgcam batch``: beside the bare loop, against workers and pictures, in one process and on Ray.

The bare loop calls the explainer on arrays that lie in memory, one batch after the other with a thread of the session
on each core; "side by side" calls it as the lanes do, in as many threads of one each. No file is read, nothing decoded,
nothing written. What a data set takes on a cluster is reckoned from the fastest local run::

    python tools/bench/batch_bench.py model.onnx photos/ --pictures 320 --rounds 3
    python tools/bench/batch_bench.py model.onnx photos/ --workers 1 --workers 2 --ray --memory 1000 --memory 10000

Where there are fewer files than pictures asked for, they are named again.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from fgcam_onnx.batch import explain_source
from fgcam_onnx.batch.identity import bound_to
from fgcam_onnx.explainer import Explainer
from fgcam_onnx.imaging import PRESETS, Preprocess, find_images, read_image
from fgcam_onnx.loading.loading import load
from fgcam_onnx.stream import Source

HOURS, GIB = 3600, 2**30
SIZES = {"1 M": 10**6, "1 B": 10**9}


def repeated(files: list[Path], count: int, folder: Path) -> str:
    """Return a list file that names ``count`` pictures, as often as it takes."""
    to = folder / f"{count}.txt"
    to.write_text("".join(f"{f.resolve()}\n" for f in itertools.islice(itertools.cycle(files), count)))
    return str(to)


def bare(arrays: list[np.ndarray], explainer: Explainer, lanes: int) -> float:
    """Return the seconds that the explainer takes for batches that lie in memory."""
    start = time.perf_counter()
    with ThreadPoolExecutor(lanes) as pool:
        list(pool.map(explainer, arrays))
    return time.perf_counter() - start


def timed(run: Callable[[], Any]) -> float:
    """Return the seconds of a whole run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak(arguments: list[str]) -> float:
    """Return the most memory, in MiB, that the command line takes in a process of its own."""
    code = (
        "import resource, sys; from fgcam_onnx.cli import cli; cli.main(sys.argv[1:], standalone_mode=False);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    ran = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    return int(ran.stdout.split()[-1]) / (1024 if sys.platform != "darwin" else 2**20)


def spread(values: list[float]) -> str:
    """Return the median and where 10 % and 90 % of the values lie."""
    low, high = np.quantile(values, [0.1, 0.9])
    return f"{statistics.median(values):.2f} ({low:.2f} to {high:.2f})"


def reckoned(rate: float, kept: dict[str, float]) -> Iterator[str]:
    """Yield rows of a table: what data sets take, from pictures a second of a core and bytes of a row."""
    for name, count in SIZES.items():
        hours = count / rate / HOURS
        sizes = " | ".join(f"{count * b / GIB:,.0f} GiB" for b in kept.values())
        yield f"| {name} | {hours:,.0f} | {hours / 64:,.1f} | {hours / 1024:,.2f} | {sizes} |"


def bytes_of_row(model: Any, source: str, folder: Path, options: dict[str, Any], packing: str) -> float:
    """Return the bytes of a data set by its rows."""
    sink = folder / f"kept.{packing}"
    found = explain_source(model, source, sink=sink, limit=64, packing=packing, **options)
    return sum(f.stat().st_size for f in sink.glob("*.parquet")) / found.rows


def main() -> None:
    """Measure, and print tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--preprocess", choices=list(PRESETS))
    parser.add_argument("--method", default="fgcam")
    parser.add_argument("--pictures", dest="count", type=int, default=320)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--shard", type=int, default=64)
    parser.add_argument("--workers", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--memory", type=int, action="append", default=[])
    given = parser.parse_args()
    workers = given.workers or [os.cpu_count() or 1]
    files = find_images([given.pictures])
    model = load(given.model)
    preprocess: Preprocess = bound_to(model, PRESETS[given.preprocess] if given.preprocess else None, {})
    options = {"method": given.method, "preprocess": preprocess, "batch": given.batch, "shard": given.shard}
    explainer = Explainer(model, method=given.method, batch=given.batch, threads=1)
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        source = repeated(files, given.count, at)
        items = [read_image(item.url.removeprefix("file://")) for item in Source((source,))][: given.count]
        ready = [np.asarray(preprocess(image)) for image in items]
        del items
        arrays = [np.concatenate(ready[n : n + given.batch]) for n in range(0, len(ready), given.batch)]
        whole = Explainer(model, method=given.method, batch=given.batch, threads=os.cpu_count() or 1)
        for each in (explainer, whole):
            each(arrays[0])
        engines = ["local", "ray"] if given.ray else ["local"]
        seconds: dict[tuple[str, int], list[float]] = {}
        for turn in range(given.rounds):
            for lanes in workers:
                seconds.setdefault(("bare loop", lanes), []).append(bare(arrays, whole, 1))
                seconds.setdefault(("side by side", lanes), []).append(bare(arrays, explainer, lanes))
                for engine in engines:
                    run: dict[str, Any] = {"engine": engine, "workers": lanes, **options}
                    sink = at / f"{engine}.{lanes}.{turn}"
                    taken = timed(lambda r=run, s=sink: explain_source(model, source, sink=s, **r))
                    seconds.setdefault((engine, lanes), []).append(taken)
        print(
            f"{given.count} pictures, {given.rounds} rounds, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n"
        )
        print("| | workers | pictures/s | of the bare loop's time |\n| --- | ---: | ---: | ---: |")
        for (name, lanes), found in seconds.items():
            ratios = [f / b for f, b in zip(found, seconds["bare loop", lanes], strict=True)]
            print(f"| {name} | {lanes} | {spread([given.count / f for f in found])} | {spread(ratios)} |")
        each = given.count / min(f for (n, k), fs in seconds.items() if n == "local" for f in [min(fs) * k])
        kept = {p: bytes_of_row(model, source, at, options, p) for p in ("float16", "uint8")}
        print(
            f"\n{each:.2f} pictures a second of a core; {kept['float16']:,.0f} and {kept['uint8']:,.0f} bytes a row\n"
        )
        print("| pictures | core hours | hours on 64 cores | on 1,024 | float16 | uint8 |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        print("\n".join(reckoned(each, kept)))
        if given.memory:
            print("\n| pictures | most memory |\n| ---: | ---: |")
        for count in given.memory:
            common = ["batch", str(given.model), repeated(files, count, at), "-o", str(at / f"memory.{count}")]
            common += ["--method", given.method, "--batch-size", str(given.batch), "--workers", str(workers[-1])]
            common += ["--preprocess", given.preprocess] if given.preprocess else []
            print(f"| {count:,} | {peak(common):,.0f} MiB |")


if __name__ == "__main__":
    main()
