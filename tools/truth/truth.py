"""Measure how true maps are, on labelled photographs with boxes and real models.

    python tools/truth/truth.py ASSETS OUT --half validation --pictures 24 --rows tools/truth/tried.json
    python tools/truth/truth.py ASSETS OUT --half report --pictures 40

ASSETS holds ``models/models.json`` and ``images/val`` with ``val_labels.json``. The photographs are split in halves:
what is chosen is chosen on ``validation``, and reported on ``report``. Of each half the first photographs count that
the net classifies rightly. OUT gets a JSON file for each net with every number; the tables are made of those:

    python tools/truth/table.py OUT
"""

from __future__ import annotations

import argparse
import itertools
import json
import pathlib
import sys
from typing import Any

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "coverage"))

from measures import (
    Ends,
    energy,
    faithfulness,
    grid,
    wide,
)
from real_models import Photo, photographs, specification

import fgcam_onnx
from fgcam_onnx.cam.perturbation import softmax
from fgcam_onnx.imaging import preprocess_from, read_image

NETS = {
    "mcunet": "mcunet_in3_fp32_torch.onnx",
    "regnet": "regnetx200mf_fp32_dequant.onnx",
    "mobilenet": "mobilenet_v2_fp32_dequant.onnx",
    "shufflenet": "shufflenet_v2_fp32_dequant.onnx",
    "squeezenet": "squeezenet1.1_fp32_rebuilt.onnx",
    "vit": "vit_tiny_patch16_224_opset17.onnx",
}
ROWS: dict[str, dict[str, Any]] = {
    "auto": {"method": "auto"},
    "published": {"method": "fgcam"},
    "Grad-CAM at the base": {"method": "gradcam"},
    "LayerCAM at the base": {"method": "layercam"},
    "Relevance-CAM at the base": {"method": "relevancecam"},
    "LRP epsilonplus": {"method": "lrp"},
}
VIT = {"AttnLRP, gamma 0.25": {"method": "attnlrp", "gamma": 0.25}}
SIDE = 16
PERIODS = (2, 4, 16, 32)


def box_mask(photo: Photo, size: tuple[int, int], picture: tuple[int, int]) -> np.ndarray:
    """Return the boxes of ``photo`` (``picture`` is its width and height) on the crop of ``size`` that a model sees."""
    (h, w), (width, height) = size, picture
    ratio = round(h / 0.875) / min(width, height)
    left, top = (width * ratio - w) / 2, (height * ratio - h) / 2
    mask = np.zeros(size, bool)
    for x0, y0, x1, y1 in photo.boxes:
        rows = slice(max(0, round(y0 * ratio - top)), max(0, round(y1 * ratio - top)))
        columns = slice(max(0, round(x0 * ratio - left)), max(0, round(x1 * ratio - left)))
        mask[rows, columns] = True
    return mask


def controls(x: np.ndarray, mask: np.ndarray, *, seed: int) -> dict[str, np.ndarray]:
    """Return maps that know nothing of the net."""
    rng, (h, w) = np.random.default_rng(seed), x.shape[1:]
    rows, columns = np.mgrid[:h, :w]
    grey = x.mean(axis=0)
    gy, gx = np.gradient(grey)
    return {
        "random pixels": rng.random((h, w), np.float32),
        "centred Gaussian": np.exp(-(((rows - h / 2) / h) ** 2 + ((columns - w / 2) / w) ** 2) * 8).astype(np.float32),
        "edges": np.hypot(gy, gx).astype(np.float32),
        "all ones": np.ones((h, w), np.float32),
        "the boxes": mask.astype(np.float32),
    }


class Net:
    """A classifier, its preprocessing, and what explains it by each row."""

    def __init__(
        self,
        assets: pathlib.Path,
        name: str,
        rows: dict[str, dict[str, Any]],
        *,
        controlled: bool = True,
        boxes_only: bool = False,
        power: float = 1.0,
    ) -> None:
        self.controlled, self.boxes_only, self.power = controlled, boxes_only, power
        entries = json.loads((assets / "models" / "models.json").read_text())
        entry = next(e for e in entries if e["file"] == NETS[name])
        model = fgcam_onnx.load(assets / "models" / entry["file"])
        self.offset = int(entry["class_offset"])
        spec = model.inputs[0]
        self.preprocess = preprocess_from(specification(entry)).bound(spec.shape, spec.dtype)
        self.explainers = {n: fgcam_onnx.Explainer(model, threads=1, **o) for n, o in rows.items()}
        self.any = next(iter(self.explainers.values()))

    def right(self, photo: Photo) -> bool:
        """Tell whether the net classifies ``photo`` rightly."""
        return int(self.any.predict(self.preprocess(read_image(photo.path)))[0].argmax()) == photo.label + self.offset

    def measured(self, photo: Photo, *, seed: int) -> tuple[dict[str, dict[str, float]], dict[str, np.ndarray]]:
        """Return every number of every row, and the maps."""
        image = read_image(photo.path)
        x, target = self.preprocess(image), photo.label + self.offset
        size = (x.shape[2], x.shape[3])
        mask = box_mask(photo, size, image.size)
        maps = {n: wide(e(x, target=target).map[0], size) for n, e in self.explainers.items()}
        if self.power != 1:
            maps = {n: np.maximum(m / max(m.max(), 1e-30), 0) ** self.power for n, m in maps.items()}

        def predict(v: np.ndarray) -> np.ndarray:
            return softmax(self.any.predict(v))[:, target]

        ends = None if self.boxes_only else Ends.of(predict, x[0])
        found = {
            name: {
                **(faithfulness(predict, ends, m, side=SIDE) if ends is not None else {}),
                "energy": energy(m, mask),
                "small": energy(m, mask) if mask.mean() < 0.5 else float("nan"),
            }
            for name, m in (maps | (controls(x[0], mask, seed=seed) if self.controlled else {})).items()
        }
        return found, maps


def write(path: pathlib.Path, *, half: str, scores: list[Any], maps: dict[str, list[np.ndarray]]) -> None:
    """Write what was measured so far."""
    grids = {
        n: {f"{k}{' shifted' * shifted}": grid(m, k, shifted=shifted) for k in PERIODS for shifted in (False, True)}
        for n, m in maps.items()
    }
    path.write_text(json.dumps({"half": half, "scores": scores, "grids": grids}))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("assets", type=pathlib.Path)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--half", choices=["validation", "report"], default="report")
    p.add_argument("--pictures", type=int, default=40)
    p.add_argument("--after", type=int, default=0, help="leave out as many of the first that count")
    p.add_argument("--nets", nargs="*", default=list(NETS))
    p.add_argument("--rows", type=pathlib.Path, help="options of Explainer by name, JSON; for each net, or for all")
    p.add_argument("--boxes-only", action="store_true", help="energy in the boxes alone, which runs no net again")
    p.add_argument("--power", type=float, default=1.0, help="of positive maps, which keeps their order")
    a = p.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    every = photographs(a.assets, "ImageNet-1k", 10**6)[0 if a.half == "validation" else 1 :: 2]
    for name in a.nets:
        given = json.loads(a.rows.read_text()) if a.rows else {}
        rows = given.get(name, given.get("all")) if given else ROWS | (VIT if name == "vit" else {})
        net, scores, maps = (
            Net(
                a.assets,
                name,
                rows,
                controlled=not a.rows or a.boxes_only,
                boxes_only=a.boxes_only,
                power=a.power,
            ),
            [],
            {n: [] for n in rows},
        )
        fitting = ((i, photo) for i, photo in enumerate(every) if net.right(photo))
        for i, photo in itertools.islice(fitting, a.after, a.after + a.pictures):
            found = net.measured(photo, seed=i)
            scores.append(found[0])
            for n, m in found[1].items():
                maps[n].append(m)
            if len(scores) % 5 == 0 or len(scores) == a.pictures:
                write(a.out / f"{name}.json", half=a.half, scores=scores, maps=maps)
        print(f"{name}: {len(scores)} photographs of the {a.half} half", flush=True)


if __name__ == "__main__":
    main()
