"""Compare the gradient-free CAMs with pytorch-grad-cam and torchcam on the same nets.

What is compared is each package's raw map, before its ReLU and scaling, as max |difference| / max |theirs|; SS-CAM
gets our noise. Nets and packages are those of ``peers_gradcam.py``::

    python tools/peers/peers_masked.py
    python tools/peers/peers_masked.py --only resnet_shapes,vgg_shapes --write tests/goldens

``--write`` keeps the maps, against which ``tests/methods/test_masked.py`` holds ours.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers_gradcam import Case, apart, cases, peer, raw_map
from torchcam.methods import ISCAM, SSCAM

from fgcam_onnx import Explainer

SAMPLES = 4
LAYERS = {"resnet_shapes": "layer4", "vgg_shapes": "features.23"}
"""Where the small nets are compared; others at all layers of the case."""


class SharedNoise:
    """Stands in for torchcam's normal distribution: our noise, one field for all channels and images of a sample."""

    def __init__(self, *, std: float, size: tuple[int, int]) -> None:
        rng = np.random.default_rng(0)
        self.fields = ((std * rng.standard_normal(size)).astype(np.float32) for _ in iter(int, 1))

    def sample(self, size: torch.Size) -> torch.Tensor:
        """Return the next field, repeated to ``size``."""
        return torch.from_numpy(next(self.fields)).expand(size)


def torchcam_map(case: Case, layer: str, cls: Any) -> np.ndarray:
    """Return torchcam's map of the top classes, without its ReLU and scaling."""
    with torch.inference_mode(), cls(case.net, layer, num_samples=SAMPLES) as extractor:
        extractor._relu = False
        if cls is SSCAM:
            extractor._distrib = SharedNoise(std=extractor.std, size=tuple(case.x.shape[2:]))
        top = case.net(case.x).argmax(1).tolist()
        (found,) = extractor(top, normalized=False)
    return found.numpy()


METHODS: dict[str, tuple[Callable[[Case, str], np.ndarray], dict[str, int]]] = {
    "ablationcam": (lambda c, n: raw_map(peer.AblationCAM, c, c.net.get_submodule(n)), {}),
    "iscam": (lambda c, n: torchcam_map(c, n, ISCAM), {"samples": SAMPLES}),
    "scorecam": (lambda c, n: raw_map(peer.ScoreCAM, c, c.net.get_submodule(n)), {}),
    "sscam": (lambda c, n: torchcam_map(c, n, SSCAM), {"samples": SAMPLES}),
}


def compared(case: Case) -> Iterator[tuple[str, float, np.ndarray]]:
    """Yield (method at layer, distance, their map)."""
    for there, here in case.layers.items():
        if there == LAYERS.get(case.name, there):
            for method, (theirs, settings) in METHODS.items():
                with torch.no_grad():
                    expected = theirs(case, there)
                found = Explainer(case.file, method=method, layers=here, **settings)(case.x.numpy())
                yield f"{method}@{here}", apart(found.map, expected), expected


def main() -> None:
    """Compare, print, and keep what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="resnet_shapes,vgg_shapes", help="names of nets, with commas")
    parser.add_argument("--write", type=Path, help="keep the maps of each net there, as masked.NET.npz")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        made = cases(Path(scratch), None)
        for name in arguments.only.split(","):
            maps: dict[str, np.ndarray] = {}
            for key, distance, theirs in compared(made[name]()):
                print(f"{name:16} {key:28} {distance:.1e}", flush=True)
                maps[key] = theirs.astype(np.float32)
            if arguments.write is not None:
                np.savez_compressed(arguments.write / f"masked.{name}.npz", **maps)


if __name__ == "__main__":
    main()
