"""A small PyTorch net of smooth activations: its second derivatives are not 0, as those of ReLU nets are."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SmoothNet(nn.Module):
    """Map (N, 3, 24, 24) to (N, 6) logits through SiLU, GELU, a gate, a softmax over space and tanh."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.SiLU())
        self.body = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.GELU(), nn.MaxPool2d(3, 1, 1))
        self.gate = nn.Conv2d(12, 12, 1)
        self.look = nn.Conv2d(12, 1, 1)
        self.norm = nn.LayerNorm(12)
        self.head = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 6))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 6) logits."""
        x = self.body(self.stem(x))
        x = x * torch.sigmoid(self.gate(x))
        weight = torch.softmax(self.look(x).flatten(2), 2)
        return self.head(self.norm((x.flatten(2) * weight).sum(2)))


def smooth_net() -> SmoothNet:
    """Return the net with seeded weights, large enough that it bends."""
    torch.manual_seed(0)
    net = SmoothNet().eval()
    for parameter in net.parameters():
        if parameter.ndim > 1:
            parameter.data *= 2
    return net
