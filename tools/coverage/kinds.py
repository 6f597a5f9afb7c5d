"""Ask the command line about nets of every kind of output, and hold its maps against finite differences.

``python tools/coverage/kinds.py FOLDER [--only WORD] [--picture FILE]``: FOLDER holds what ``export_kinds.py`` wrote.

For each net ``fgcam inspect`` and the command without a target, what came of it, and a second command that names what
the first asks for. The second is run with ``--method inputxgradient --raw``: the map's sum over each of 16 blocks of
the picture is the derivative of the score by a factor of that block, and is compared with the central difference of the
score through ONNX Runtime on the file as it was exported, the step being the one at which the difference moves least.
Printed is the table of ``docs/outputs.md``: the distance as a share of the largest block's.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from click.testing import CliRunner
from numpy.typing import NDArray

from fgcam_onnx import Explainer, load
from fgcam_onnx.cli import cli
from fgcam_onnx.cli.feeding import read_feeds
from fgcam_onnx.cli.targets import read_targets
from fgcam_onnx.errors import FgcamError
from fgcam_onnx.heads import Stated
from fgcam_onnx.imaging import read_image
from fgcam_onnx.preparing import recorded
from fgcam_onnx.targets import aimed, objectives_of

BLOCKS = 4
STEPS = (0.01, 0.003, 0.001)
PICTURE = Path(__file__).parents[2] / "exported_models" / "pictures" / "two.png"

SAID = ("--input", "--output", "--background")
"""Options that inspect takes, too."""

CLIP = "--input pixel_values --feed input_ids=FOLDER/words.npy --feed attention_mask=1"

NETS: dict[str, tuple[str, str]] = {
    "yolov8n": ("YOLOv8", ""),
    "yolov8n-seg": ("YOLOv8 segment", ""),
    "yolov8n-pose": ("YOLOv8 pose", ""),
    "yolov8n-obb": ("YOLOv8 OBB", ""),
    "yolov8n-cls": ("YOLOv8 classify", ""),
    "yolo11n": ("YOLO11", "--target 3"),
    "yolo11n-nms": ("YOLO11, non-maximum suppression inside", ""),
    "yolov10n": ("YOLOv10, end to end", ""),
    "yolo26n-seg": ("YOLO26 segment, end to end", ""),
    "yolo26n-pose": ("YOLO26 pose, end to end", ""),
    "yolo26n-obb": ("YOLO26 OBB, end to end", ""),
    "yolo26n-sem": ("YOLO26 semantic, ends in ArgMax", "--output /model.17/Resize_output_0"),
    "yolo26n-depth": ("YOLO26 depth", "--target element:0,80,80"),
    "rtdetr-resnet50": ("RT-DETR, Ultralytics'", ""),
    "rtdetr": ("RT-DETR, transformers'", "--background none"),
    "detr": ("DETR", "--background last"),
    "ssdlite": ("SSDLite, chosen boxes", ""),
    "ssdlite_heads": ("SSDLite, all boxes", "--background first"),
    "fasterrcnn": ("Faster R-CNN", ""),
    "lraspp": ("LR-ASPP", "--target 3"),
    "segformer": ("SegFormer", ""),
    "vit": ("ViT", ""),
    "clip": ("CLIP, picture and texts", CLIP),
    "clip_tower": ("CLIP's image tower", "--target like:PICTURE"),
    "siamese": ("Siamese net", "--input left --feed right=OTHER"),
    "crnn": ("CRNN", "--background first"),
    "points": ("heat maps of points", "--target 3"),
    "depth_glpn": ("GLPN depth", "--target element:64,64"),
    "autoencoder": ("autoencoder", "--target element:0,48,48"),
    "age": ("one number", ""),
}
"""Nets, what they are, and what is said of them where the plain command asks."""


@dataclass(frozen=True)
class Answer:
    """What one command printed."""

    code: int
    text: str

    @property
    def told(self) -> str:
        """What was explained, or what was asked: the last error, how many pictures failed aside."""
        if self.code == 0:
            return self.text
        lines = [s for s in self.text.splitlines() if s.strip() and not s.endswith("pictures failed")]
        return lines[-1] if lines else ""


def fgcam(*words: str) -> Answer:
    """Run a command of the package; an exception that is none of its own is a fault, and shown as such."""
    done = CliRunner().invoke(cli, list(words))
    if isinstance(done.exception, FgcamError):
        return Answer(1, f"error: {done.exception}")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        return Answer(2, f"{type(done.exception).__name__}: {done.exception}")
    return Answer(done.exit_code, done.output)


def explained(model: Path, picture: Path, more: list[str], out: Path) -> tuple[Answer, dict[str, Any]]:
    """Explain, and return what was said and written."""
    said = fgcam("explain", str(model), str(picture), "-o", str(out), *more)
    record = out / "explanations.json"
    return said, json.loads(record.read_text()) if said.code == 0 and record.is_file() else {}


def scored(model: Path, record: dict[str, Any], picture: Path) -> tuple[Callable[..., float], NDArray[np.float32]]:
    """Return the score that was explained as a function of the input, by ONNX Runtime on the file, and the input."""
    options, loaded = record["options"], load(model)
    preprocess = recorded(record["preprocess"]).preprocess
    stated = Stated(
        options["head"], (), options["objectness"], options["class_count"], background=options["background"]
    )
    explainer = Explainer(
        loaded, method="saliency", input=options["input_name"], output=options["output_name"], head=stated
    )
    image = next(i for i in loaded.inputs if i.name == explainer.input)
    feeds = read_feeds(options["feeds"], model=loaded, image=image, spec=options["spec"])
    x = np.asarray(preprocess(read_image(picture)))
    targets, _ = read_targets(
        options["target"], labels=explainer.head.labels, explainer=explainer, preprocess=preprocess
    )
    target = (
        targets[0]
        if targets[0] is not None or explainer.head.dense
        else int(explainer.predict({image.name: x, **feeds}).argmax())
    )
    given = explainer.feeds({image.name: x, **feeds})
    open_ = explainer._closed(given)
    predicted = open_._forward(given, others=True)
    objectives, _ = objectives_of(target, 1, head=open_.head)
    weights = (
        aimed(objectives, predicted).weights if objectives else np.eye(predicted.logits.size, dtype=np.float32)[target]
    )
    file, name = onnx.load(model), open_.score.logits
    if name not in {o.name for o in file.graph.output}:
        file.graph.output.append(onnx.ValueInfoProto(name=name))
    options_of_run = onnxruntime.SessionOptions()
    options_of_run.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file.SerializeToString(), options_of_run)

    def score(x: NDArray[np.float32]) -> float:
        (found,) = session.run([name], {**given, image.name: x})
        return float((weights.astype(np.float64).reshape(-1) * found.reshape(-1)).sum())

    return score, given[image.name]


def differences(score: Callable[..., float], x: NDArray[np.float32], axes: tuple[int, int]) -> NDArray[np.float64]:
    """Return the derivative of the score by a factor of each block of the picture."""
    rows, columns = (np.array_split(np.arange(x.shape[a]), BLOCKS) for a in axes)
    found = []
    for r in rows:
        for c in columns:
            block = np.zeros_like(x)
            place: list[Any] = [slice(None)] * x.ndim
            place[axes[0]], place[axes[1]] = slice(r[0], r[-1] + 1), slice(c[0], c[-1] + 1)
            block[tuple(place)] = x[tuple(place)]
            tried = np.array([(score(x + t * block) - score(x - t * block)) / (2 * t) for t in STEPS])
            found.append(tried[1:][np.abs(np.diff(tried)).argmin()])
    return np.array(found)


def blocks(map_: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the sum of a map over each block."""
    parts = [
        p for rows in np.array_split(map_.astype(np.float64), BLOCKS) for p in np.array_split(rows, BLOCKS, axis=1)
    ]
    return np.array([p.sum() for p in parts])


def agreement(model: Path, picture: Path, more: list[str], out: Path) -> tuple[str, str]:
    """Return what was explained, and how far the map's blocks are from the differences of the score."""
    said, record = explained(model, picture, [*more, "--method", "inputxgradient", "--raw", "--threads", "1"], out)
    if not record:
        return said.told, "refused | | | "
    explanation = record["images"][0]["explanations"][0]
    score, x = scored(model, record, picture)
    file = next(out.glob("*.npy"))
    axes = (2, 3) if x.shape[1] in (1, 3) else (1, 2)
    wanted, got = differences(score, x, axes), blocks(np.load(file).reshape([x.shape[a] for a in axes]))
    off = np.abs(wanted - got) / np.abs(wanted).max()
    low, middle, high = np.quantile(off, [0.1, 0.5, 0.9])
    return str(explanation["label"]), f"{len(off)} | {middle:.1e} | {low:.1e} | {high:.1e}"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("--only", default="", metavar="WORD,WORD", help="nets with one of these words in their names")
    p.add_argument("--picture", type=Path, default=PICTURE)
    a = p.parse_args()
    print(
        "| net | meaning | the plain command | then | explained | n | median | 10 % | 90 % |\n"
        "| --- | --- | --- | --- | --- | ---: | ---: | ---: | ---: |"
    )
    for name, (kind, then) in NETS.items():
        model = a.folder / name / "model.onnx"
        if not any(word in name for word in a.only.split(",")) or not model.is_file():
            continue
        other = a.picture.with_name("star.png")
        more = shlex.split(
            then.replace("PICTURE", str(other)).replace("OTHER", str(other)).replace("FOLDER", str(model.parent))
        )
        known = [w for flag in SAID if flag in more for w in (flag, more[more.index(flag) + 1])]
        seen = fgcam("inspect", str(model), "--json", *known)
        report = json.loads(seen.text) if seen.code == 0 else {}
        head = report.get("head") or {}
        with tempfile.TemporaryDirectory() as out:
            label, off = agreement(model, a.picture, more, Path(out) / "then")
            plain, record = explained(model, a.picture, [], Path(out) / "plain") if then else (Answer(0, label), {})
            told = record["images"][0]["explanations"][0]["label"] if record else plain.told
        row = [kind, head.get("meaning", "-"), re.sub("[|]", "/", told), f"`{then}`" if then else "", label, off]
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
