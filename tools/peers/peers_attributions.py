"""Compare DeepLIFT, GradientShap, LIME, KernelSHAP, LeGrad and Guided Grad-CAM with their originals.

The bundled nets are rebuilt in PyTorch with the weights of their .onnx files. Both sides get the same draws, parts and
baselines. ``--write`` keeps the originals' maps, every fourth pixel, in ``tests/goldens/``.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers_captum import GOLDENS, KEPT, MODELS, bundled, distance, noise_of, pictures
from torch import nn

from fgcam_onnx import Explainer, Tunnel
from fgcam_onnx.cam.coalitions import by_size, halves
from fgcam_onnx.methods.gradientshap import draws

SAMPLES, NOISE = 6, 0.1
CELLS = 3
PARTS = (np.arange(96)[:, None] // 32) * CELLS + np.arange(96)[None] // 32
"""Nine parts: 510 coalitions, which are all run."""
Rows = Iterator[tuple[str, np.ndarray, np.ndarray]]


class Apart(nn.Module):
    """Its input as another tensor."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x``."""
        return x * 1


class Turns(nn.Module):
    """A ReLU of its own for each call, and another tensor behind it."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.own = nn.ModuleList([nn.Sequential(nn.ReLU(), Apart()) for _ in range(calls)])
        self.at = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``max(x, 0)`` by the next of them."""
        self.at = (self.at + 1) % len(self.own)
        return self.own[self.at - 1](x)


def hooked(net: nn.Module) -> nn.Module:
    """Return the net as captum's hooks need it.

    They are for modules that are called once. Of two that follow each other, as a max pool behind a ReLU, the first
    gets the gradient of the second and not its multiplier, and what differs is not shared out: delta 0.07 of 5.3.
    """
    net = copy.deepcopy(net)
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.ReLU):
                setattr(module, name, Turns(2 if hasattr(module, "bn2") else 1))
    return net


def deep_lift(net: nn.Module, x: torch.Tensor, target: torch.Tensor, model: Path) -> Rows:
    """Yield DeepLIFT beside captum's, one picture at a time: its max pool takes a gradient from the batch's first."""
    from captum.attr import DeepLift

    for name, baseline in (("black", 0.3), ("mean", "mean")):
        found, wanted = [], []
        for image, label in zip(x, target, strict=True):
            begin = (
                image.mean((1, 2), keepdim=True).expand_as(image) if baseline == "mean" else torch.full_like(image, 0.3)
            )
            theirs = DeepLift(hooked(net)).attribute(image[None], begin[None].contiguous(), target=int(label))
            wanted.append(theirs.sum(1).detach().numpy())
            ours = Explainer(model, method="deeplift", threads=1, baseline=baseline)
            found.append(ours(image[None].numpy(), target=int(label)).map)
        yield f"deeplift, {name}", np.concatenate(found), np.concatenate(wanted)


def gradient_shap(net: nn.Module, x: torch.Tensor, target: torch.Tensor, model: Path) -> Rows:
    """Yield GradientShap beside captum's, given our noise, baselines and places."""
    from captum.attr._core.gradient_shap import InputBaselineXGradient

    noise, which, places = draws(tuple(x.shape[1:]), range(SAMPLES), seed=0)
    chosen = np.random.default_rng(5).standard_normal((3, *x.shape[1:])).astype(np.float32)
    spans = torch.tensor([np.float32(NOISE * np.ptp(i)) for i in x.numpy()]).reshape(-1, 1, 1, 1)
    total = 0
    for eps, k, place in zip(noise, which, places, strict=True):
        original = np.random.uniform
        np.random.uniform = lambda low, high, size, place=place: np.full(size, place)  # what captum draws places by
        try:
            begin = torch.tensor(chosen[int(k * 3)]).expand_as(x)
            total = total + InputBaselineXGradient(net).attribute(x + spans * torch.tensor(eps), begin, target=target)
        finally:
            np.random.uniform = original
    ours = Explainer(model, method="gradientshap", threads=1, samples=SAMPLES, noise=NOISE, baseline=chosen)
    yield "gradientshap", ours(x.numpy(), target=target.numpy()).map, (total / SAMPLES).sum(1).detach().numpy()


def guided_grad_cam(net: nn.Module, layer: str, x: torch.Tensor, target: torch.Tensor, model: Path) -> Rows:
    """Yield Guided Grad-CAM beside captum's, enlarged bilinearly."""
    from captum.attr import GuidedGradCam

    own = hooked(net)
    theirs = GuidedGradCam(own, own.get_submodule(layer)).attribute(x, target=target, interpolate_mode="bilinear")
    ours = Explainer(model, method="guidedgradcam", threads=1, base_layer=layer)
    yield "guidedgradcam", ours(x.numpy(), target=target.numpy()).map, theirs.sum(1).detach().numpy()


def given(kept: np.ndarray) -> Any:
    """Return what gives captum's LIME our coalitions: a generator, as its own is."""

    def generate(*_: Any, **__: Any) -> Iterator[torch.Tensor]:
        yield torch.ones(1, kept.shape[1], dtype=torch.long)
        yield torch.zeros(1, kept.shape[1], dtype=torch.long)
        yield from torch.tensor(kept, dtype=torch.long)[:, None]

    return generate


def kernel_shap(net: nn.Module, x: torch.Tensor, target: torch.Tensor, model: Path) -> Rows:
    """Yield KernelSHAP beside shap's (all coalitions) and captum's (our draws)."""
    import shap
    from captum.attr import KernelShap

    parts, finer = PARTS, PARTS * 4 + (np.arange(96)[:, None] // 16 % 2) * 2 + np.arange(96)[None] // 16 % 2
    found, wanted, drawn, captums = [], [], [], []
    for image, label in zip(x, target, strict=True):

        def scores(kept: np.ndarray, image: Any = image, label: Any = label) -> np.ndarray:
            mask = torch.tensor(kept[:, parts][:, None].astype(np.float32))
            with torch.no_grad():
                return net(image * mask + 0.3 * (1 - mask))[:, int(label)].numpy()

        explainer = shap.KernelExplainer(scores, np.zeros((1, 9)))
        wanted.append(explainer.shap_values(np.ones((1, 9)), nsamples=510, l1_reg=0, silent=True)[0][parts])
        kept = by_size(36, range(SAMPLES * 20), seed=0)
        own = KernelShap(copy.deepcopy(net).double())
        own.perturb_func = given(kept)
        plain = torch.Tensor.float
        torch.Tensor.float = torch.Tensor.double  # in float32 its weights of 1,000,000 leave errors of 7e-4
        try:
            theirs = own.attribute(
                image[None].double(), baselines=0.3, target=int(label), n_samples=SAMPLES * 20 + 2,
                feature_mask=torch.tensor(finer)[None, None],
            )  # fmt: skip
        finally:
            torch.Tensor.float = plain
        captums.append(theirs[0, 0].detach().numpy())
        for into, segments, samples in ((found, parts, 510), (drawn, finer, SAMPLES * 20)):
            ours = Explainer(model, method="kernelshap", threads=1, segments=segments, samples=samples, baseline=0.3)
            into.append(ours(image[None].numpy(), target=int(label)).map[0])
    yield "kernelshap, every coalition: shap", np.stack(found), np.stack(wanted)
    yield "kernelshap, drawn: captum", np.stack(drawn), np.stack(captums)


def lime(net: nn.Module, x: torch.Tensor, target: torch.Tensor, model: Path) -> Rows:
    """Yield LIME beside lime's regression on the same neighbourhood."""
    from lime.lime_base import LimeBase
    from sklearn.metrics import pairwise_distances

    found, wanted = [], []
    for image, label in zip(x, target, strict=True):
        kept = halves(9, range(60), seed=0)
        mask = torch.tensor(kept[:, PARTS][:, None].astype(np.float32))
        with torch.no_grad():
            scores = net(image * mask + 0.3 * (1 - mask))[:, int(label)].numpy()
        base = LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / 0.25**2)))
        far = pairwise_distances(kept, kept[0].reshape(1, -1), metric="cosine").ravel()
        told = base.explain_instance_with_data(kept, scores[:, None], far, 0, 9, feature_selection="none")[1]
        values = np.zeros(9)
        for part, value in told:
            values[part] = value
        wanted.append(values[PARTS])
        ours = Explainer(model, method="lime", threads=1, segments=PARTS, samples=60, baseline=0.3)
        found.append(ours(image[None].numpy(), target=int(label)).map[0])
    yield "lime", np.stack(found), np.stack(wanted)


def tunnel(net: nn.Module, layer: str, x: torch.Tensor, target: torch.Tensor, model: Path) -> Rows:
    """Yield Grad-CAM through a tunnel beside captum's, given our noise."""
    from captum.attr import LayerGradCam, NoiseTunnel

    noise = noise_of(x, NOISE, SAMPLES)
    for kind in ("smoothgrad", "smoothgrad_sq", "vargrad"):
        through = NoiseTunnel(LayerGradCam(net, net.get_submodule(layer)))
        through._add_noise_to_input = lambda x, stdev, count: (x[:, None] + noise.transpose(0, 1)).flatten(0, 1)
        theirs = through.attribute(x, nt_type=kind, nt_samples=SAMPLES, stdevs=1.0, target=target)
        given = Tunnel(kind=kind, samples=SAMPLES, noise=NOISE)
        ours = Explainer(model, method="gradcam", threads=1, layers=layer, tunnel=given)
        yield f"gradcam in a tunnel, {kind}", ours(x.numpy(), target=target.numpy()).map, theirs[:, 0].detach().numpy()


def legrad(folder: Path) -> Rows:
    """Yield LeGrad beside torch-cam's, of torchvision's vision transformer with random weights."""
    from torchcam.methods import LeGrad
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    net = VisionTransformer(32, 8, num_layers=3, num_heads=4, hidden_dim=24, mlp_dim=48, num_classes=7).eval()
    for parameter in net.parameters():
        parameter.data = parameter.data + 0.15 * torch.randn_like(parameter)
    x = torch.randn(2, 3, 32, 32)
    path = folder / "vit.onnx"
    torch.onnx.export(net, (x,), path, dynamo=False, opset_version=17, input_names=["x"], output_names=["logits"])
    target = net(x).argmax(1).tolist()
    own = lambda tokens: net.heads(net.encoder.ln(tokens)[:, 0])
    for pool, projection in (("mean", None), ("own", own)):
        for blocks in (3, 2):
            with LeGrad(net, list(net.encoder.layers)[-blocks:], score_projection=projection) as cam:
                scores = net(x)
                (theirs,) = cam(target, scores, normalized=False)
            ours = Explainer(path, method="legrad", threads=1, pool=pool, blocks=blocks)
            found = ours(x.numpy(), target=np.array(target)).map
            yield f"legrad, pool={pool}, {blocks} blocks: torch-cam", found, theirs.detach().numpy()


def main() -> None:
    """Compare every net, and write what the tests keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="keep the originals' maps in tests/goldens/")
    write = parser.parse_args().write
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    x = pictures()
    for name, layer in (("vgg_shapes", "features"), ("resnet_shapes", "layer3")):
        net, images, model = bundled(name), torch.tensor(x), MODELS / f"{name}.torchscript.onnx"
        target = net(images).argmax(1)
        print(f"{name}, targets {target.tolist()}")
        given = (images, target, model)
        kept: dict[str, np.ndarray] = {}
        for rows in (
            deep_lift(net, *given), gradient_shap(net, *given), guided_grad_cam(net, layer, *given),
            kernel_shap(net, *given), lime(net, *given), tunnel(net, layer, *given),
        ):  # fmt: skip
            for row, found, expected in rows:
                print("  " + distance(row, found, expected))
                if expected.shape[-1] == x.shape[-1]:
                    kept[row] = expected[:, ::KEPT, ::KEPT].astype(np.float32)
        if write:
            np.savez_compressed(GOLDENS / f"attributions_{name}.npz", **kept)
    with tempfile.TemporaryDirectory() as folder:
        print("vision transformer, random weights")
        for row, found, expected in legrad(Path(folder)):
            print("  " + distance(row, found, expected))


if __name__ == "__main__":
    main()
