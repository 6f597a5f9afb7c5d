"""Compare the composites with zennit's on the same nets, and keep what zennit gives as goldens of the tests.

Bundled nets (their weights put into the classes of ``train_shapes.py``) and torchvision's with random weights. The
figure is the largest difference of the input relevance, every channel of it, over its largest magnitude; beside it
zennit's own difference between float32 and float64, which says how far rounding alone carries::

    pip install "torch==2.13.0" torchvision
    pip install zennit==0.5.1 onnxscript
    python tools/peers/peers_zennit.py
    python tools/peers/peers_zennit.py --only vgg_shapes --only resnet_shapes --write
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torchvision_cpu  # noqa: F401  before what imports torchvision
import zennit
import zennit.attribution
import zennit.composites
from onnx import numpy_helper
from PIL import Image
from torch import Tensor, nn
from zennit.canonizers import AttributeCanonizer, CompositeCanonizer, SequentialMergeBatchNorm
from zennit.layer import Sum
from zennit.torchvision import ResNetBasicBlockCanonizer

import torchvision  # isort: skip

from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.graph.score import find_score
from fgcam_onnx.loading.loading import load
from fgcam_onnx.lrp.table import COMPOSITES
from fgcam_onnx.program import TARGET, append_relevance, append_target
from fgcam_onnx.runtime import Session

sys.path.append(str(Path(__file__).parents[1] / "training"))
from train_shapes import NETS, BasicBlock, prepared

ROOT = Path(__file__).parents[2]
GOLDENS = ROOT / "tests" / "goldens" / "zennit.npz"
LOW, HIGH = (-3.0, -2.5, -2.0), (3.0, 3.5, 4.0)
STEP = 3
"""Goldens keep every third pixel, both ways."""

Array = np.ndarray[Any, Any]

PEERS: dict[str, Callable[..., Any]] = {
    "deconvnet": zennit.composites.DeconvNet,
    "epsilonalpha2beta1": zennit.composites.EpsilonAlpha2Beta1,
    "epsilonalpha2beta1flat": zennit.composites.EpsilonAlpha2Beta1Flat,
    "epsilongammabox": zennit.composites.EpsilonGammaBox,
    "epsilonplus": zennit.composites.EpsilonPlus,
    "epsilonplusflat": zennit.composites.EpsilonPlusFlat,
    "excitationbackprop": zennit.composites.ExcitationBackprop,
    "guidedbackprop": zennit.composites.GuidedBackprop,
}
BOXED = ("epsilongammabox",)


class ExactMerge(SequentialMergeBatchNorm):
    """Merge as zennit does, and leave the identity behind.

    zennit 0.5.1 sets the merged normalization to mean 0, variance 1 and keeps its eps, so that it still divides by
    sqrt(1 + 1e-5): gradients come out 5e-6 too small for each normalization they pass, 5e-5 in a ResNet18.
    """

    def register(self, linears: Any, batch_norm: Any) -> None:
        """Merge, and make what is left an identity."""
        super().register(linears, batch_norm)
        self.eps, batch_norm.eps = batch_norm.eps, 0.0

    def remove(self) -> None:
        """Undo both."""
        self.batch_norm.eps = self.eps
        super().remove()


def summed(self: BasicBlock, x: Tensor) -> Tensor:
    """Do what the block does, its sum a module that zennit can hook."""
    shortcut = x if self.downsample is None else self.downsample(x)
    y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
    return self.relu(self.canonizer_sum(torch.stack([shortcut, y], dim=-1)))


def sums_of_blocks(name: str, module: nn.Module) -> dict[str, Any] | None:
    return {"forward": summed.__get__(module), "canonizer_sum": Sum()} if isinstance(module, BasicBlock) else None


def shapes_canonizer() -> CompositeCanonizer:
    return CompositeCanonizer((ExactMerge(), AttributeCanonizer(sums_of_blocks)))


def resnet_canonizer() -> CompositeCanonizer:
    return CompositeCanonizer((ExactMerge(), ResNetBasicBlockCanonizer()))


def bundled(name: str) -> tuple[nn.Module, onnx.ModelProto]:
    """Return a bundled net as a module, its normalizations folded as in the file, and the file."""
    proto = onnx.load(ROOT / "exported_models" / f"{name}.torchscript.onnx")
    weights = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    net = NETS[name]().eval()
    for parent in list(net.modules()):
        for key, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, key, nn.Identity())
            elif isinstance(child, nn.Conv2d):
                child.bias = nn.Parameter(torch.zeros(child.out_channels))
    order: list[nn.Module] = []
    hooks = [
        m.register_forward_hook(lambda m, *_: order.append(m))
        for m in net.modules()
        if isinstance(m, nn.Conv2d | nn.Linear)
    ]
    net(torch.zeros(1, 3, 96, 96))
    for hook in hooks:
        hook.remove()
    nodes = [n for n in proto.graph.node if n.op_type in ("Conv", "Gemm")]
    by_shape = {id(m): m for m in order}
    for node in nodes:
        w, b = (torch.from_numpy(weights[i].copy()) for i in node.input[1:3])
        module = next(m for m in order if id(m) in by_shape and m.weight.shape == w.shape)
        del by_shape[id(module)]
        module.weight.data, module.bias.data = w, b
    return net, proto


def random_net(name: str, *, side: int = 224) -> tuple[nn.Module, onnx.ModelProto]:
    """Return a torchvision net with random weights, normalizations with statistics of their own, and its export."""
    torch.manual_seed(0)
    net = getattr(torchvision.models, name)(num_classes=10).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        keeps = torch.onnx.TrainingMode.PRESERVE  # keeps BatchNormalization in the file
        torch.onnx.export(
            net, (torch.zeros(1, 3, side, side),), path, dynamo=False, opset_version=18, training=keeps,
            do_constant_folding=False, input_names=["input"], output_names=["logits"],
        )  # fmt: skip
        return net, onnx.load(path)


def nets() -> Iterator[tuple[str, Callable[[], tuple[nn.Module, onnx.ModelProto]], Callable[[], Any], int]]:
    """Yield name, how to make it, its canonizer, its side."""
    for name in NETS:
        yield name, lambda name=name: bundled(name), shapes_canonizer, 96
    yield "vgg11", lambda: random_net("vgg11"), ExactMerge, 224
    yield "vgg11_bn", lambda: random_net("vgg11_bn"), ExactMerge, 224
    yield "resnet18", lambda: random_net("resnet18", side=96), resnet_canonizer, 96


def pictures(side: int, *, bundled: bool) -> Tensor:
    """Return two bundled pictures, or seeded noise of another size, as input."""
    if bundled:
        paths = sorted((ROOT / "exported_models" / "pictures").glob("*.png"))[:2]
        return prepared(np.stack([np.asarray(Image.open(p).convert("RGB")) for p in paths]))
    return torch.from_numpy(np.random.default_rng(0).standard_normal((1, 3, side, side)).astype(np.float32))


def theirs(net: nn.Module, x: Tensor, composite: str, canonizer: Callable[[], Any]) -> tuple[Array, Array]:
    """Return zennit's input relevance of the top class, and the class, for each picture."""
    bounds = {
        k: torch.tensor(v, dtype=x.dtype).reshape(1, 3, 1, 1).expand(x.shape)
        for k, v in (("low", LOW), ("high", HIGH))
        if composite in BOXED
    }
    made = PEERS[composite](**bounds, canonizers=[canonizer()])
    top = net(x).argmax(1)
    seed = torch.eye(net(x).shape[1], dtype=x.dtype)[top]
    with zennit.attribution.Gradient(net, made) as attributor:
        _, relevance = attributor(x.clone(), seed)
    return relevance.detach().numpy(), top.numpy()


def ours(proto: onnx.ModelProto, x: Array, composite: str, top: Array) -> Array:
    """Return our input relevance, every channel."""
    model = load(proto)
    logits = find_score(model).logits
    emitter = Emitter(model)
    scored = append_target(emitter, logits)
    made = COMPOSITES[composite](**({"low": LOW, "high": HIGH} if composite in BOXED else {}))
    found = append_relevance(
        emitter, ["input"], output=logits, seed=scored.seed, pullback=made, canonize=True, derivative=made.derivative
    )
    emitter.output("relevance", found["input"])
    return Session(emitter.build()).run({"input": x, TARGET: top.astype(np.int64)})["relevance"]


def off(found: Array, expected: Array) -> Array:
    """Return the largest difference over the largest magnitude, for each picture."""
    each = tuple(range(1, expected.ndim))
    return np.abs(found - expected).max(each) / np.abs(expected).max(each)


def main() -> None:
    """Compare, print a table, and write goldens where asked."""
    parser = argparse.ArgumentParser(description="compare composites with zennit's")
    parser.add_argument("--only", action="append", help="a net; repeatable")
    parser.add_argument("--write", action="store_true", help="keep zennit's maps of the bundled nets as goldens")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    goldens: dict[str, Array] = {}
    failed: list[str] = []
    print(f"zennit {zennit.__version__ if hasattr(zennit, '__version__') else '0.5.1'}, torch {torch.__version__}")
    print(f"{'net':<15}{'composite':<24}{'ours':>9}{'vs fp64':>9}{'zennit vs fp64':>16}")
    for name, make, canonizer, side in nets():
        if arguments.only and name not in arguments.only:
            continue
        net, proto = make()
        x = pictures(side, bundled=name in NETS)
        wide = copy.deepcopy(net).double()
        for composite in PEERS:
            expected, top = theirs(net, x, composite, canonizer)
            exact, _ = theirs(wide, x.double(), composite, canonizer)
            found = ours(proto, x.numpy(), composite, top)
            figures = [float(off(a, b).max()) for a, b in ((found, expected), (found, exact), (expected, exact))]
            print(f"{name:<15}{composite:<24}{figures[0]:>9.1e}{figures[1]:>9.1e}{figures[2]:>16.1e}", flush=True)
            if min(figures[:2]) > arguments.tolerance:
                failed.append(f"{name} {composite}")
            if name in NETS:
                goldens[f"{name}/{composite}"] = exact.sum(1)[:, ::STEP, ::STEP].astype(np.float32)
                goldens[f"{name}/target"] = top
    if arguments.write:
        GOLDENS.parent.mkdir(exist_ok=True)
        np.savez_compressed(GOLDENS, low=LOW, high=HIGH, **goldens)
        print(f"written to {GOLDENS}, {GOLDENS.stat().st_size} bytes")
    if failed:
        raise SystemExit(f"off by more than {arguments.tolerance}: {', '.join(failed)}")


if __name__ == "__main__":
    main()
