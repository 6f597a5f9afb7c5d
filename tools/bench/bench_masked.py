"""Time Score-CAM and Ablation-CAM beside pytorch-grad-cam and beside the model's own forward passes.

Each method explains one picture at a layer of a net of random weights, by default the deepest. Ours, as many batched
forward passes of the plain model as Score-CAM needs (channels kept + 1), and, where PyTorch is installed,
pytorch-grad-cam's run in turn, in one process, with the same number of threads and the same batch. The processor's
time is given beside the wall's: with one thread, other load on the machine touches it little::

    pip install "torch==2.13.0" torchvision grad-cam==1.5.7
    python tools/bench/bench_masked.py --net resnet18 --threads 1
    python tools/bench/bench_masked.py --memory 64 --batch 8
    python tools/bench/bench_masked.py --memory 2048 --batch 8

``--memory CHANNELS`` instead prints how much a Score-CAM of a small net with that many channels adds to the
process's largest size.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from nets import NETS, Net

from fgcam_onnx import Explainer, load
from fgcam_onnx.graph.score import find_score
from fgcam_onnx.layers.flow import flow_of
from fgcam_onnx.runtime import Session

METHODS = ("scorecam", "ablationcam")


@dataclass(frozen=True)
class Took:
    """Seconds of a run: the wall's and the processor's."""

    wall: float
    processor: float

    def ratio(self, other: Took) -> str:
        """Return both times as multiples of another's."""
        return f"{self.wall / other.wall:.2f} (wall) {self.processor / other.processor:.2f} (processor)"


def timed(run: Callable[[], Any]) -> tuple[Any, Took]:
    """Run and return the result with what it took."""
    wall, processor = time.perf_counter(), time.process_time()
    found = run()
    return found, Took(time.perf_counter() - wall, time.process_time() - processor)


class Peer:
    """A torchvision net of random weights and pytorch-grad-cam's methods on it."""

    LAYERS = {"mobilenet_v2": "features.18", "resnet18": "layer4", "resnet50": "layer4", "vgg16": "features.29"}  # noqa: RUF012

    def __init__(self, net: str, *, layer: str, threads: int, batch: int) -> None:
        import torch

        sys.path.append(str(Path(__file__).parents[1] / "peers"))
        import torchvision_cpu  # noqa: F401  before what imports torchvision

        import pytorch_grad_cam  # isort: skip
        import torchvision  # isort: skip

        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.torch, self.cams, self.batch = torch, pytorch_grad_cam, batch
        self.net = torchvision.models.get_model(net, weights=None).eval()
        self.layer = self.net.get_submodule(layer or self.LAYERS[net])

    def export(self, path: Path) -> None:
        """Write the net as exporters do."""
        self.torch.onnx.export(
            self.net, (self.torch.zeros(1, 3, 224, 224),), path, dynamo=False, opset_version=17,
            input_names=["input"], output_names=["logits"], dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}},
        )  # fmt: skip

    def run(self, method: str, x: np.ndarray) -> None:
        """Explain one picture."""
        cls = {"scorecam": self.cams.ScoreCAM, "ablationcam": self.cams.AblationCAM}[method]
        with self.torch.no_grad():
            cam = cls(self.net, [self.layer])
            cam.batch_size = self.batch
            cam(self.torch.from_numpy(x), None)
            cam.activations_and_grads.release()


def peer_of(net: str, **options: Any) -> Peer | None:
    """Return the peer, or None, saying why."""
    try:
        return Peer(net, **options)
    except ImportError as error:
        print(f"pytorch-grad-cam is left out: {error}")
        return None


def compare(net: str, *, layer: str, threads: int, batch: int, methods: list[str], folder: Path) -> None:
    """Time the methods on one net and print the ratios."""
    path, peer = folder / f"{net}.onnx", peer_of(net, layer=layer, threads=threads, batch=batch)
    if peer is not None:
        peer.export(path)
        layer = layer or Peer.LAYERS[net]
    elif net in NETS:
        onnx.save(NETS[net](), path)
    else:
        print(f"{net} is torchvision's, which is not installed; without it there are {', '.join(NETS)}")
        return
    model = load(path)
    x = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)
    for method in methods:
        counted: list[int] = []
        explainer = Explainer(
            model, method=method, layers=layer or None, threads=threads, batch=batch,
            progress=lambda _, total, to=counted: to.append(total),
        )  # fmt: skip
        explainer(x)
        _, ours = timed(lambda explainer=explainer: explainer(x))
        forward, runs = forward_passes(model, x, count=counted[-1] + 1, threads=threads, batch=batch)
        print(f"{net} {method}: {runs} runs, {ours.wall:.1f} s, {ours.processor:.1f} s of the processor", flush=True)
        if method == "scorecam":
            print(f"{net} {method}: {ours.ratio(forward)} times {runs} forward passes", flush=True)
        if peer is not None:
            _, theirs = timed(lambda method=method: peer.run(method, x))
            print(f"{net} {method}: pytorch-grad-cam takes {theirs.ratio(ours)} times as long", flush=True)


def forward_passes(model: Any, x: np.ndarray, *, count: int, threads: int, batch: int) -> tuple[Took, int]:
    """Return what ``count`` forward passes take, in batches, the first batch not counted."""
    session = Session(model, threads=threads)
    assert not isinstance(flow_of(model, logits=find_score(model).logits).images, int)
    many = np.repeat(x, batch, 0)
    name = model.inputs[0].name
    session.run({name: many})
    sizes = [batch] * (count // batch) + [count % batch] * bool(count % batch)
    _, took = timed(lambda: [session.run({name: many[:n]}) for n in sizes])
    return took, count


def memory(channels: int, *, batch: int) -> None:
    """Print what Score-CAM of a net with ``channels`` channels at 7 x 7 adds to the process's largest size."""
    net = Net()
    x = net.relu(net.conv("input", (3, 8), 7, stride=32))
    x = net.relu(net.conv(x, (8, channels), 1))
    x = net.apply("Flatten", net.apply("GlobalAveragePool", x), axis=1)
    explainer = Explainer(net.model(net.linear(x, (channels, 1000))), method="scorecam", batch=batch, threads=1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    explainer(np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{channels} channels, batch {batch}: {(after - before) / 1024:.0f} MiB more, {after / 1024:.0f} MiB in all")


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", action="append", choices=sorted(Peer.LAYERS), help="repeatable; default resnet18")
    parser.add_argument("--method", action="append", choices=METHODS, help="repeatable; default all")
    parser.add_argument("--layer", default="", help="a module's name; fewer channels are sooner done")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--memory", type=int, metavar="CHANNELS")
    arguments = parser.parse_args()
    if arguments.memory:
        memory(arguments.memory, batch=arguments.batch)
        return
    with tempfile.TemporaryDirectory() as folder:
        for net in arguments.net or ["resnet18"]:
            compare(
                net, layer=arguments.layer, threads=arguments.threads, batch=arguments.batch,
                methods=arguments.method or list(METHODS), folder=Path(folder),
            )  # fmt: skip


if __name__ == "__main__":
    main()
