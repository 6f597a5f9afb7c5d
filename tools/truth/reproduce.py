"""Measure what is claimed of maps again, for docs/results.md and its figures: ``make results ASSETS=FOLDER``.

    python tools/truth/reproduce.py ASSETS OUT [--nets VGG ResNet] [--most 4] [--write] [--page docs/results.md]

ASSETS holds ``models/models.json`` and ``images/val`` with ``val_labels.json``; pictures for the bundled nets are
generated into OUT. Nets, rows and metrics are in ``studies.py``; each study is a run of ``fgcam_onnx.evaluate`` that
goes on where it was stopped, and OUT/<net>.json has every number of every picture. The tables are made of those and
printed, or put between the markers of a page, with the figures beside it in ``assets``; ``--write`` makes them of
what is there so far.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from claims import tables, written
from drawings import draw
from found import Found
from studies import NETS
from subjects import Step, Subject


def follow(
    step: Step, number: str, *, behind: float, left: float, started: float, before: float
) -> Callable[[int], None]:
    """Return what prints how far all is: ``behind`` and ``left`` are the costs of the other steps."""

    def tell(done: int) -> None:
        total = len(step.pictures)
        if not done or (done != total and done % 8):
            return
        made = behind + done * step.cost
        speed = (time.monotonic() - started) / max(made - before, 1e-9)
        minutes = (left + (total - done) * step.cost) * speed / 60
        name = f"{step.subject.net.name}, {step.study.name}"
        print(f"{number} {name}: {done} of {total}; about {minutes:.0f} min left", flush=True)

    return tell


def measure(subjects: list[Subject]) -> None:
    """Take every step, those of few pictures for all nets first."""
    for subject in subjects:
        if subject.net.kind == "photographs":
            subject.grids()
    steps = sorted((s for subject in subjects for s in subject.steps()), key=lambda s: s.order)
    ready = {s.folder for s in steps if s.ready}
    costs = [len(s.pictures) * s.cost for s in steps]
    started, before = time.monotonic(), sum(c for s, c in zip(steps, costs, strict=True) if s.folder in ready)
    behind = before
    for number, (step, cost) in enumerate(zip(steps, costs, strict=True), 1):
        if step.folder in ready:
            continue
        left = sum(costs) - behind - cost
        step.run(follow(step, f"[{number}/{len(steps)}]", behind=behind, left=left, started=started, before=before))
        behind += cost
        step.subject.report()


def main(arguments: Sequence[str] | None = None) -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("assets", type=Path)
    p.add_argument("out", type=Path)
    p.add_argument("--nets", nargs="*", choices=[n.name for n in NETS], default=[n.name for n in NETS])
    p.add_argument("--most", type=int, default=10**6, help="of the pictures that a net classifies rightly")
    p.add_argument("--write", action="store_true", help="measure nothing, take what is there")
    p.add_argument("--page", type=Path, help="where the tables go; default they are printed")
    a = p.parse_args(arguments)
    subjects = [Subject(n, a.assets, a.out, a.most) for n in NETS if n.name in a.nets]
    started = time.process_time()
    if not a.write:
        measure(subjects)
        print(f"{(time.process_time() - started) / 60:.0f} minutes of processor time", flush=True)
    for subject in subjects:
        subject.report()
    found = [Found.read(a.out / f"{s.folder.name}.json") for s in subjects]
    if a.page is None:
        print("\n".join(f"{name}\n\n{made}" for name, made in tables(found).items()))
    else:
        a.page.write_text(written(a.page.read_text(), tables(found)))
        draw(found, a.page.parent / "assets")


if __name__ == "__main__":
    main()
