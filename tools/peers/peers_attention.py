"""Compare attnlrp and chefer with direct computations in PyTorch on timm's vision transformers (random weights).

AttnLRP by autograd alone: with the spread of normalizations, and the slope ``f(x) / x`` of activations, held
constant and the gradients of products of two tensors halved, input times gradient is its relevance from the logit
on, as epsilon goes to 0. Chefer's method by the attention weights and their gradients, kept while the net runs::

    pip install "torch==2.13.0" timm==1.0.31
    python tools/peers/peers_attention.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torchvision_cpu  # noqa: F401  before what imports torchvision
from torch import Tensor, nn

import timm  # isort: skip

import fgcam_onnx

SIDE, PATCH = 96, 16
NETS: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": {"depth": 4},
    "deit_tiny_distilled_patch16_224": {"depth": 3},
    "vit_small_patch16_18x2_224": {"depth": 3, "embed_dim": 96, "num_heads": 3},
    "vit_tiny_patch16_224 without class token": {"depth": 3, "class_token": False, "global_pool": "avg"},
}


class Halved(torch.autograd.Function):
    """The identity, whose gradient is halved."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return ``x``."""
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        """Return half of ``g``."""
        return g / 2


class Attention(nn.Module):
    """timm's attention, its weights kept; with ``halved`` the gradients of its two products are halved."""

    def __init__(self, inner: Any, *, halved: bool) -> None:
        super().__init__()
        self.inner, self.halved = inner, halved

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        """Attend."""
        a = self.inner
        n, t, c = x.shape
        half = Halved.apply if self.halved else lambda v: v
        q, k, v = a.qkv(x).reshape(n, t, 3, a.num_heads, c // a.num_heads).permute(2, 0, 3, 1, 4)
        self.weights = half((q * a.scale) @ k.transpose(-2, -1)).softmax(-1)
        self.weights.retain_grad()
        return a.proj(half(self.weights @ v).transpose(1, 2).reshape(n, t, c))


class Normalization(nn.Module):
    """LayerNorm with its spread held constant."""

    def __init__(self, inner: nn.LayerNorm) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Normalize."""
        centred = x - x.mean(-1, keepdim=True)
        spread = (centred.square().mean(-1, keepdim=True) + self.inner.eps).sqrt().detach()
        return centred / spread * self.inner.weight + self.inner.bias


class Activation(nn.Module):
    """GELU as ``x`` times a constant slope."""

    def forward(self, x: Tensor) -> Tensor:
        """Activate."""
        safe = torch.where(x == 0, 1, x)
        return x * (nn.functional.gelu(safe) / safe).detach()


def replaced(net: nn.Module, *, relevance: bool) -> list[Attention]:
    """Put the modules above in place of timm's, and return the attentions."""
    found = []
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__ == "Attention":
                found.append(Attention(child, halved=relevance))
                setattr(parent, name, found[-1])
            elif relevance and isinstance(child, nn.LayerNorm):
                setattr(parent, name, Normalization(child))
            elif relevance and isinstance(child, nn.GELU):
                setattr(parent, name, Activation())
    return found


def net_of(name: str) -> nn.Module:
    """Return a seeded net whose shifts and biases are not 0."""
    torch.manual_seed(0)
    net = timm.create_model(name.split()[0], img_size=SIDE, num_classes=10, **NETS[name]).eval()
    for p in net.parameters():
        p.data += 0.05 * torch.randn_like(p)
    return net


def attn_lrp(name: str, x: Tensor) -> np.ndarray:
    """Return input times modified gradient, summed over the channels."""
    net = net_of(name).double()
    replaced(net, relevance=True)
    x = x.double().requires_grad_()
    net(x).max(1).values.sum().backward()
    return (x * x.grad).sum(1).detach().numpy()


def chefer(name: str, x: Tensor) -> np.ndarray:
    """Return the row of the tokens that the score is read from, on the grid of patches."""
    net = net_of(name).double()
    attentions = replaced(net, relevance=False)
    net(x.double()).max(1).values.sum().backward()
    side = SIDE // PATCH
    count = attentions[0].weights.shape[-1]
    prefix = count - side * side
    total = torch.eye(count, dtype=torch.float64).expand(len(x), -1, -1)
    for a in attentions:
        step = (a.weights.grad * a.weights).clamp(min=0).mean(1)
        total = total + step @ total
    read = total[:, :prefix] if prefix else total
    rows = read.mean(1) - (torch.eye(count)[prefix:].mean(0) if not prefix else 0)
    return rows[:, prefix:].reshape(-1, side, side).detach().numpy()


def exported(net: nn.Module) -> onnx.ModelProto:
    """Return the net as a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        torch.onnx.export(
            net, (torch.zeros(2, 3, SIDE, SIDE),), path, dynamo=False, opset_version=17,
            input_names=["input"], output_names=["logits"], dynamic_axes={"input": {0: "n"}, "logits": {0: "n"}},
        )  # fmt: skip
        return onnx.load(path)


def main() -> None:
    """Print the largest difference over the largest magnitude, per net and method."""
    torch.set_num_threads(1)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, SIDE, SIDE)).astype(np.float32))
    failed = []
    for name in NETS:
        proto = exported(net_of(name))
        for method, peer, options in (
            ("attnlrp", attn_lrp, {"start": "logit", "epsilon": 1e-12}),
            ("chefer", chefer, {}),
        ):
            expected = peer(name, x)
            found = fgcam_onnx.explain(proto, x.numpy(), method=method, **options).map
            off = np.abs(found - expected).max() / np.abs(expected).max()
            print(f"{name:<45}{method:<10}{off:.1e}", flush=True)
            if off > 1e-3:
                failed.append(f"{name} {method}")
    if failed:
        raise SystemExit(f"off by more than 1e-3: {', '.join(failed)}")


if __name__ == "__main__":
    main()
