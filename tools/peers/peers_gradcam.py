"""Compare every CAM with pytorch-grad-cam (and the original CAM with torchcam) on the same nets.

What is compared is each package's raw map, before its ReLU and scaling, as max |difference| / max |theirs|. Nets:
the bundled ones, rebuilt in PyTorch from the weights of their files; a small net of smooth activations, whose second
derivatives are not 0; torchvision's with seeded random weights; and, with ``--assets``, trained ones of that folder::

    pip install "torch==2.13.0"
    pip install torchvision timm grad-cam==1.5.7 torchcam onnx onnxruntime onnx_graphsurgeon pillow
    python tools/peers/peers_gradcam.py --assets ASSETS --json peers.json
    python tools/peers/peers_gradcam.py --only resnet_shapes,vgg_shapes,smooth --write tests/goldens

``--write`` keeps the maps of the small nets, against which ``tests/methods/test_cams.py`` holds ours.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision_cpu  # noqa: F401  before what imports torchvision
from torch import Tensor, nn

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tools" / "training")]

import pytorch_grad_cam as peer  # noqa: E402
from nets_smooth import smooth_net  # noqa: E402
from torch_files import exported, filled  # noqa: E402
from train_shapes import NETS  # noqa: E402

from fgcam_onnx import Explainer  # noqa: E402
from fgcam_onnx.errors import LayerError  # noqa: E402
from fgcam_onnx.imaging import find_sidecar, preprocess_from, read_image  # noqa: E402

PICTURES = ("circle", "star", "two")
PEERS: dict[str, Any] = {
    "gradcam": peer.GradCAM,
    "gradcam++": peer.GradCAMPlusPlus,
    "hirescam": peer.HiResCAM,
    "gradcamelementwise": peer.GradCAMElementWise,
    "xgradcam": peer.XGradCAM,
    "layercam": peer.LayerCAM,
    "shapleycam": peer.ShapleyCAM,
    "finercam": peer.FinerCAM,
    "eigencam": peer.EigenCAM,
    "eigengradcam": peer.EigenGradCAM,
    "kpcacam": peer.KPCA_CAM,
    "fem": peer.FEM,
}


class KernelPCA64(peer.KPCA_CAM):
    """The same on float64 activations: in float32 a nearly constant kernel is lost to rounding."""

    def get_cam_image(self, *args: Any) -> Any:
        """Return the map of float64 activations."""
        return super().get_cam_image(*args[:3], args[3].astype(np.float64), *args[4:])


class FoldedShapleyCAM(peer.ShapleyCAM):
    """The same for tokens: it folds what its weights are made of, but not what they weigh, and fails."""

    def get_cam_image(self, *args: Any) -> Any:
        """Return the sum over the channels of the weighed, folded activations."""
        weights = self.get_cam_weights(*args[:5])
        folded = self.activations_and_grads.reshape_transform(args[3]).detach().numpy()
        return (weights[:, :, None, None] * folded).sum(1)


UNSIGNED = {"eigencam", "eigengradcam"}
"""The sign of a singular vector is arbitrary: these are compared up to it."""
SMOOTHED = ("gradcam", "layercam")
"""Compared with ``eigen_smooth``, too."""


@dataclass(frozen=True)
class Case:
    """A net in both forms, pictures, and the layers to compare at: module there, name here."""

    name: str
    net: nn.Module
    file: Path
    x: Tensor
    layers: dict[str, str]
    linear: str = ""
    folded: Callable[[Tensor], Tensor] | None = None


def raw_map(cls: Any, case: Case, layer: nn.Module, **options: Any) -> np.ndarray:
    """Return the map of the top classes (N, h, w) that the package has before its ReLU and scaling."""
    cam = cls(case.net, [layer], reshape_transform=case.folded)
    inner = getattr(cam, "base_cam", cam)
    seen: list[np.ndarray] = []
    original = inner.get_cam_image

    def watched(*args: Any, **kwargs: Any) -> np.ndarray:
        seen.append(np.asarray(original(*args, **kwargs)))
        return seen[-1]

    inner.get_cam_image = watched
    hooks = inner.activations_and_grads
    try:
        cam(case.x.clone(), None, **options)
    finally:
        hooks.activations, hooks.gradients = [], []  # its own clearing fails on views
        hooks.release()
    return seen[0]


def original_cam(case: Case, layer: str) -> np.ndarray:
    """Return torchcam's CAM of the top classes, without its ReLU and scaling."""
    from torchcam.methods import CAM

    maps = []
    for image in case.x:
        with CAM(case.net, layer, case.linear) as extractor, torch.inference_mode():
            top = int(case.net(image[None]).argmax())
            weights = extractor._get_weights(top)[0]
            activations = extractor.hook_a[0]
            maps.append((weights[..., None, None] * activations).sum(1)[0].numpy())
    return np.stack(maps)


def prepared(file: Path, names: tuple[str, ...] = PICTURES) -> Tensor:
    """Return bundled pictures as a bundled model takes them."""
    preprocess = preprocess_from(find_sidecar(file)).bound(("N", 3, 96, 96), np.float32)
    pictures = ROOT / "exported_models" / "pictures"
    return torch.from_numpy(np.concatenate([preprocess(read_image(pictures / f"{n}.png")) for n in names]))


def bundled(name: str, layers: dict[str, str], linear: str = "") -> Case:
    file = ROOT / "exported_models" / f"{name}.torchscript.onnx"
    x = prepared(file)
    return Case(name, filled(NETS[name](), file, x), file, x, layers, linear)


def smooth(folder: Path) -> Case:
    """Return a small net with second derivatives everywhere."""
    net = smooth_net()
    x = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    return Case("smooth", net, exported(net, folder, "smooth", x), x, {"stem": "stem", "body": "body"})


def random_net(name: str, layers: dict[str, str], linear: str, folder: Path) -> Case:
    """Return torchvision's net with seeded random weights and BatchNormalization statistics that are not trivial."""
    import torchvision

    torch.manual_seed(0)
    net = torchvision.models.get_model(name, weights=None)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    return Case(name, net.eval(), exported(net.eval(), folder, name, x), x, layers, linear)


def vision_transformer(folder: Path) -> Case:
    """Return timm's smallest vision transformer with seeded random weights, its tokens folded by hand there."""
    import timm

    torch.manual_seed(0)
    timm.layers.set_fused_attn(False)  # PyTorch has no second derivative of the fused one
    net = timm.create_model("vit_tiny_patch16_224").eval()
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    file = exported(net, folder, "vit_tiny", x)
    layer = "blocks.9.norm1"
    return Case(
        "vit_tiny", net, file, x, {layer: layer}, folded=lambda v: v[:, 1:].reshape(-1, 14, 14, 192).permute(0, 3, 1, 2)
    )


def trained(name: str, file: str, layers: dict[str, str], linear: str, assets: Path) -> Case:
    """Return torchvision's net with the weights of a trained file, on photographs."""
    import torchvision
    from PIL import Image

    pictures = (
        sorted((assets / "images").rglob("ILSVRC2012_val_*.JPEG"))[:2]
        or sorted(p for p in (assets / "images").rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))[:2]
    )
    arrays = []
    for picture in pictures:
        image = Image.open(picture).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
        arrays.append((np.asarray(image, np.float32) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225])
    x = torch.from_numpy(np.stack(arrays).astype(np.float32).transpose(0, 3, 1, 2).copy())
    path = assets / "models" / file
    net = filled(torchvision.models.get_model(name, weights=None), path, x)
    return Case(f"{name} (trained)", net, path, x, layers, linear)


def cases(folder: Path, assets: Path | None) -> dict[str, Callable[[], Case]]:
    """Return how each net is made."""
    made: dict[str, Callable[[], Case]] = {
        "resnet_shapes": lambda: bundled("resnet_shapes", {"layer3": "layer3", "layer4": "layer4"}, "fc"),
        "vgg_shapes": lambda: bundled(
            "vgg_shapes", {"features.16": "features.16", "features.23": "features.23"}
        ),
        "smooth": lambda: smooth(folder),
        "resnet18": lambda: random_net("resnet18", {"layer2": "layer2", "layer4": "layer4"}, "fc", folder),
        "resnet50": lambda: random_net("resnet50", {"layer4": "layer4"}, "fc", folder),
        "efficientnet_b0": lambda: random_net("efficientnet_b0", {"features.5": "features.5"}, "", folder),
        "convnext_tiny": lambda: random_net("convnext_tiny", {"features.7.0": "features.7.0"}, "", folder),
        "vit_tiny": lambda: vision_transformer(folder),
        "vgg16": lambda: random_net("vgg16", {"features.29": "features.29"}, "", folder),
    }  # fmt: skip
    if assets is not None:
        made |= {
            "mobilenet_v2_trained": lambda: trained(
                "mobilenet_v2", "mobilenet_v2_fp32_dequant.onnx", {"features.18": "hardtanh_34"}, "classifier.1", assets
            ),
            "squeezenet_trained": lambda: trained(
                "squeezenet1_1", "squeezenet1.1_fp32_rebuilt.onnx", {"features.12": "concat_61"}, "", assets
            ),
        }
    return made


def apart(ours: np.ndarray, theirs: np.ndarray, *, up_to_sign: bool = False) -> float:
    """Return max |difference| / max |theirs|, per image the worst; up to each image's sign where wanted."""
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        top = np.abs(b).max() or 1.0
        found = [np.abs(a - s * b).max() / top for s in ((1, -1) if up_to_sign else (1,))]
        worst = max(worst, float(min(found)))
    return worst


def compared(case: Case) -> Iterator[tuple[str, str, float, np.ndarray]]:
    """Yield (layer, method, distance, their map) of every method that the net has."""
    x = case.x.numpy()
    with torch.no_grad():
        logits = case.net(case.x).numpy()
    for there, here in case.layers.items():
        module = dict(case.net.named_modules())[there]
        tokens = {"shapleycam": FoldedShapleyCAM} if case.folded is not None else {}
        for method, cls in (PEERS | tokens).items():
            theirs = raw_map(cls, case, module)
            found = Explainer(case.file, method=method, layers=here)(x)
            np.testing.assert_allclose(found.scores, logits, rtol=0, atol=1e-3 * np.abs(logits).max())
            yield here, method, apart(found.map, theirs, up_to_sign=method in UNSIGNED), theirs
        theirs = raw_map(KernelPCA64, case, module)
        yield here, "kpcacam float64", apart(Explainer(case.file, method="kpcacam", layers=here)(x).map, theirs), theirs
        for method in SMOOTHED:
            theirs = raw_map(PEERS[method], case, module, eigen_smooth=True)
            ours = Explainer(case.file, method=method, layers=here, eigen_smooth=True)(x).map
            yield here, f"{method} eigen_smooth", apart(ours, theirs, up_to_sign=True), theirs
        try:
            ours = Explainer(case.file, method="cam", layers=here)(x).map
        except LayerError:
            continue
        if case.linear:
            theirs = original_cam(case, there)
            yield here, "cam", apart(ours, theirs), theirs
    size = (x.shape[2], x.shape[3])
    if len(case.layers) > 1:
        modules = [dict(case.net.named_modules())[there] for there in case.layers]
        names = tuple(case.layers.values())
        for how, method, cls in (("mean", "gradcam", peer.GradCAM), ("product", "gradcam++", peer.RefineCAM)):
            theirs = cls(case.net, modules)(case.x.clone(), None)
            ours = Explainer(case.file, method=method, layers=names)(x).fused(how, size=size)
            yield "+".join(names), f"fused {how}", apart(ours, theirs), theirs[:1]


def main() -> None:
    """Compare, print a table, and keep what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of nets, with commas")
    parser.add_argument("--assets", type=Path, help="folder of trained models and photographs")
    parser.add_argument("--write", type=Path, help="keep the maps of each net there, as NET.npz")
    parser.add_argument("--json", type=Path, help="keep the distances there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    distances: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.write if arguments.write is not None else Path(scratch)
        made = cases(folder, arguments.assets)
        for name in arguments.only.split(",") if arguments.only else made:
            case = made[name]()
            maps: dict[str, np.ndarray] = {"input": case.x.numpy()} if name == "smooth" else {}
            for layer, method, distance, theirs in compared(case):
                print(f"{case.name:24} {layer:24} {method:24} {distance:.1e}", flush=True)
                distances.setdefault(case.name, {})[f"{method} at {layer}"] = distance
                maps[f"{method}@{layer}"] = theirs.astype(np.float32)
            if arguments.write is not None:
                np.savez_compressed(arguments.write / f"cams.{name}.npz", **maps)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(distances, indent=1) + "\n")


if __name__ == "__main__":
    main()
