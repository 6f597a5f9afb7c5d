"""Train the two small classifiers of `exported_models/` on drawn shapes and export them.

Each net goes through both PyTorch exporters and gets a preprocessing sidecar per file::

    pip install "torch==2.13.0"
    pip install numpy pillow onnx onnxscript onnxruntime
    python tools/training/train_shapes.py exported_models

Pictures and trained weights are kept in the cache folder and used again; delete it to start afresh.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from shapes import CLASSES, SIDE, generate
from torch import Tensor, nn

TRAIN_COUNT, TRAIN_SEED = 12_000, 1
HELD_OUT_COUNT, HELD_OUT_SEED = 2_000, 2
BATCH = 64
SCALE = 1 / 255
MEAN, STD = 0.476, 0.158
KEPT_METADATA = {"namespace", "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy"}


def conv_block(inputs: int, outputs: int) -> list[nn.Module]:
    """Return a 3x3 convolution that keeps the picture's size, its normalisation and a ReLU."""
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


class ShapeVGG(nn.Module):
    """Map (N, 3, 96, 96) pictures to (N, 8) logits by runs of convolutions, each halved by a max pool."""

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 3
        for outputs, depth in ((16, 1), (32, 2), (48, 2), (64, 2)):
            for _ in range(depth):
                layers += conv_block(width, outputs)
                width = outputs
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        flat = width * (SIDE // 16) ** 2
        self.classifier = nn.Sequential(
            nn.Linear(flat, hidden), nn.ReLU(inplace=True), nn.Dropout(0.3), nn.Linear(hidden, len(CLASSES))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 8) logits."""
        return self.classifier(torch.flatten(self.features(x), 1))


class BasicBlock(nn.Module):
    """Add two 3x3 convolutions to a shortcut, halving the picture when `stride` is 2."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + shortcut)


class ShapeResNet(nn.Module):
    """Map (N, 3, 96, 96) pictures to (N, 8) logits by four residual stages of 48, 24, 12 and 6 a side."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = BasicBlock(16, 16, 1)
        self.layer2 = nn.Sequential(BasicBlock(16, 24, 2), BasicBlock(24, 24, 1))
        self.layer3 = BasicBlock(24, 48, 2)
        self.layer4 = BasicBlock(48, 88, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(88, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 8) logits."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


NETS: dict[str, type[nn.Module]] = {"vgg_shapes": ShapeVGG, "resnet_shapes": ShapeResNet}


def pictures(count: int, seed: int, cache: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 (N, 96, 96, 3) pictures and int64 (N,) labels, drawn once and kept in the cache."""
    path = cache / f"shapes.{seed}.{count}.npz"
    if not path.exists():
        images, labels, _ = generate(count, seed)
        np.savez(path, images=images, labels=labels)
    stored = np.load(path)
    return stored["images"], stored["labels"]


def prepared(images: np.ndarray) -> Tensor:
    """Return the float32 (N, 3, 96, 96) input of uint8 (N, 96, 96, 3) pictures."""
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() * SCALE - MEAN) / STD


def varied(x: Tensor) -> Tensor:
    """Return an (N, 3, H, H) batch turned, mirrored and with its colours swapped at random, as one."""
    x = x[:, torch.randperm(3)]
    x = torch.rot90(x, int(torch.randint(4, ())), (2, 3))
    return x.flip(3) if torch.rand(()) < 0.5 else x


def train(net: nn.Module, images: np.ndarray, labels: np.ndarray, epochs: int) -> None:
    """Fit a net in place to uint8 (N, 96, 96, 3) pictures and their (N,) labels."""
    steps = len(images) // BATCH
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, epochs * steps)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    net.train().to(memory_format=torch.channels_last)
    started = time.perf_counter()
    for epoch in range(epochs):
        total = 0.0
        for chosen in torch.randperm(len(images))[: steps * BATCH].reshape(steps, BATCH).numpy():
            batch = varied(prepared(images[chosen])).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                logits = net(batch)
            loss = loss_of(logits.float(), torch.from_numpy(labels[chosen]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(f"  epoch {epoch + 1} loss {total / steps:.3f} {time.perf_counter() - started:.0f} s", flush=True)
    net.to(memory_format=torch.contiguous_format).eval()


def trained(name: str, cache: Path, epochs: int) -> nn.Module:
    """Return a net in inference mode with trained weights, from the cache where it has them."""
    torch.manual_seed(0)
    net, path = NETS[name](), cache / f"{name}.pt"
    if path.exists():
        net.load_state_dict(torch.load(path))
    else:
        train(net, *pictures(TRAIN_COUNT, TRAIN_SEED, cache), epochs)
        torch.save(net.state_dict(), path)
    return net.eval()


def strip_traces(path: Path) -> None:
    """Drop every note of an exported file but the names and classes of the modules its nodes come from."""
    model = onnx.load(path)
    graph = model.graph
    for part in (
        model,
        graph,
        *graph.node,
        *graph.initializer,
        *graph.value_info,
        *graph.input,
        *graph.output,
    ):
        kept = [entry for entry in part.metadata_props if entry.key in KEPT_METADATA]
        del part.metadata_props[:]
        part.metadata_props.extend(kept)
        part.doc_string = ""
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def export(net: nn.Module, folder: Path, name: str) -> list[Path]:
    """Write the net to a folder by both exporters and return the paths of the two files."""
    example, names = (torch.zeros(2, 3, SIDE, SIDE),), {"input_names": ["input"], "output_names": ["logits"]}
    script, dynamo = folder / f"{name}.torchscript.onnx", folder / f"{name}.dynamo.onnx"
    axes = {"input": {0: "batch"}, "logits": {0: "batch"}}
    torch.onnx.export(net, example, script, dynamo=False, opset_version=17, dynamic_axes=axes, **names)
    shapes = ({0: torch.export.Dim("batch")},)
    torch.onnx.export(
        net,
        example,
        dynamo,
        dynamo=True,
        opset_version=18,
        external_data=False,
        dynamic_shapes=shapes,
        **names,
    )
    for path in (script, dynamo):
        strip_traces(path)
    return [script, dynamo]


def logits_of(path: Path, x: np.ndarray) -> np.ndarray:
    """Return the (N, 8) logits ONNX Runtime finds for an (N, 3, 96, 96) input, 100 pictures at a time."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"input": x[at : at + 100]})[0] for at in range(0, len(x), 100)])


def write_sidecar(
    path: Path,
    accuracy: float,
    *,
    count: int = HELD_OUT_COUNT,
    seed: int = HELD_OUT_SEED,
    tool: str = Path(__file__).name,
) -> None:
    """Write the preprocessing, labels and accuracy on ``count`` held-out pictures of an exported file beside it."""
    preprocess = {
        "size": [SIDE, SIDE],
        "resize": "stretch",
        "layout": "NCHW",
        "channels": "RGB",
        "scale": SCALE,
        "mean": [MEAN] * 3,
        "std": [STD] * 3,
    }
    source = f"tools/training/shapes.py, seed {seed}"
    sidecar = {
        "preprocess": preprocess,
        "labels": "shapes.labels.txt",
        "accuracy": round(accuracy, 4),
        "accuracy_on": f"{count} held-out generated pictures ({source})",
        "made_by": f"tools/training/{tool}",
        "licence": "Apache-2.0",
    }
    path.with_suffix(".json").write_text(json.dumps(sidecar, indent=2) + "\n")


def main() -> None:
    """Train, export and measure the nets."""
    parser = argparse.ArgumentParser(description="train and export the shape classifiers")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "shapes_cache")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--only", choices=NETS, help="make one net instead of both")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for folder in (arguments.folder, arguments.cache):
        folder.mkdir(parents=True, exist_ok=True)
    (arguments.folder / "shapes.labels.txt").write_text("\n".join(CLASSES) + "\n")
    images, labels = pictures(HELD_OUT_COUNT, HELD_OUT_SEED, arguments.cache)
    x = prepared(images)
    for name in [arguments.only] if arguments.only else NETS:
        net = trained(name, arguments.cache, arguments.epochs)
        with torch.no_grad():
            expected = torch.cat([net(part) for part in x.split(100)]).numpy()
        for path in export(net, arguments.folder, name):
            found = logits_of(path, x.numpy())
            error = float(np.abs(found - expected).max())
            if error > 1e-4:
                raise SystemExit(f"{path.name} is off by {error:.1e} from PyTorch")
            accuracy = float((found.argmax(1) == labels).mean())
            write_sidecar(path, accuracy)
            print(f"{path.name}: accuracy {accuracy:.4f}, off by {error:.1e}, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
