"""A net of ``studies.py`` and its pictures, and a part of a study of it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from measures import grid, wide
from PIL import Image
from studies import GRID, STUDIES, Net, Study

import fgcam_onnx
from fgcam_onnx.evaluation import Box, Boxes, Masks
from fgcam_onnx.imaging import find_sidecar, preprocess_from, read_image
from fgcam_onnx.sweep import stage_names

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tools" / room) for room in ("coverage", "training")]

import shapes  # noqa: E402
from real_models import photographs, specification  # noqa: E402

SEED = 3
DRAWN = 240
"""Pictures generated for the bundled nets; they were trained on seed 1 and judged on seed 2."""

PERIODS = (4, 32)
GRID_PICTURES = 24


@dataclass
class Subject:
    """A net and the pictures it is asked about, in a seeded order."""

    net: Net
    assets: Path
    out: Path
    most: int

    def __post_init__(self) -> None:
        found = json.loads((self.assets / "models" / "models.json").read_text()) if self.net.kind != "shapes" else []
        self.entry = next((e for e in found if e["file"] == self.net.file), {"class_offset": 0})
        folder = self.assets / "models" if found else ROOT / "exported_models"
        self.model = fgcam_onnx.load(folder / self.net.file)
        asked = specification(self.entry) if found else find_sidecar(self.model.path)
        self.preprocess = preprocess_from(asked).bound(self.model.inputs[0].shape, self.model.inputs[0].dtype)
        self.explainer = fgcam_onnx.Explainer(self.model, method="gradcam", threads=1)
        path = self.folder / "pictures.json"
        if not path.exists():
            save(path, self._seen())
        self.seen: dict[str, Any] = json.loads(path.read_text())

    @property
    def folder(self) -> Path:
        """Where its studies are."""
        return self.out / self.net.name.lower().replace("/", "-").replace(" ", "-")

    @cached_property
    def labelled(self) -> dict[Path, int]:
        """The class of each picture."""
        if self.net.kind == "shapes":
            return drawn(self.out / "shapes")
        offset = int(self.entry["class_offset"])
        return {p.path: p.label + offset for p in photographs(self.assets, "ImageNet-1k", 10**6)}

    def _seen(self) -> dict[str, Any]:
        """Return which pictures the net classifies rightly, and its layers."""
        paths = sorted(self.labelled)
        order = [paths[i] for i in np.random.default_rng(SEED).permutation(len(paths))]
        right = [p for p in order if self.explainer.predict(self.prepared(p))[0].argmax() == self.labelled[p]]
        x, start = self.prepared(order[0]), time.process_time()
        for _ in range(8):
            self.explainer.predict(x)
        seconds = (time.process_time() - start) / 8
        options, _ = self.explainer.options()
        names = stage_names(options.model, logits=options.score.logits, source=options.input)[1:]
        layers = fgcam_onnx.Explainer(self.model, method="gradcam", layers=names).options()[0].layers
        side = x.shape[2]
        strides = {n: round(side / max(layer.spatial)) for n, layer in zip(names, layers, strict=True)}
        return {
            "net": self.net.name,
            "file": self.net.file,
            "asked": len(order),
            "seconds": round(seconds, 4),
            "right": [str(p.relative_to(p.parents[1])) for p in right],
            "layers": {n: stride for n, stride in strides.items() if stride >= self.net.shallow},
        }

    def prepared(self, path: Path) -> np.ndarray:
        """Return a picture as the net takes it, (1, C, H, W)."""
        return self.preprocess(read_image(path))

    @property
    def right(self) -> list[Path]:
        """The pictures that are classified rightly, as many as are asked about."""
        folder = next(iter(self.labelled)).parents[1]
        return [folder / name for name in self.seen["right"]][: self.most]

    @property
    def regions(self) -> Boxes | Masks:
        """Where the objects are."""
        if self.net.kind == "shapes":
            return Masks(self.out / "shapes" / "masks")
        found = photographs(self.assets, "ImageNet-1k", 10**6)
        return Boxes({p.path.name: [Box(*map(float, box)) for box in p.boxes] for p in found})

    def steps(self) -> Iterator[Step]:
        """Return what there is to do."""
        for priority, study in enumerate(STUDIES[self.net.kind]):
            given, start = self.right[: study.most], 0
            for part, end in enumerate(study.cuts):
                if chosen := given[start:end]:
                    yield Step(self, study, part, chosen, (part, priority))
                start = end

    def grids(self) -> dict[str, Any]:
        """Return how far the means of maps differ by position, and those of maps shifted at random."""
        path = self.folder / "grid.json"
        if not path.exists():
            found: dict[str, Any] = {}
            for variant in GRID:
                explain = fgcam_onnx.Explainer(self.model, method=variant.method, threads=1, **variant.options)
                chosen = self.right[:GRID_PICTURES]
                x = {p: self.prepared(p) for p in chosen}
                maps = [wide(explain(x[p], target=self.labelled[p]).map[0], x[p].shape[2:]) for p in chosen]
                found[variant.name] = {str(k): [grid(maps, k), grid(maps, k, shifted=True)] for k in PERIODS}
            save(path, found)
        return json.loads(path.read_text())

    def report(self) -> None:
        """Write every number that is known of the net."""
        studies: dict[str, dict[str, dict[str, dict[str, float | None]]]] = {}
        for step in self.steps():
            for row in step.rows():
                kept = {m: row[m] for m in row if m not in ("item", "row", "target", "label", "probability", "covers")}
                studies.setdefault(step.study.name, {}).setdefault(row["row"], {})[row["item"]] = kept
        grids = self.folder / "grid.json"
        known = {"studies": studies, "grid": json.loads(grids.read_text()) if grids.exists() else {}}
        seen = {name: value for name, value in self.seen.items() if name != "seconds"}
        save(self.out / f"{self.folder.name}.json", seen | {"kind": self.net.kind} | known)


@dataclass(frozen=True)
class Step:
    """A part of a study of a net: one run of ``evaluate``."""

    subject: Subject
    study: Study
    part: int
    pictures: list[Path]
    order: tuple[int, int]

    @property
    def folder(self) -> Path:
        """Where ``evaluate`` keeps it."""
        return self.subject.folder / f"{self.study.name}.{self.part}"

    @property
    def ready(self) -> bool:
        """Whether it is done, by the rows and metrics of today."""
        if not (self.folder / "evaluation.json").exists():
            return False
        with (self.folder / "journal.jsonl").open() as journal:
            told = json.loads(journal.readline())
        asked = {
            "methods": {v.name: {"method": v.method, **v.options} for v in self.study.variants},
            "metrics": {m.name: repr(sorted(m.reads.items())) for m in self.study.measured(self.subject.net)},
        }
        if differing := [name for name, value in asked.items() if told[name] != value]:
            raise SystemExit(f"{self.folder} was measured with other {' and '.join(differing)}: delete it")
        return True

    @property
    def cost(self) -> float:
        """About how many forward passes' time a picture takes."""
        rows = len(self.study.variants) * (len(self.subject.seen["layers"]) if self.study.stages else 1)
        runs = sum(m.runs for m in self.study.measured(self.subject.net))
        return (8 * len(self.study.variants) + (rows + 6) * (runs + 0.3)) * self.subject.seen["seconds"]

    def run(self, progress: Callable[[int], None]) -> None:
        """Measure it, from where it was stopped; ``progress`` is told how many pictures are done."""
        layers = list(self.subject.seen["layers"]) if self.study.stages else None
        fgcam_onnx.evaluate(
            self.subject.model, self.pictures,
            methods=self.study.variants,
            layers=["input", *layers] if layers and self.study.input else layers,
            metrics=self.study.measured(self.subject.net),
            preprocess=self.subject.preprocess,
            classes={p.name: self.subject.labelled[p] for p in self.pictures},
            regions=self.subject.regions,
            out=self.folder, pictures=0, batch=1, threads=1,
            progress=lambda done, _: progress(done),
        )  # fmt: skip

    def rows(self) -> Iterator[dict[str, Any]]:
        """Return the rows that are there so far."""
        path = self.folder / "rows.jsonl"
        for line in path.read_text().splitlines() if path.exists() else ():
            row = json.loads(line)
            if "error" in row:
                raise SystemExit(f"{path}: {row['item']}: {row['error']}")
            yield row


def save(path: Path, found: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(found, indent=1))
    new.replace(path)


def drawn(folder: Path) -> dict[Path, int]:
    """Return generated pictures and their classes; the masks lie beside them."""
    images, labels, masks = shapes.generate(DRAWN, SEED)
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    found = {}
    for i, label in enumerate(labels):
        found[folder / "pictures" / f"{i:03d}.png"] = int(label)
    if not (folder / "done").exists():
        (folder / "pictures").mkdir(exist_ok=True)
        for path, image, mask in zip(found, images, masks, strict=True):
            Image.fromarray(image).save(path)
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "masks" / path.name)
        (folder / "done").touch()
    return found
