"""Kill a command over a folder at random moments, let it go on, and compare with one run; or measure its memory.

python tools/bench/stopped.py --pictures 500 --kills 20
python tools/bench/stopped.py --command batch --pictures 500 --kills 20
python tools/bench/stopped.py --command batch --engine ray --victim worker --kills 10
python tools/bench/stopped.py --memory 1000,10000
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset
from PIL import Image

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "exported_models"
MODEL = MODELS / "resnet_shapes.dynamo.onnx"
OWN = {
    "explain": ["explain", str(MODEL), "IMAGES", "--method", "gradcam", "--threads", "1"],
    "batch": ["batch", str(MODEL), "IMAGES", "--method", "gradcam", "--batch-size", "8", "--shard", "16"],
    "evaluate": ["evaluate", str(MODEL), "IMAGES", "--methods", "gradcam", "--metrics", "drop", "--threads", "1"],
    "audit": ["audit", str(MODEL), str(MODEL), "IMAGES", "--threads", "1"],
}
"""What each command is given."""


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


@dataclass(frozen=True)
class Command:
    """A command over pictures, by an engine."""

    name: str
    engine: str
    images: Path

    def line(self, out: Path) -> list[str]:
        """Return the command line, which goes on with what is in ``out``."""
        given = [str(self.images) if word == "IMAGES" else word for word in OWN[self.name]]
        more = ["--engine", self.engine, "--workers", "2"] if self.engine == "ray" else []
        more += ["--resume"] if self.name == "batch" and (out / "_manifest.json").exists() else []
        return [sys.executable, "-m", "fgcam_onnx", *given, "-o", str(out), *more]

    def started(self, out: Path) -> subprocess.Popen[bytes]:
        """Start a run of its own."""
        silent: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(self.line(out), **silent)

    def told(self, out: Path) -> int:
        """Return how many pictures are told of, each row being readable.

        Raises
        ------
        ValueError, OSError
            A row is not.
        """
        if self.name == "explain":
            path = out / "explanations.json"
            return len(json.loads(path.read_text())["images"]) if path.exists() else 0
        if self.name == "batch":
            return rows_of(out).num_rows if any(out.glob("*.parquet")) else 0
        path = out / "rows.jsonl"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return len({json.loads(line)["item"] for line in lines})

    def contents(self, out: Path) -> tuple[dict[str, Any], Any]:
        """Return every file, and what is told of the pictures."""
        if self.name == "explain":
            told = json.loads((out / "explanations.json").read_text().replace(str(out), "OUT"))["images"]
            return {p.name: p.read_bytes() for p in out.iterdir() if p.suffix != ".json"}, told
        if self.name == "batch":
            return {p.name: None for p in out.iterdir()}, rows_of(out)
        return {p.name: p.read_bytes() for p in out.iterdir() if p.name != "manifest.json"}, None

    def wrong(self, out: Path) -> list[str]:
        """Return what a kill left that cannot be read, or is told and not there."""
        if not out.exists():
            return []
        try:
            self.told(out)
        except (ValueError, OSError) as error:
            return [f"a row cannot be read: {error}"]
        return _faults(out) if self.name == "explain" else []


def rows_of(sink: Path) -> Any:
    """Return all rows of a data set by the pictures' names."""
    return pyarrow.dataset.dataset(sink).to_table().sort_by("id")


def _faults(out: Path, *, batch: int = 8) -> list[str]:
    """Return what `fgcam explain` left half-written, and what is done but not told."""
    found: list[str] = []
    if not (out / "explanations.json").exists():
        return found if not (out / "explanations.journal").exists() else ["a journal and no summary"]
    told = json.loads((out / "explanations.json").read_text())["images"]
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


def workers_of(parent: int) -> list[int]:
    """Return Ray's workers that a process started."""
    parents, named = {}, []
    for entry in Path("/proc").iterdir():
        try:
            status = (entry / "stat").read_text().rpartition(") ")[2].split()
            if entry.name.isdecimal():
                parents[int(entry.name)] = int(status[1])
                if b"ray::MapWorker" in (entry / "cmdline").read_bytes():
                    named.append(int(entry.name))
        except OSError:
            continue

    def below(pid: int) -> bool:
        while pid and pid != parent:
            pid = parents.get(pid, 0)
        return pid == parent

    return [pid for pid in named if below(pid)]


def struck(run: subprocess.Popen[bytes], victim: str, rng: random.Random) -> str | None:
    """Kill a run, or one of its workers; return by what, None where there was none."""
    if victim == "worker":
        there = workers_of(run.pid)
        if not there:
            return None
        os.kill(rng.choice(there), signal.SIGKILL)
        return "a worker by SIGKILL"
    how = signal.SIGKILL if victim == "driver" else rng.choice([signal.SIGINT, signal.SIGKILL])
    run.send_signal(how)
    run.wait()
    return how.name


def killed(command: Command, kills: int, *, victim: str, scratch: Path, seed: int) -> int:
    """Kill runs ``kills`` times; return how many faults were found."""
    rng, wrong, count, rounds = random.Random(seed), 0, 0, 0
    begin = time.perf_counter()
    command.started(scratch / "whole").wait()
    seconds = time.perf_counter() - begin
    wanted = command.contents(scratch / "whole")
    print(f"one run: {seconds:.1f} s")
    while count < kills:
        rounds += 1
        out = scratch / f"stopped{rounds}"
        run = command.started(out)
        while True:
            try:
                if count < kills:
                    run.wait(rng.uniform(0, seconds / 3 if victim == "worker" else seconds))
                run.wait()
                break
            except subprocess.TimeoutExpired:
                by = struck(run, victim, rng)
                if by is None:
                    continue
                count += 1
                bad = command.wrong(out)
                wrong += len(bad)
                told = f"{command.told(out) if out.exists() and not bad else 0} pictures told"
                print(f"{by} {count}: {told}{''.join(f'; {b}' for b in bad)}", flush=True)
                if victim != "worker":
                    run = command.started(out)
        same = command.contents(out) == wanted
        wrong += not same
        print(f"run {rounds} ended: {'the same files and rows' if same else 'ANOTHER RESULT'} as one run", flush=True)
    return wrong


def memory(command: Command, scratch: Path) -> None:
    """Print the largest memory that a run takes."""
    line = command.line(scratch / f"out{command.images.name}")
    _, _, usage = os.wait4(os.spawnv(os.P_NOWAIT, sys.executable, line), 0)
    assert isinstance(usage, resource.struct_rusage)
    print(f"{command.name}, {command.images.name}: {usage.ru_maxrss / 1024:.0f} MiB", flush=True)


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--command", choices=list(OWN), default="explain")
    parser.add_argument("--engine", choices=["local", "ray"], default="local")
    parser.add_argument("--victim", choices=["driver", "interrupted", "worker"], default="driver")
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", type=lambda text: [int(n) for n in text.split(",")], default=[])
    given = parser.parse_args()
    if given.victim == "worker" and given.engine != "ray":
        parser.error("workers are Ray's: --engine ray")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for count in given.memory:
            images = pictures(scratch / f"{count} pictures", count)
            memory(Command(given.command, given.engine, images), scratch)
        if given.memory:
            return 0
        command = Command(given.command, given.engine, pictures(scratch / "pictures", given.pictures))
        wrong = killed(command, given.kills, victim=given.victim, scratch=scratch, seed=given.seed)
    print(f"{wrong} faults")
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
