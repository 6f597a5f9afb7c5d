"""Small nets of PyTorch's own layers, one of each kind of output, for ``export_kinds.py``."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Made:
    """A net, what it is traced with, and the names of its inputs and outputs."""

    net: nn.Module
    given: tuple[Any, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    free: bool = True
    dynamo: bool = False
    config: dict[str, Any] | None = None


def picture(side: int, width: int = 0, channels: int = 3) -> Tensor:
    return torch.randn(1, channels, side, width or side, generator=torch.Generator().manual_seed(1))


class Taken(nn.Module):
    """A net of transformers that returns the fields named, or everything of a plain one."""

    def __init__(self, net: nn.Module, *fields: str, names: tuple[str, ...] = ("pixel_values",)) -> None:
        super().__init__()
        self.net, self.fields, self.names = net, fields, names

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Return the fields."""
        found = self.net(**dict(zip(self.names, given, strict=True)))
        return tuple(getattr(found, f) for f in self.fields)


def conv(*sizes: int, stride: int = 2) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Conv2d(a, b, 3, stride, 1), nn.ReLU()]
    return nn.Sequential(*layers)


class Siamese(nn.Module):
    """Two pictures, and how alike they are: a shared tower, the distance, a verdict."""

    def __init__(self) -> None:
        super().__init__()
        self.tower, self.verdict = (
            nn.Sequential(conv(3, 16, 32, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            nn.Linear(64, 1),
        )

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Return how alike they are."""
        return torch.sigmoid(self.verdict((self.tower(left) - self.tower(right)).abs()))


class Crnn(nn.Module):
    """A reader of lines: convolutions, a recurrent net along the line, scores of signs at each step."""

    def __init__(self, signs: int = 37) -> None:
        super().__init__()
        self.features = nn.Sequential(conv(1, 16, 32), nn.Conv2d(32, 64, (8, 3), 1, (0, 1)), nn.ReLU())
        self.along, self.scores = nn.LSTM(64, 32, bidirectional=True), nn.Linear(64, signs)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores of signs, (steps, N, signs)."""
        steps = self.features(x).squeeze(2).permute(2, 0, 1)
        return self.scores(self.along(steps)[0]).log_softmax(2)


class Autoencoder(nn.Module):
    """A picture to a code and back."""

    def __init__(self) -> None:
        super().__init__()
        self.coded = conv(3, 16, 32, 64)
        self.decoded = nn.Sequential(
            nn.ConvTranspose2d(64, 32, 2, 2), nn.ReLU(), nn.ConvTranspose2d(32, 16, 2, 2), nn.ReLU(),
            nn.ConvTranspose2d(16, 3, 2, 2), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Return the picture made anew."""
        return self.decoded(self.coded(x))


class Ages(nn.Module):
    """One number of a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.age = (
            nn.Sequential(conv(3, 16, 32, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            nn.Linear(64, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the number."""
        return self.age(self.features(x))


class Points(nn.Module):
    """Heat maps of the points of a body."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.maps = conv(3, 16, 32), nn.Conv2d(32, 17, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps."""
        return self.maps(self.features(x))


def plain(
    net: Callable[[], nn.Module], *given: Tensor, inputs: str = "input", outputs: str = "output", **more: Any
) -> Callable[[], Made]:
    return lambda: Made(net(), given, tuple(inputs.split()), tuple(outputs.split()), **more)
