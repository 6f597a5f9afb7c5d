"""Compare Grad-CAM and LayerCAM at layers of tokens with pytorch-grad-cam's and its ``reshape_transform``.

timm's networks with seeded random weights, exported by the TorchScript exporter, whose names keep the modules; raw maps
of the top class, as max |difference| / max |theirs|::

    python tools/peers/peers_tokens.py [--only deit]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision_cpu  # noqa: F401  before what imports torchvision

import pytorch_grad_cam as peer  # isort: skip
from peers_gradcam import Case, apart, raw_map
from torch_files import exported

import fgcam_onnx

METHODS = {"gradcam": peer.GradCAM, "layercam": peer.LayerCAM}


def square(v: torch.Tensor, *, extra: int = 0) -> torch.Tensor:
    """Fold tokens (N, extra + side * side, C) to (N, C, side, side)."""
    v = v[:, extra:]
    side = round(v.shape[1] ** 0.5)
    return v.reshape(len(v), side, side, -1).permute(0, 3, 1, 2)


def channels_last(v: torch.Tensor) -> torch.Tensor:
    return v.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Net:
    """A network of timm: its layers, how its tokens are folded, and the side of its pictures."""

    layers: tuple[str, ...]
    folded: Callable[[torch.Tensor], torch.Tensor] | None
    side: int = 224


NETS = {
    "deit_tiny_patch16_224": Net(("blocks.11.norm1", "blocks.9"), lambda v: square(v, extra=1)),
    "swinv2_tiny_window16_256": Net(("norm", "layers.2"), channels_last, 256),
    "xcit_nano_12_p8_224": Net(("blocks.11",), square),
    "cait_xxs24_224": Net(("blocks.23",), square),
    "convnext_tiny": Net(("stages.3",), None),
}


def case_of(name: str, net: Net, folder: Path) -> Case:
    """Return the network as PyTorch and as a file."""
    import timm

    torch.manual_seed(0)
    module: Any = timm.create_model(name).eval()
    x = torch.randn(1, 3, net.side, net.side, generator=torch.Generator().manual_seed(1))
    layers = {layer: layer for layer in net.layers}
    return Case(name, module, exported(module, folder, name, x), x, layers, "", folded=net.folded)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="networks with this in their name")
    only = parser.parse_args().only
    print(f"| model | layer | {' | '.join(METHODS)} |\n| --- | --- |{' --- |' * len(METHODS)}")
    with tempfile.TemporaryDirectory() as folder:
        for name, net in NETS.items():
            if only not in name:
                continue
            case = case_of(name, net, Path(folder))
            top = case.net(case.x).argmax(1).tolist()
            for layer in net.layers:
                figures = []
                for method, cls in METHODS.items():
                    theirs = raw_map(cls, case, case.net.get_submodule(layer))
                    explained = fgcam_onnx.explain(case.file, case.x.numpy(), method=method, layers=layer, target=top)
                    figures.append(apart(explained.map, theirs))
                print(f"| {name} | {layer} | {' | '.join(f'{f:.1e}' for f in figures)} |", flush=True)


if __name__ == "__main__":
    main()
