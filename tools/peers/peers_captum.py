"""Compare input-level and black-box methods with captum, torch-cam and pytorch-grad-cam, side by side.

The bundled nets are rebuilt in PyTorch with the weights of their .onnx files; resnet18 of torchvision, with random
weights, is exported on the spot. ``--write`` keeps the peers' maps of the bundled nets, every fourth pixel, in
``tests/goldens/``::

    pip install "torch==2.13.0" torchvision
    pip install captum==0.9.0 torchcam==0.5.0 grad-cam==1.5.7 onnxscript
    pip install -e ".[cpu]"
    python tools/peers/peers_captum.py --write
"""

from __future__ import annotations

import argparse
import copy
import functools
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import torch
import torchvision_cpu  # noqa: F401  before what imports torchvision
from onnx import numpy_helper
from PIL import Image
from torch import nn

from fgcam_onnx import Explainer
from fgcam_onnx.cam.sampling import normal_noise, smooth_grad_cam_pp

sys.path.append(str(Path(__file__).parents[1] / "training"))
from train_shapes import MEAN, NETS, STD

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "exported_models"
GOLDENS = ROOT / "tests" / "goldens"
PICTURES = ("star", "two")
KEPT = 4
SAMPLES, NOISE, CAM_NOISE = 6, 0.15, 0.1
Maps = dict[str, np.ndarray]


@functools.cache
def bundled(name: str) -> nn.Module:
    """Return a net of train_shapes.py with its BatchNorms folded, weights from the TorchScript file."""
    net = NETS[name]()
    for module in list(net.modules()):
        for child_name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, child_name, nn.Identity())
            elif isinstance(child, nn.Conv2d):
                setattr(module, child_name, with_bias(child))
            elif isinstance(child, nn.ReLU):
                child.inplace = False
    graph = onnx.load(MODELS / f"{name}.torchscript.onnx").graph
    arrays = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    filled = set()
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm"):
            module = net.get_submodule(path_of(node.name))
            module.weight.data = torch.tensor(arrays[node.input[1]])
            module.bias.data = torch.tensor(arrays[node.input[2]])
            filled.add(module)
    missing = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear) and m not in filled]
    if missing:
        raise SystemExit(f"{name}: no weights for {missing}")
    return net.eval()


def path_of(name: str) -> str:
    """Return the module that a node of the TorchScript exporter was made by."""
    path: list[str] = []
    for part in name.split("/")[1:-1]:
        first, *rest = part.split(".")
        path += rest if path and path[-1] == first else [first, *rest]
    return ".".join(path)


def with_bias(conv: nn.Conv2d) -> nn.Conv2d:
    """Return a convolution like ``conv`` that has a bias."""
    return nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding)


def pictures() -> np.ndarray:
    """Return two bundled pictures as the nets take them, (2, 3, 96, 96)."""
    pixels = [np.asarray(Image.open(MODELS / "pictures" / f"{p}.png").convert("RGB"), np.float32) for p in PICTURES]
    return ((np.stack(pixels).transpose(0, 3, 1, 2) / np.float32(255) - np.float32(MEAN)) / np.float32(STD)).astype(
        np.float32
    )


def noise_of(x: torch.Tensor, share: float, count: int) -> torch.Tensor:
    """Return the noise that fgcam draws for seed 0, (count, N, C, H, W)."""
    spans = torch.tensor([np.float32(share * np.ptp(image)) for image in x.numpy()]).reshape(-1, 1, 1, 1)
    return torch.tensor(normal_noise(x.shape[1:], range(count), seed=0))[:, None] * spans


def captum_maps(net: nn.Module, x: torch.Tensor, target: torch.Tensor) -> Maps:
    """Return captum's maps, by the name under which ours are compared."""
    from captum.attr import InputXGradient, NoiseTunnel, Occlusion, Saliency

    found = {
        "saliency": Saliency(net).attribute(x, target=target).amax(1),
        "inputxgradient": InputXGradient(net).attribute(x, target=target).sum(1),
    }
    for rule in ("gausslegendre", "riemann_trapezoid"):
        found[f"integratedgradients {rule}"] = integrated(net, x, target, rule)
    # captum's weights of the trapezoid rule add up to 49/50, not 1
    found["integratedgradients riemann_trapezoid"] *= 50 / 49
    for window, stride in ((16, 8), (15, 7)):
        drops = Occlusion(net).attribute(
            x, (3, window, window), strides=(3, stride, stride), target=target, perturbations_per_eval=8
        )
        found[f"occlusion {window} {stride}"] = drops[:, 0]
    noise = noise_of(x, NOISE, SAMPLES)
    for ours, theirs in (("plain", "smoothgrad"), ("squared", "smoothgrad_sq"), ("vargrad", "vargrad")):
        tunnel = NoiseTunnel(Saliency(net))
        tunnel._add_noise_to_input = lambda x, stdev, count: (x[:, None] + noise.transpose(0, 1)).flatten(0, 1)
        mean = tunnel.attribute(x, nt_type=theirs, nt_samples=SAMPLES, stdevs=1.0, target=target, abs=False)
        found[f"smoothgrad {ours}"] = mean.abs().amax(1)
    return {n: m.detach().numpy() for n, m in found.items()}


def integrated(net: nn.Module, x: torch.Tensor, target: torch.Tensor, rule: str = "gausslegendre") -> torch.Tensor:
    """Return captum's integrated gradients, 50 steps from 0, summed over the channels."""
    from captum.attr import IntegratedGradients

    return IntegratedGradients(net).attribute(x, target=target, method=rule).sum(1).detach()


def torchcam_maps(net: nn.Module, layer: nn.Module, x: torch.Tensor, target: torch.Tensor) -> Maps:
    """Return torch-cam's weights for one noisy sample, its map for several, and the paper's by our formula.

    torch-cam takes the gradient in ``max(g, 0)``, and the activations that are weighed, from the last noisy sample
    alone, where the paper has their mean and the clean image's: our formula on those two is torch-cam's map.
    """
    from torchcam.methods import SmoothGradCAMpp

    weights, maps, same, clean = [], [], [], []
    for i, image in enumerate(x):
        noise = noise_of(x, CAM_NOISE, SAMPLES)[:, i : i + 1]
        for count, into in ((1, weights), (SAMPLES, maps)):
            extractor = SmoothGradCAMpp(net, layer, num_samples=count)
            draws = iter(noise)
            extractor._distrib = SimpleNamespace(sample=lambda size, d=draws: next(d))
            net(image[None])
            found = (
                extractor._get_weights(int(target[i])) if count == 1 else extractor(int(target[i]), normalized=False)
            )
            into.append(found[0][0].detach().numpy())
            extractor.remove_hooks()
        samples = [image[None], *(image[None] + n for n in noise)]
        kept = [at_layer(net, layer, sample, int(target[i])) for sample in samples]
        a, (noisy, last) = kept[0][0], kept[-1]
        powers = [np.mean([g**p for _, g in kept[1:]], axis=0) for p in (1, 2, 3)]
        w = smooth_grad_cam_pp(np.ones_like(a), (last, powers[1], powers[2] * a), (1, 2))
        same.append(np.maximum((w * noisy).sum(0), 0))
        clean.append(smooth_grad_cam_pp(a, (powers[0], powers[1], powers[2]), (1, 2)).sum(0))
    return {
        "smoothgradcam++ weights": np.stack(weights),
        "smoothgradcam++ torchcam": np.stack(maps),
        "smoothgradcam++ torchcam's, by our formula": np.stack(same),
        "smoothgradcam++": np.stack(clean),
    }


def at_layer(net: nn.Module, layer: nn.Module, x: torch.Tensor, target: int) -> tuple[np.ndarray, np.ndarray]:
    """Return activations and gradients (C, h, w) of one image at a layer."""
    kept = {}
    hook = layer.register_forward_hook(lambda module, given, output: kept.update(a=output))
    score = net(x.clone().requires_grad_())[0, target]
    hook.remove()
    (g,) = torch.autograd.grad(score, kept["a"])
    return kept["a"][0].detach().numpy(), g[0].numpy()


def fullgrad_map(net: nn.Module, x: torch.Tensor, target: torch.Tensor, *, scale: float = 1) -> np.ndarray:
    """Return pytorch-grad-cam's FullGrad of a multiple of the score; every channel is scaled to 0..1.

    It adds 1e-7 to the largest value of each channel, so its map of a small score is another than of a large one.
    What a bias is cancels out where each channel is scaled by itself, so the order in which it pairs biases with
    gradients does not show.
    """
    from pytorch_grad_cam import FullGrad

    with FullGrad(net, []) as cam:
        return cam(x, [lambda scores, t=int(t): scale * scores[t] for t in target])


def ours(model: Path, layer: str, x: np.ndarray, target: np.ndarray) -> Iterator[tuple[str, Callable[[], np.ndarray]]]:
    """Yield the name of each comparison and what computes our map."""

    def of(method: str, **settings: object) -> Callable[[], np.ndarray]:
        return lambda: Explainer(model, method=method, threads=1, **settings)(x, target=target).map

    yield "saliency", of("saliency")
    yield "inputxgradient", of("inputxgradient")
    yield "integratedgradients gausslegendre", of("integratedgradients")
    yield "integratedgradients riemann_trapezoid", of("integratedgradients", rule="trapezoid")
    for window, stride in ((16, 8), (15, 7)):
        yield f"occlusion {window} {stride}", of("occlusion", window=window, stride=stride)
    for kind in ("plain", "squared", "vargrad"):
        yield f"smoothgrad {kind}", of("smoothgrad", samples=SAMPLES, noise=NOISE, kind=kind)
    yield "smoothgradcam++", of("smoothgradcam++", samples=SAMPLES, noise=CAM_NOISE, layers=layer)
    yield "fullgrad", lambda: scaled(of("fullgrad", rescale="channel")())


def scaled(maps: np.ndarray) -> np.ndarray:
    """Scale each map to 0..1 as pytorch-grad-cam does."""
    low = maps - maps.min(axis=(1, 2), keepdims=True)
    return low / (1e-7 + low.max(axis=(1, 2), keepdims=True))


def compare(name: str, net: nn.Module, layer: str, scope: str, model: Path, x: np.ndarray) -> Maps:
    """Print how far ours are from the peers', relative to the largest value; return the peers'."""
    images = torch.tensor(x)
    with torch.no_grad():
        target = net(images).argmax(1)
    peers = captum_maps(net, images, target) | torchcam_maps(net, net.get_submodule(layer), images, target)
    peers["fullgrad"] = fullgrad_map(net, images, target, scale=1e4)
    print(f"{name}, targets {target.tolist()}")
    for row, compute in ours(model, scope, x, target.numpy()):
        print("  " + distance(row, compute(), peers[row]))
    own = peers.pop("smoothgradcam++ torchcam's, by our formula")
    exact = integrated(copy.deepcopy(net).double(), images.double(), target).numpy()
    for row, found, expected in (
        ("torchcam's map, by our formula", own, peers.pop("smoothgradcam++ torchcam")),
        ("captum's IG, float32 from float64", peers["integratedgradients gausslegendre"], exact),
        ("FullGrad, of the score from 1e4 times it", fullgrad_map(net, images, target), peers["fullgrad"]),
    ):
        print("  " + distance(row, found, expected))
    return peers | {"target": target.numpy()}


def distance(row: str, found: np.ndarray, expected: np.ndarray) -> str:
    """Say how far two maps are apart."""
    off = np.abs(found - expected) / np.abs(expected).max(axis=(1, 2), keepdims=True)
    correlation = np.corrcoef(found.ravel(), expected.ravel())[0, 1]
    return f"{row:40s} largest {off.max():8.1e}  share above 1e-4 {np.mean(off > 1e-4):.4f}  r {correlation:.7f}"


def resnet18(folder: Path) -> tuple[nn.Module, Path]:
    """Return torchvision's resnet18 with random weights, its BatchNorms folded, and its exported file."""
    import torchvision
    from torch.fx.experimental.optimization import fuse

    torch.manual_seed(0)
    net = torchvision.models.resnet18().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, 0, 0.1)
    net = fuse(net)
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    path = folder / "resnet18.onnx"
    torch.onnx.export(
        net, (torch.zeros(2, 3, 96, 96),), path, dynamo=False, opset_version=17,
        input_names=["input"], output_names=["logits"], dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}},
    )  # fmt: skip
    return net, path


def main() -> None:
    """Compare every net, and write what the tests keep."""
    parser = argparse.ArgumentParser(description="compare input-level methods with their peers")
    parser.add_argument("--write", action="store_true", help="keep the peers' maps in tests/goldens/")
    write = parser.parse_args().write
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    x = pictures()
    for name, layer in (("vgg_shapes", "features"), ("resnet_shapes", "layer3")):
        net = bundled(name)
        peers = compare(name, net, layer, layer, MODELS / f"{name}.torchscript.onnx", x)
        if write:
            kept = {n: m[:, ::KEPT, ::KEPT] if m.ndim == 3 and m.shape[-1] == 96 else m for n, m in peers.items()}
            GOLDENS.mkdir(exist_ok=True)
            np.savez_compressed(GOLDENS / f"inputs_{name}.npz", **kept)
    with tempfile.TemporaryDirectory() as folder:
        net, path = resnet18(Path(folder))
        compare("torchvision resnet18, random weights", net, "layer3.1.relu", "/relu_12/Relu_output_0", path, x)


if __name__ == "__main__":
    main()
