"""Export small nets with random weights, one of each kind of output: what ``kinds.py`` explains.

In an environment of its own (for what is installed without its dependencies no more is needed)::

    pip install torch==2.13.0 onnx onnxruntime onnxscript transformers==5.24.0 opencv-python-headless scipy matplotlib
    pip install psutil pyyaml
    pip install --no-deps torchvision==0.28.0 ultralytics==8.4.190
    python tools/coverage/export_kinds.py FOLDER [--only WORD]

Nothing is downloaded: Ultralytics' nets come from their yaml, transformers' from a configuration. Files are exported as
their makers do: by Ultralytics' own exporter, and else by PyTorch's TorchScript exporter.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from kinds_known import clip, depth, detr, faster, lraspp, rtdetr, segformer, ssd, ssd_heads, tower, vit
from kinds_small import Ages, Autoencoder, Crnn, Made, Points, Siamese, picture, plain
from onnx import numpy_helper
from torch import nn

os.environ |= {
    "YOLO_AUTOINSTALL": "False",
    "YOLO_OFFLINE": "True",
    "HF_HUB_OFFLINE": "1",
    "YOLO_CONFIG_DIR": tempfile.gettempdir(),
}
warnings.filterwarnings("ignore")

LAST = re.compile(r"(cv3\.\d\.2|head\.3)\.weight$")
"""The last layers of a YOLO, of class scores or of a depth, by their weights."""

LARGEST = 4.0
"""Magnitude of the largest raw number on noise from 0 to 1."""

NETS: dict[str, Callable[[], Made]] = {
    "age": plain(Ages, picture(96)),
    "autoencoder": plain(Autoencoder, picture(96)),
    "clip": clip,
    "clip_tower": tower,
    "crnn": plain(Crnn, picture(32, 128, 1)),
    "depth_glpn": depth,
    "detr": detr,
    "fasterrcnn": faster,
    "lraspp": lraspp,
    "points": plain(Points, picture(96)),
    "rtdetr": rtdetr,
    "segformer": segformer,
    "siamese": plain(Siamese, picture(96), picture(96).flip(3), inputs="left right"),
    "ssdlite": ssd,
    "ssdlite_heads": ssd_heads,
    "vit": vit,
}


ULTRALYTICS: dict[str, dict[str, Any]] = {
    "rtdetr-resnet50": {},
    "yolo11n": {},
    "yolo11n-nms": {"nms": True, "conf": 1e-5},
    "yolo26n-depth": {},
    "yolo26n-obb": {"nms": False},
    "yolo26n-pose": {"nms": False},
    "yolo26n-seg": {"nms": False},
    "yolo26n-sem": {},
    "yolov10n": {"nms": False},
    "yolov8n": {},
    "yolov8n-cls": {},
    "yolov8n-obb": {},
    "yolov8n-pose": {},
    "yolov8n-seg": {},
}


def settled(net: nn.Module, *given: Any) -> nn.Module:
    """Give BatchNormalization the statistics of pictures, so that what comes out depends on what goes in."""
    net.eval()
    layers = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for m in layers:
        m.reset_running_stats()
        m.momentum = None
    if layers:
        for m in layers:
            m.train()
        try:
            with torch.no_grad():
                net(*(torch.cat([g, g.flip(2), g.flip(3), -g]) if g.is_floating_point() else g for g in given))
        except ValueError:  # a layer of one position at a batch of one has no statistics
            pass
        for m in layers:
            m.eval()
    return net


def export(name: str, folder: Path) -> Path:
    """Write one net."""
    torch.manual_seed(0)
    made = NETS[name]()
    net = settled(made.net, *made.given)
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    path = target / "model.onnx"
    given = made.given if len(made.given) > 1 else made.given[0]
    axes = {n: {0: "batch"} for n in (*made.inputs, *made.outputs)} if made.free else None
    with torch.no_grad():
        torch.onnx.export(
            net,
            given,
            str(path),
            input_names=list(made.inputs),
            output_names=list(made.outputs),
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )
    if made.config is not None:
        (target / "config.json").write_text(json.dumps(made.config, default=str))
    return path


def softened(path: Path) -> None:
    """Scale the last layers down in the file: random ones end in a sigmoid's 1.0 or a clip, without a slope."""
    file = onnx.load(path)
    last = [n for n in file.graph.node if n.op_type == "Conv" and LAST.search(n.input[1])]
    if not last:
        return
    file.graph.output.extend(onnx.ValueInfoProto(name=n.output[0]) for n in last)
    session = onnxruntime.InferenceSession(file.SerializeToString())
    noise = np.random.default_rng(0).random((1, 3, 160, 160), dtype=np.float32)
    found = session.run([n.output[0] for n in last], {session.get_inputs()[0].name: noise})
    factor = min(1.0, LARGEST / max(float(np.abs(f).max()) for f in found))
    del file.graph.output[-len(last) :]
    scaled = {name for n in last for name in n.input[1:]}
    for tensor in file.graph.initializer:
        if tensor.name in scaled:
            tensor.CopyFrom(numpy_helper.from_array(np.float32(factor) * numpy_helper.to_array(tensor), tensor.name))
    onnx.save(file, path)


def export_ultralytics(name: str, folder: Path) -> Path:
    """Write one net of Ultralytics by its own exporter."""
    from ultralytics import RTDETR, YOLO

    torch.manual_seed(0)
    yaml = name.removesuffix("-nms")
    net = (RTDETR if yaml.startswith("rtdetr") else YOLO)(f"{yaml}.yaml")
    settled(net.model, picture(160))
    (folder / name).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as there:
        before = os.getcwd()
        os.chdir(there)
        try:
            written = net.export(format="onnx", imgsz=160, simplify=False, opset=17, **ULTRALYTICS[name])
            shutil.move(Path(there) / written, folder / name / "model.onnx")
            softened(folder / name / "model.onnx")
        finally:
            os.chdir(before)
    return folder / name / "model.onnx"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("--only", default="")
    a = p.parse_args()
    a.folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in [*NETS, *ULTRALYTICS]:
        if a.only not in name:
            continue
        try:
            path = (export if name in NETS else export_ultralytics)(name, a.folder.resolve())
            print(f"{path}: {path.stat().st_size / 2**20:.1f} MB", flush=True)
        except Exception as error:  # an exporter's refusal is a line, not the end
            failed += 1
            print(f"{name} does not export: {type(error).__name__}: {str(error)[:600]}", file=sys.stderr, flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
