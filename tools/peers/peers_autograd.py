"""Where PyTorch's gradient is wrong: a difference of its own float64 scores as the arbiter between it and ours.

Two networks of timm whose autograd does not agree with their own forward pass. Along a fixed random direction v: the
central difference of the score in float64, for steps of 1e-3, 1e-4 and 1e-5, PyTorch's gradient times v in float64, and
ours times v::

    python tools/peers/peers_autograd.py
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision_cpu  # noqa: F401  before what imports torchvision
from torch_files import exported

import fgcam_onnx

NETS = ("levit_128s", "xcit_nano_12_p8_224")
STEPS = (1e-3, 1e-4, 1e-5)


def ours(file: Path, x: torch.Tensor, v: torch.Tensor, target: int) -> float:
    """Return our gradient times ``v``, by input times gradient of the channels' parts at the input."""
    explainer = fgcam_onnx.Explainer(file, method="inputxgradient")
    map_ = explainer(x.numpy(), target=target).map[0]
    ratio = (v / x).numpy()[0]
    if not np.ptp(ratio, axis=0).max() < 1e-3:
        raise ValueError("v must be a multiple of x at each place")
    return float((map_.astype(np.float64) * ratio[0]).sum())


def main() -> None:
    import timm

    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    steps = ", ".join(f"{s:g}" for s in STEPS)
    print(f"torch {torch.__version__}, timm {timm.__version__}; steps of {steps}\n")
    print("| net | difference of torch's float64 scores | torch autograd · v | our gradient · v |")
    print("| --- | ---: | ---: | ---: |")
    for name in NETS:
        torch.manual_seed(0)
        net: Any = timm.create_model(name).eval()
        rng = torch.Generator().manual_seed(1)
        x = torch.rand(1, 3, 224, 224, generator=rng) + 0.5
        v = x * torch.randn(1, 1, 224, 224, generator=rng)
        with tempfile.TemporaryDirectory() as folder:
            target = int(net(x).argmax())
            found = ours(exported(net, Path(folder), name, x), x, v, target)
        wide, x64, v64 = net.double(), x.double(), v.double()
        leaf = x64.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(wide(leaf)[0, target], leaf)
        with torch.no_grad():
            slopes = [float((wide(x64 + s * v64) - wide(x64 - s * v64))[0, target]) / (2 * s) for s in STEPS]
        told = " ".join(f"{s:.8e}" for s in slopes)
        print(f"| {name} | {told} | {float((gradient * v64).sum()):.8e} | {found:.8e} |", flush=True)


if __name__ == "__main__":
    main()
