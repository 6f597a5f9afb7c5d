"""Train the small transformer and the small detector of `exported_models/` and export them.

Both begin with the first three stages of `resnet_shapes`, as it is: what follows learns on their features, in minutes.
In the environment of `train_shapes.py`::

    python tools/training/train_kinds.py exported_models

Pictures and trained weights are kept in the cache folder and used again; delete it to start afresh.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from shapes import CLASSES, SIDE, generate, generate_several
from torch import Tensor, nn
from torch.nn import functional
from train_shapes import BATCH, logits_of, prepared, strip_traces, write_sidecar

TRAIN_COUNT, HELD_OUT_COUNT = 8_000, 1_000
SEEDS = {"vit_shapes": (3, 2), "boxes_shapes": (4, 5)}
STRIDE, FEATURES = 8, 48
WIDTHS = {
    "stem": (3, 16, 2),
    "layer1": (16, 16, 1),
    "layer2.0": (16, 24, 2),
    "layer2.1": (24, 24, 1),
    "layer3": (24, 48, 2),
}
"""Channels in and out and stride of the stages that are taken over."""


class Plain(nn.Module):
    """A residual block whose normalisations are in its weights; convolutions in the order of the exported nodes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.downsample = nn.Conv2d(inputs, outputs, 1, stride) if stride != 1 or inputs != outputs else nn.Identity()
        self.conv1, self.conv2 = nn.Conv2d(inputs, outputs, 3, stride, 1), nn.Conv2d(outputs, outputs, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, H / stride, W / stride)."""
        return functional.relu(self.conv2(functional.relu(self.conv1(x))) + self.downsample(x))


def stages(folder: Path) -> nn.Sequential:
    """Return the stages of `resnet_shapes` up to its 12 x 12 features, with the weights of the exported file."""
    made = nn.Sequential()
    for inputs, outputs, stride in WIDTHS:
        stem = nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.ReLU())
        made.append(Plain(inputs, outputs, stride) if len(made) else stem)
    graph = onnx.load(folder / "resnet_shapes.torchscript.onnx").graph
    stored = {w.name: numpy_helper.to_array(w).copy() for w in graph.initializer}
    convolutions = [n for n in graph.node if n.op_type == "Conv"]
    own = [m for m in made.modules() if isinstance(m, nn.Conv2d)]
    for module, node in zip(own, convolutions, strict=False):
        weight, bias = (torch.from_numpy(stored[name]) for name in node.input[1:3])
        module.weight.data.copy_(weight)
        module.bias.data.copy_(bias)
    return made.requires_grad_(False).eval()


class Block(nn.Module):
    """Attention and a perceptron, each behind a norm and beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, T, width) tokens."""
        n, tokens, width = x.shape
        parts = self.qkv(self.norm1(x)).reshape(n, tokens, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        weights = (q @ k.transpose(-2, -1) * (width // self.heads) ** -0.5).softmax(-1)
        x = x + self.proj((weights @ v).transpose(1, 2).reshape(n, tokens, width))
        return x + self.mlp(self.norm2(x))


class ShapeViT(nn.Module):
    """Map (N, 48, 12, 12) features to (N, 8) logits: a token for each place and one for the class, then attention."""

    def __init__(self, width: int = 32, depth: int = 2, heads: int = 2) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(FEATURES, width, 1)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.randn(1, (SIDE // STRIDE) ** 2 + 1, width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 8) logits, read from the class token."""
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


class ShapeBoxes(nn.Module):
    """Map (N, 48, 12, 12) features to (N, 4 + 8, 144): for each cell a box ``cx, cy, w, h`` in pixels and 8 scores."""

    def __init__(self) -> None:
        super().__init__()
        neck: list[nn.Module] = []
        for _ in range(3):
            neck += [nn.Conv2d(FEATURES, FEATURES, 3, padding=1), nn.ReLU()]
        self.neck = nn.Sequential(*neck)
        self.boxes, self.scores = nn.Conv2d(FEATURES, 4, 1), nn.Conv2d(FEATURES, len(CLASSES), 1)
        nn.init.constant_(self.scores.bias, -4.0)
        step = torch.arange(STRIDE / 2, SIDE, STRIDE)
        self.register_buffer("centres", torch.stack(torch.meshgrid(step, step, indexing="xy")).reshape(1, 2, -1))

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, 4, 144) boxes in pixels and (N, 8, 144) logits."""
        x = self.neck(x)
        raw = self.boxes(x).flatten(2)
        centre = self.centres + STRIDE * raw[:, :2]
        size = 4 * STRIDE * raw[:, 2:].clamp(-4, 4).exp()
        return torch.cat([centre, size], 1), self.scores(x).flatten(2)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 12, 144), scores as probabilities."""
        boxes, logits = self.parts(x)
        return torch.cat([boxes, logits.sigmoid()], 1)


def corners(boxes: Tensor) -> Tensor:
    """Return ``x0, y0, x1, y1`` of (..., 4) boxes ``cx, cy, w, h``."""
    return torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1)


def overlaps(a: Tensor, b: Tensor) -> Tensor:
    """Return the generalized overlap of (..., 4) corners (Rezatofighi et al., 2019, arXiv:1902.09630)."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    inside = (high - low).clamp(min=0).prod(-1)
    union = sum((c[..., 2:] - c[..., :2]).prod(-1) for c in (a, b)) - inside
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1)
    return inside / union - (hull - union) / hull


def assigned(boxes: Tensor, labels: Tensor, centres: Tensor) -> Tensor:
    """Return for each of the (N, 144) cells which of the three objects it answers for, -1 for none."""
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    away = (middle[:, :, None] - centres[0].T).abs().amax(-1)
    away = torch.where(labels[..., None] >= 0, away, torch.inf)
    nearest, which = away.min(1)
    return torch.where(nearest < 1.2 * STRIDE, which, -1)


def loss_of_boxes(net: nn.Module, x: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
    """Return focal loss of the scores (Lin et al., 2017, arXiv:1708.02002) and generalized overlap of the boxes."""
    found, logits = net.parts(x)
    which = assigned(boxes, labels, net.centres)
    held = which >= 0
    at = which.clamp(min=0)
    wanted = functional.one_hot(labels.clamp(min=0).gather(1, at), len(CLASSES)).float() * held[..., None]
    plain = functional.binary_cross_entropy_with_logits(logits.transpose(1, 2), wanted, reduction="none")
    focal = ((1 - (-plain).exp()) ** 2 * plain).sum() / held.sum()
    true = boxes.gather(1, at[..., None].expand(-1, -1, 4))[held]
    return focal + 2 * (1 - overlaps(corners(found.transpose(1, 2)[held]), true)).mean()


def loss_of_classes(net: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy."""
    return functional.cross_entropy(net(x).float(), labels, label_smoothing=0.05)


def train(net: nn.Module, data: tuple[Tensor, ...], loss_of: Callable[..., Tensor], epochs: int, rate: float) -> None:
    """Fit a net in place to float32 (N, 48, 12, 12) features and what is wanted of their pictures."""
    features, *wanted = data
    steps = len(features) // BATCH
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.03)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, epochs * steps, pct_start=0.15)
    net.train()
    started = time.perf_counter()
    for epoch in range(epochs):
        total = 0.0
        for chosen in torch.randperm(len(features))[: steps * BATCH].reshape(steps, BATCH):
            loss = loss_of(net, features[chosen], *(w[chosen] for w in wanted))
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(f"  epoch {epoch + 1} loss {total / steps:.3f} {time.perf_counter() - started:.0f} s", flush=True)
    net.eval()


def drawn(name: str, count: int, seed: int, cache: Path) -> tuple[np.ndarray, ...]:
    """Return pictures and what is wanted of them, drawn once and kept in the cache."""
    path = cache / f"{name}.{seed}.{count}.npz"
    if not path.exists():
        held = generate(count, seed)[:2] if name == "vit_shapes" else generate_several(count, seed)
        np.savez(path, *held)
    stored = np.load(path)
    return tuple(stored[key] for key in stored.files)


def right(answers: np.ndarray, boxes: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of objects of which the best box of their class overlaps theirs by half or more."""
    found = torch.from_numpy(answers).transpose(1, 2)
    places, scores = corners(found[..., :4]), found[..., 4:]
    hits = total = 0
    for n, n_labels in enumerate(labels):
        for box, label in zip(boxes[n], n_labels, strict=True):
            if label >= 0 and (n_labels == label).sum() == 1:
                best = places[n, scores[n, :, label].argmax()]
                inside = (np.minimum(best[2:], box[2:]) - np.maximum(best[:2], box[:2])).clip(0).prod()
                union = (best[2:] - best[:2]).prod() + (box[2:] - box[:2]).prod() - inside
                hits, total = hits + bool(inside / union >= 0.5), total + 1
    return hits / total


def export(net: nn.Module, path: Path, output: str) -> None:
    """Write the net by the dynamo exporter, with a free batch."""
    torch.onnx.export(
        net,
        (torch.zeros(2, 3, SIDE, SIDE),),
        path,
        dynamo=True,
        opset_version=18,
        external_data=False,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        input_names=["input"],
        output_names=[output],
    )
    strip_traces(path)


def main() -> None:
    """Train, export and measure the nets."""
    parser = argparse.ArgumentParser(description="train and export the shape transformer and the shape detector")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "shapes_cache")
    parser.add_argument("--only", choices=SEEDS, help="make one net instead of both")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for folder in (arguments.folder, arguments.cache):
        folder.mkdir(parents=True, exist_ok=True)
    rows = {"vit_shapes": (ShapeViT, loss_of_classes, 5, 4e-3), "boxes_shapes": (ShapeBoxes, loss_of_boxes, 10, 4e-3)}
    first = stages(arguments.folder)
    for name in [arguments.only] if arguments.only else SEEDS:
        torch.manual_seed(0)
        make, loss_of, epochs, rate = rows[name]
        net, kept = make(), arguments.cache / f"{name}.pt"
        if kept.exists():
            net.load_state_dict(torch.load(kept))
        else:
            images, *wanted = drawn(name, TRAIN_COUNT, SEEDS[name][0], arguments.cache)
            with torch.no_grad():
                parts = [first(prepared(images[at : at + 100])) for at in range(0, len(images), 100)]
            data = (torch.cat(parts), *(torch.from_numpy(w) for w in wanted))
            train(net, data, loss_of, epochs, rate)
            torch.save(net.state_dict(), kept)
        net.eval()
        path = arguments.folder / f"{name}.dynamo.onnx"
        export(
            nn.Sequential(OrderedDict(stages=first, net=net)).eval(),
            path,
            "logits" if name == "vit_shapes" else "boxes",
        )
        images, *wanted = drawn(name, HELD_OUT_COUNT, SEEDS[name][1], arguments.cache)
        found = logits_of(path, prepared(images).numpy())
        accuracy = float((found.argmax(1) == wanted[0]).mean()) if name == "vit_shapes" else right(found, *wanted)
        write_sidecar(path, accuracy, count=HELD_OUT_COUNT, seed=SEEDS[name][1], tool=Path(__file__).name)
        print(f"{path.name}: {accuracy:.4f}, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
