"""Compare maps of signals, volumes and videos with captum, pytorch-grad-cam and torch-cam.

Nets of PyTorch and torchvision with seeded random weights, in both forms: on signals (N, C, L), volumes
(N, C, D, H, W), videos (N, C, T, H, W) and frames (N, T, C, H, W). What is compared is each package's raw map, before
its ReLU and scaling, as max |difference| / max |theirs|, for the top class of each of two inputs. MONAI's nets are
compared where it is installed::

    pip install "torch==2.13.0" torchvision captum==0.9.0 grad-cam==1.5.7 torchcam==0.5.0 onnxscript
    pip install -e ".[cpu]"
    python tools/peers/peers_rank.py
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision_cpu  # noqa: F401  before what imports torchvision
from torch import Tensor, nn

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import captum.attr as captum  # noqa: E402
import pytorch_grad_cam as gradcam  # noqa: E402
import torchcam.methods as torchcam  # noqa: E402
from torch_files import exported  # noqa: E402

from fgcam_onnx import Explainer  # noqa: E402

STEPS, WINDOW, STRIDE = 8, 4, 3
VOLUMES: dict[str, Any] = {
    "gradcam": gradcam.GradCAM, "hirescam": gradcam.HiResCAM, "layercam": gradcam.LayerCAM,
    "gradcamelementwise": gradcam.GradCAMElementWise,
}  # fmt: skip
"""pytorch-grad-cam's that take five axes."""
ANY: dict[str, Any] = {"gradcam": torchcam.GradCAM, "xgradcam": torchcam.XGradCAM, "layercam": torchcam.LayerCAM}
"""torch-cam's, of any number of axes; its Grad-CAM++ sums g^3 a where the paper, and we, sum a."""


@dataclass(frozen=True)
class Case:
    """A net, inputs, where their channels are, the module to compare at, and which exporter writes it."""

    name: str
    net: nn.Module
    x: Tensor
    layer: str = ""
    channels: int = 1
    traced: bool = False


class Frames(nn.Module):
    """Frames (N, T, C, H, W), each through the same convolutions, their features averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores of clips."""
        features = self.each(x.reshape(-1, 3, 16, 16)).mean((2, 3))
        return self.head(features.reshape(-1, 6, 16).mean(1))


class Block(nn.Module):
    """A residual block of signals."""

    def __init__(self, inside: int, out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(inside, out, 7, stride, 3, bias=False), nn.BatchNorm1d(out), nn.ReLU(),
            nn.Conv1d(out, out, 7, 1, 3, bias=False), nn.BatchNorm1d(out),
        )  # fmt: skip
        self.side = nn.Sequential(nn.Conv1d(inside, out, 1, stride, bias=False), nn.BatchNorm1d(out))
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of the body and the shortcut, rectified."""
        return self.act(self.body(x) + self.side(x))


class Steps(nn.Module):
    """A transformer on a signal (N, T, F), its steps embedded by a linear layer, read from their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(6, 32)
        self.norm1, self.norm2 = nn.LayerNorm(32), nn.LayerNorm(32)
        self.keys = nn.ModuleList(nn.Linear(32, 32) for _ in range(3))
        self.mlp = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores of signals."""
        v = self.embed(x)
        q, k, w = (key(self.norm1(v)) for key in self.keys)
        v = v + (q @ k.transpose(1, 2) / 32**0.5).softmax(-1) @ w
        return self.head((v + self.mlp(self.norm2(v))).mean(1))


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def settled(net: nn.Module) -> nn.Module:
    """Return a net with statistics of its normalizations that are not trivial."""
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.8, 1.2)
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return net.eval()


def ecg() -> Case:
    """Return a residual net on twelve leads."""
    net = nn.Sequential(
        nn.Conv1d(12, 16, 15, 2, 7), nn.ReLU(), nn.MaxPool1d(3, 2, 1), Block(16, 32, 2), Block(32, 48, 2),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(48, 5),
    )  # fmt: skip
    return Case("residual net, 12 leads", settled(net), drawn(2, 12, 400), "4")


def volume() -> Case:
    """Return a small net on volumes with strides, dilation and both poolings."""
    net = nn.Sequential(
        nn.Conv3d(1, 8, 3, 1, 1), nn.BatchNorm3d(8), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(8, 16, 3, (1, 2, 2), 1),
        nn.GroupNorm(4, 16), nn.SiLU(), nn.AvgPool3d((1, 2, 2)), nn.Conv3d(16, 16, 3, 1, 2, 2), nn.ELU(),
        nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(16, 4),
    )  # fmt: skip
    return Case("convolutional net, volumes", settled(net), drawn(2, 1, 10, 18, 14), "9")


def video(name: str, layer: str) -> Case:
    """Return torchvision's net on a short clip."""
    import torchvision

    return Case(name, settled(torchvision.models.get_model(name, weights=None)), drawn(2, 3, 6, 40, 40), layer)


def multiscale() -> Case:
    """Return torchvision's MViT of four blocks, on a small clip."""
    from torchvision.models.video.mvit import MSBlockConfig, MViT

    def block(inside: int, out: int, heads: int, q: list[int], kv: list[int]) -> MSBlockConfig:
        return MSBlockConfig(heads, inside, out, [3, 3, 3] if q else [], [3, 3, 3], q, kv)

    net = MViT(
        spatial_size=(32, 32), temporal_size=4,
        block_setting=[
            block(16, 16, 1, [], [1, 4, 4]), block(16, 32, 2, [1, 2, 2], [1, 2, 2]),
            block(32, 32, 2, [1, 1, 1], [1, 2, 2]), block(32, 32, 2, [1, 1, 1], [1, 1, 1]),
        ],
        residual_pool=False, residual_with_cls_embed=True, rel_pos_embed=False, proj_after_attn=False, num_classes=6,
    )  # fmt: skip
    return Case("mvit, four blocks", net.eval(), drawn(2, 3, 4, 32, 32), traced=True)


def monai(make: Callable[[Any], nn.Module], name: str, layer: str, size: int) -> Case:
    """Return one of MONAI's nets."""
    import monai.networks.nets as nets

    return Case(name, settled(make(nets)), drawn(2, 1, size, size, size), layer)


def cases() -> dict[str, Callable[[], Case]]:
    """Return how each net is made."""
    made: dict[str, Callable[[], Case]] = {
        "ecg": ecg,
        "steps": lambda: Case("transformer, steps", Steps().eval(), drawn(2, 20, 6), channels=2),
        "volume": volume,
        "r3d_18": partial(video, "r3d_18", "layer3"),
        "mc3_18": partial(video, "mc3_18", "layer4"),
        "mvit": multiscale,
        "frames": lambda: Case("frames, folded into the batch", Frames().eval(), drawn(2, 6, 3, 16, 16), channels=2),
        "row": lambda: Case(
            "perceptron, rows", nn.Sequential(nn.Linear(30, 16), nn.Tanh(), nn.Linear(16, 3)).eval(), drawn(2, 30),
            channels=0,
        ),
    }  # fmt: skip
    if importlib.util.find_spec("monai") is not None:
        made["densenet"] = lambda: monai(
            lambda nets: nets.DenseNet121(spatial_dims=3, in_channels=1, out_channels=3),
            "MONAI's DenseNet121", "features.denseblock3", 32,
        )  # fmt: skip
    return made


def at_input(
    case: Case, top: Tensor, *, occluded: bool = True
) -> Iterator[tuple[str, dict[str, Any], str, np.ndarray]]:
    """Yield (method, settings, package, their map) of what explains the input."""
    x, axis = case.x, case.channels

    def summed(a: Tensor) -> np.ndarray:
        return (a.sum(axis) if axis else a).detach().numpy()

    found = captum.Saliency(case.net).attribute(x, top)
    yield "saliency", {}, "captum", (found.amax(axis) if axis else found).detach().numpy()
    yield "inputxgradient", {}, "captum", summed(captum.InputXGradient(case.net).attribute(x, top))
    integrated = captum.IntegratedGradients(case.net).attribute(x, target=top, n_steps=STEPS, internal_batch_size=2)
    yield "integratedgradients", {"steps": STEPS}, "captum", summed(integrated)
    if any(isinstance(m, nn.ReLU) for m in case.net.modules()):
        yield "guidedbackprop", {}, "captum", summed(captum.GuidedBackprop(case.net).attribute(x, top))
    if occluded and x[0].numel() < 20000:
        window = [min(WINDOW, s) for s in x.shape[1:]]
        step = [min(STRIDE, s) for s in x.shape[1:]]
        if axis:
            window[axis - 1] = step[axis - 1] = x.shape[axis]
        theirs = captum.Occlusion(case.net).attribute(
            x, target=top, sliding_window_shapes=tuple(window), strides=tuple(step)
        )
        taken = theirs.select(axis, 0) if axis else theirs
        yield "occlusion", {"window": WINDOW, "stride": STRIDE}, "captum", taken.detach().numpy()


def at_layer(case: Case, top: Tensor) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield (method, package, their map) of class activation maps at the layer."""
    module = dict(case.net.named_modules())[case.layer]
    for method, cls in VOLUMES.items() if case.x.dim() == 5 else ():
        cam, seen = cls(case.net, [module]), list[np.ndarray]()
        original = cam.get_cam_image
        cam.get_cam_image = lambda *a, o=original, s=seen, **k: (s.append(np.asarray(o(*a, **k))), s[-1])[1]
        cam(case.x.clone(), None)
        cam.activations_and_grads.release()
        yield method, "pytorch-grad-cam", seen[0]
    for method, cls in ANY.items():
        maps = []
        for image, target in zip(case.x, top, strict=True):
            with cls(case.net, module) as extractor:
                scores = case.net(image[None].clone().requires_grad_())
                extractor._relu = False
                (found,) = extractor(int(target), scores, normalized=False)
                maps.append(found[0].detach().numpy())
        yield method, "torch-cam", np.stack(maps)


def traced(case: Case, folder: Path) -> Path:
    """Write a net with PyTorch's newer exporter."""
    program = torch.onnx.export(
        case.net, (case.x,), dynamo=True, input_names=["input"], output_names=["logits"], verbose=False,
        dynamic_shapes=({0: torch.export.Dim("N")},),
    )  # fmt: skip
    program.save(folder / "net.onnx")
    return folder / "net.onnx"


def apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return max |difference| / max |theirs|, per input the worst."""
    pairs = zip(ours, theirs, strict=True)
    return max(float(np.abs(a - b).max() / (np.abs(b).max() or 1.0)) for a, b in pairs)


def compared(case: Case, folder: Path) -> Iterator[tuple[str, str, float]]:
    """Yield (method, package, distance) of all that a net has; ``kinks`` are captum's own, float32 from float64."""
    file = traced(case, folder) if case.traced else exported(case.net, folder, "net", case.x)
    x = case.x.numpy()
    logits = case.net(case.x).detach()
    top = logits.argmax(1)
    found: dict[str, np.ndarray] = {}
    for method, settings, package, theirs in at_input(case, top):
        e = Explainer(file, method=method, **settings)(x)
        np.testing.assert_allclose(e.scores, logits.numpy(), rtol=0, atol=1e-3 * float(logits.abs().max()))
        yield method, package, apart(e.map, theirs)
        found[method] = theirs
    wide = replace(case, net=copy.deepcopy(case.net).double(), x=case.x.double())
    for method, _, _, theirs in at_input(wide, top, occluded=False):
        yield method, "kinks", apart(found[method], theirs)
    if case.layer:
        for method, package, theirs in at_layer(case, top):
            yield method, package, apart(Explainer(file, method=method, layers=named(file, case))(x).map, theirs)


def named(file: Path, case: Case) -> str:
    """Return the tensor that the module makes: the layer whose values are its output."""
    from fgcam_onnx import load
    from fgcam_onnx.layers.layers import candidate_layers

    seen: list[Tensor] = []
    handle = dict(case.net.named_modules())[case.layer].register_forward_hook(lambda m, i, o: seen.append(o))
    case.net(case.x)
    handle.remove()
    model = load(file)
    shape = tuple(seen[0].shape[1:])
    fits = [x.name for x in candidate_layers(model, logits=model.outputs[0].name) if tuple(x.shape[1:]) == shape]
    import onnx
    import onnxruntime

    proto = onnx.load(file)
    kept = [n for n in fits if any(n in node.output for node in proto.graph.node)]
    proto.graph.output.extend(onnx.ValueInfoProto(name=n) for n in kept)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    values = session.run(kept, {"input": case.x.numpy()})
    wanted = seen[0].detach().numpy()
    return min(zip(kept, values, strict=True), key=lambda pair: float(np.abs(pair[1] - wanted).max()))[0]


def main() -> None:
    """Compare, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="nets, with commas")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    packages = ("captum", "kinks", "pytorch-grad-cam", "torch-cam")
    print("| net | input | captum | captum itself, float32 from float64 | pytorch-grad-cam | torch-cam |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        made = cases()
        for name in arguments.only.split(",") if arguments.only else made:
            torch.manual_seed(0)
            case, worst = made[name](), defaultdict[str, list[tuple[float, str]]](list)
            for method, package, distance in compared(case, Path(folder)):
                worst[package].append((distance, method))
                print(f"{case.name:32} {package:18} {method:20} {distance:.1e}", file=sys.stderr, flush=True)
            cells = (f"{max(w)[0]:.1e} ({max(w)[1]}, of {len(w)})" if (w := worst[p]) else "" for p in packages)
            print(f"| {case.name} | {' x '.join(map(str, case.x.shape))} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
