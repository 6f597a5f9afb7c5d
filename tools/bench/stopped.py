"""Kill `fgcam explain` on a folder at random moments, let it go on, and compare with one run; or measure its memory.

python tools/bench/stopped.py --pictures 500 --kills 20
python tools/bench/stopped.py --memory 300,3000
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "exported_models"
MODEL = MODELS / "resnet_shapes.dynamo.onnx"


def pictures(folder: Path, count: int) -> Path:
    """Write ``count`` pictures of the bundled shapes, each with noise of its own, and one that is damaged."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    shapes = [np.asarray(Image.open(p).convert("RGB"), np.int16) for p in sorted((MODELS / "pictures").glob("*.png"))]
    for i in range(count):
        noisy = shapes[i % len(shapes)] + rng.integers(-20, 21, shapes[0].shape)
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(folder / f"{i:05d}.png")
    (folder / f"{count // 2:05d}.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    return folder


def command(images: Path, out: Path) -> list[str]:
    """Return the command line."""
    return [sys.executable, "-m", "fgcam_onnx", "explain", str(MODEL), str(images), "-o", str(out), "--threads", "1",
            "--method", "gradcam"]  # fmt: skip


def started(images: Path, out: Path) -> subprocess.Popen[bytes]:
    """Start a run of its own."""
    silent: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command(images, out), **silent)


def spent(pid: int) -> float:
    """Return the processor time that a run has used, in seconds: what else the machine does moves no kill."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def stopped(run: subprocess.Popen[bytes], seconds: float, how: signal.Signals) -> bool:
    """Send ``how`` to a run that has used so much processor time; False where it ends before."""
    while run.poll() is None:
        if spent(run.pid) >= seconds:
            run.send_signal(how)
            run.wait()
            return True
        time.sleep(0.005)
    return False


def faults(out: Path, *, batch: int = 8) -> list[str]:
    """Return what is half-written, and what is done but not told."""
    found: list[str] = []
    if not (out / "explanations.json").exists():
        return found if not (out / "explanations.journal").exists() else ["a journal and no summary"]
    try:
        told = json.loads((out / "explanations.json").read_text())["images"]
    except ValueError as error:
        return [f"explanations.json: {error}"]
    for path in out.glob("*.png"):
        try:
            Image.open(path).load()
        except OSError as error:
            found.append(f"{path.name}: {error}")
    files = {f for row in told for e in row.get("explanations", ()) for f in e["files"]}
    found += [f"{file}: told and not there" for file in files if not Path(file).is_file()]
    journal = out / "explanations.journal"
    done = max(len(journal.read_bytes().splitlines()) - 1, 0) * batch if journal.exists() else len(told)
    return found + ([f"{done} pictures done, {len(told)} told"] if len(told) < done else [])


def contents(out: Path) -> tuple[dict[str, bytes], Any]:
    """Return every file, and what is told of the pictures."""
    text = (out / "explanations.json").read_text().replace(str(out), "OUT")
    return {p.name: p.read_bytes() for p in out.iterdir() if p.suffix != ".json"}, json.loads(text)["images"]


def killed(count: int, kills: int, *, seed: int) -> int:
    """Kill runs ``kills`` times; return how many faults were found."""
    rng, wrong, struck, rounds = random.Random(seed), 0, 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        images = pictures(Path(scratch) / "pictures", count)
        run = started(images, Path(scratch) / "whole")
        seconds = 0.0
        while run.poll() is None:
            seconds = spent(run.pid)
            time.sleep(0.05)
        wanted = contents(Path(scratch) / "whole")
        print(f"one run of {count} pictures: {seconds:.1f} s of processor time")
        while struck < kills:
            rounds += 1
            out = Path(scratch) / f"stopped{rounds}"
            how = rng.choice([signal.SIGINT, signal.SIGKILL])
            while struck < kills and stopped(started(images, out), rng.uniform(0, seconds / 3), how):
                struck += 1
                bad = faults(out) if out.exists() else []
                wrong += len(bad)
                summary = out / "explanations.json"
                told = len(json.loads(summary.read_text())["images"]) if not bad and summary.exists() else 0
                print(f"{how.name} {struck}: {told} pictures told{''.join(f'; {b}' for b in bad)}", flush=True)
                how = rng.choice([signal.SIGINT, signal.SIGKILL])
            if struck == kills:
                started(images, out).wait()
            same = contents(out) == wanted
            wrong += not same
            print(f"run {rounds} ended: {'the same files and rows' if same else 'ANOTHER RESULT'} as one run")
    return wrong


def memory(counts: list[int]) -> None:
    """Print the largest memory that runs over so many pictures take."""
    with tempfile.TemporaryDirectory() as scratch:
        for count in counts:
            images = pictures(Path(scratch) / f"pictures{count}", count)
            pid = os.spawnv(os.P_NOWAIT, sys.executable, command(images, Path(scratch) / f"out{count}"))
            _, _, usage = os.wait4(pid, 0)
            assert isinstance(usage, resource.struct_rusage)
            print(f"{count} pictures: {usage.ru_maxrss / 1024:.0f} MB", flush=True)


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", type=lambda text: [int(n) for n in text.split(",")], default=[])
    options = parser.parse_args()
    if options.memory:
        memory(options.memory)
        return 0
    return killed(options.pictures, options.kills, seed=options.seed)


if __name__ == "__main__":
    raise SystemExit(main())
