"""Explain labelled photographs with real models, and show how much of each map lies on the object.

    python tools/coverage/real_models.py ASSETS OUT [--only mobilenet] [--pictures 6] [--method fgcam]

ASSETS holds ``models/models.json`` (file, task, input, preprocess, class_offset) and ``images/``
(``val/`` with ``val_labels.json``, ``cifar10/`` and ``mnist/`` with the class in the file's name). For each
fp32 classifier: a contact sheet OUT/<model>.png, and a row with accuracy, the share of the positive map
inside the object's boxes, the share that the boxes take of the picture (what an uninformed map would
score) and conservation.
"""

from __future__ import annotations

import argparse
import json
import pathlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

import fgcam_onnx
from fgcam_onnx.imaging import contact_sheet, overlay, preprocess_from, read_image

CIFAR = "airplane automobile bird cat deer dog frog horse ship truck".split()
CLASSIFIERS = ("ImageNet-1k", "CIFAR-10", "MNIST", "text direction 0/180")


@dataclass(frozen=True)
class Photo:
    """A labelled photograph: its class, and boxes (x0, y0, x1, y1) in pixels where known."""

    path: pathlib.Path
    label: int
    boxes: tuple[tuple[int, int, int, int], ...] = ()


def photographs(assets: pathlib.Path, task: str, count: int) -> list[Photo]:
    """Return ``count`` labelled photographs for ``task``, spread over the set."""
    images = assets / "images"
    if task == "ImageNet-1k":
        rows = json.loads((images / "val_labels.json").read_text())
        found = [Photo(images / "val" / r["file"], r["index"], tuple(map(tuple, r["boxes"]))) for r in rows]
    elif task == "CIFAR-10":
        found = [Photo(p, CIFAR.index(p.stem.split("_")[0])) for p in sorted((images / "cifar10").iterdir())]
    elif task.startswith("text"):
        found = [Photo(p, 0) for p in sorted((images / "misc").iterdir()) if p.suffix in (".png", ".jpg")]
    else:
        found = [Photo(p, int(p.stem[-1])) for p in sorted((images / "mnist").iterdir())]
    step = max(1, len(found) // count)
    return found[::step][:count]


def specification(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the preprocessing of a row of ``models.json``."""
    given = entry["preprocess"] or {"scale": 1 / 255, "mean": 0, "std": 1}
    if entry["task"].startswith("text"):  # its height and width are free
        given = {"scale": 1 / 127.5, "mean": 1, "std": 1, "size": (48, 192)}
    spec = {k: v for k, v in given.items() if k in ("scale", "mean", "std", "channel_order", "dtype", "size")}
    return spec | {"resize": "crop" if entry["task"] == "ImageNet-1k" else "stretch"}


def inside(values: np.ndarray, photo: Photo, size: tuple[int, int]) -> tuple[float, float]:
    """Return the share of the positive map inside the boxes, and the boxes' share of the picture.

    The boxes are brought from the photograph to the crop that the model saw: short side to 256/224 of
    ``size``, centre crop.
    """
    if not photo.boxes:
        return float("nan"), float("nan")
    with Image.open(photo.path) as image:
        width, height = image.size
    height_seen, width_seen = size
    ratio = round(height_seen / 0.875) / min(width, height)
    left, top = (width * ratio - width_seen) / 2, (height * ratio - height_seen) / 2
    mask = np.zeros(values.shape, bool)
    sy, sx = values.shape[0] / height_seen, values.shape[1] / width_seen
    for x0, y0, x1, y1 in photo.boxes:
        rows = slice(max(0, round((y0 * ratio - top) * sy)), max(0, round((y1 * ratio - top) * sy)))
        columns = slice(max(0, round((x0 * ratio - left) * sx)), max(0, round((x1 * ratio - left) * sx)))
        mask[rows, columns] = True
    positive = np.maximum(values, 0)
    return float(positive[mask].sum() / max(positive.sum(), 1e-12)), float(mask.mean())


def explain_model(assets: pathlib.Path, out: pathlib.Path, entry: dict[str, Any], a: argparse.Namespace) -> str:
    """Explain the photographs with one model, write its sheet, and return its row of the table."""
    path = assets / "models" / entry["file"]
    options = json.loads(a.options)
    model = fgcam_onnx.load(path)
    explainer = fgcam_onnx.Explainer(model, method=a.method, layers=[a.layer], **options)
    spec = model.inputs[0]
    preprocess = preprocess_from(specification(entry)).bound(spec.shape, spec.dtype)
    tiles, right, scores, kept = [], [], [], []
    for photo in photographs(assets, entry["task"], a.pictures):
        image = read_image(photo.path)
        e = explainer(preprocess(image))
        values = e.map[0]
        view = preprocess.view(image)
        right.append(int(e.target[0]) - entry["class_offset"] == photo.label)
        scores.append(inside(values, photo, (view.height, view.width)))
        kept += [float(v[0]) for v in e.conservation.values()]
        tiles += [
            (f"{photo.label}", view),
            (f"{int(e.target[0])} {'right' if right[-1] else 'wrong'}", overlay(view, values)),
        ]
    contact_sheet(tiles, columns=6, tile=160).save(out / f"{path.stem}.png")
    on, area = np.nanmean(scores, axis=0) if np.isfinite(scores).any() else (float("nan"), float("nan"))
    low, high = (min(kept), max(kept)) if kept else (float("nan"), float("nan"))
    return f"| {path.name} | {np.mean(right):.2f} | {on:.2f} | {area:.2f} | {low:.2g} to {high:.2g} |"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("assets", type=pathlib.Path)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--only", default="")
    p.add_argument("--pictures", type=int, default=6)
    p.add_argument("--method", default="fgcam")
    p.add_argument("--layer", default="input")
    p.add_argument("--options", default="{}", help="more options of Explainer, as JSON")
    p.add_argument("--every", action="store_true", help="quantized and half-precision models, too")
    a = p.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    print("| model | accuracy | map on the object | object's area | conservation |\n|---|---|---|---|---|")
    for entry in json.loads((a.assets / "models" / "models.json").read_text()):
        plain = entry["input"]["dtype"] == "FLOAT" and "int8" not in entry["file"] and "qdq" not in entry["file"]
        if a.only not in entry["file"] or entry["task"] not in CLASSIFIERS or not (plain or a.every):
            continue
        try:
            print(explain_model(a.assets, a.out, entry, a), flush=True)
        except fgcam_onnx.FgcamError as error:
            print(f"| {entry['file']} | {type(error).__name__}: {error} |", flush=True)


if __name__ == "__main__":
    main()
