"""Compare :mod:`fgcam_onnx.compat` with pytorch-grad-cam, and write what it gives as a golden for the tests.

Needs torch, grad-cam (1.5.5 or newer), onnx and onnxruntime in one environment of their own:

    python tools/peers/peers_compat.py --write tests/goldens/compat.npz
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torchvision_cpu  # noqa: F401  before what imports torchvision

import pytorch_grad_cam  # isort: skip
from pytorch_grad_cam.utils import model_targets
from pytorch_grad_cam.utils.image import show_cam_on_image

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[2] / "tests" / "support")]

from nets import BASE, images, small_cnn, small_weights  # noqa: E402

from fgcam_onnx import compat  # noqa: E402
from fgcam_onnx.errors import OptionError  # noqa: E402

FIRST = "/layer1/relu/Relu_output_0"
SIZE = (31, 23)
CALLS: dict[str, tuple[str, list[str], Any, dict[str, Any]]] = {
    "top": ("GradCAM", [BASE], None, {}),
    "class": ("GradCAM", [BASE], [("ClassifierOutputTarget", 3)] * 3, {}),
    "mixed": ("GradCAM", [BASE], [("ClassifierOutputTarget", c) for c in (0, 4, 2)], {}),
    "layers": ("GradCAM", [FIRST, BASE], [("ClassifierOutputTarget", 1)] * 3, {}),
    "augmented": ("GradCAM", [BASE], [("ClassifierOutputTarget", 1)] * 3, {"aug_smooth": True}),
    "probability": ("GradCAM", [BASE], [("ClassifierOutputSoftmaxTarget", 2)] * 3, {}),
    "rest": ("GradCAM", [BASE], [("ClassifierOutputReST", 2)] * 3, {}),
}
OTHERS = ("FullGrad", "GradCAMElementWise", "GradCAMPlusPlus", "HiResCAM", "LayerCAM", "XGradCAM")
SIGNED = ("EigenCAM", "EigenGradCAM")
"""Whose sign pytorch-grad-cam leaves to the singular value decomposition."""


class Net(torch.nn.Module):
    """The small_cnn of tests/support/nets.py in torch."""

    def __init__(self) -> None:
        super().__init__()
        w = {n: torch.from_numpy(a) for n, a in small_weights().items()}
        self.one, self.two = torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Conv2d(8, 16, 3, padding=1)
        self.fc = torch.nn.Linear(16, 5)
        for module, name in ((self.one, "layer1.conv"), (self.two, "layer2.conv"), (self.fc, "fc")):
            module.weight.data, module.bias.data = w[f"{name}.weight"], w[f"{name}.bias"]
        self.relu1, self.relu2 = torch.nn.ReLU(), torch.nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        x = torch.nn.functional.max_pool2d(self.relu1(self.one(x)), 2)
        return self.fc(self.relu2(self.two(x)).mean((2, 3)))


class Segmenter(torch.nn.Module):
    """The features of the net, and a map of two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.relu1, self.head = Net().one, torch.nn.ReLU(), torch.nn.Conv2d(8, 2, 1)
        self.head.weight.data = torch.from_numpy(segmentation_head())
        self.head.bias.data.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return self.head(self.relu1(self.one(x)))


def segmentation_head() -> Any:
    return np.random.default_rng(21).standard_normal((2, 8, 1, 1)).astype(np.float32)


def segmentation_mask() -> Any:
    return (np.random.default_rng(22).random(SIZE) < 0.3).astype(np.float32)


def theirs(name: str, layers: list[str], targets: Any, options: dict[str, Any]) -> Any:
    net = Net().eval()
    modules = {FIRST: net.relu1, BASE: net.relu2}
    made = None if targets is None else [getattr(model_targets, t)(a) for t, a in targets]
    with getattr(pytorch_grad_cam, name)(model=net, target_layers=[modules[x] for x in layers]) as cam:
        return cam(input_tensor=torch.from_numpy(images(3, size=SIZE)), targets=made, **options)


def ours(name: str, layers: list[str], targets: Any, options: dict[str, Any]) -> Any:
    made = None if targets is None else [getattr(compat, t)(a) for t, a in targets]
    with getattr(compat, name)(model=small_cnn(size=SIZE), target_layers=layers) as cam:
        return cam(input_tensor=images(3, size=SIZE), targets=made, **options)


FINER: dict[str, tuple[str, dict[str, Any]]] = {
    "finer": ("", {}),
    "finer alpha": ("", {"alpha": 0.6, "comparison_categories": [1, 2], "target_idx": 2}),
    "finer base": ("GradCAMElementWise", {"comparison_categories": [1, 3]}),
}
"""Its base, and how it is called, on the top class where none is said."""

METRICS: dict[str, tuple[str, dict[str, Any]]] = {
    "multiplied": ("CamMultImageConfidenceChange", {}),
    "drop": ("DropInConfidence", {}),
    "increase": ("IncreaseInConfidence", {}),
    "most": ("ROADMostRelevantFirst", {"percentile": 75}),
    "least": ("ROADLeastRelevantFirst", {"percentile": 30}),
    "combined": ("ROADCombined", {"percentiles": [20, 40, 60, 80]}),
}
"""ROAD's without the noise that is added, which is drawn otherwise."""


def compare_finer(golden: dict[str, Any]) -> None:
    x = images(3, size=SIZE)
    for key, (base, options) in FINER.items():
        net = Net().eval()
        based = {"base_method": getattr(pytorch_grad_cam, base)} if base else {}
        with pytorch_grad_cam.FinerCAM(net, [net.relu2], **based) as cam:
            golden[key] = cam(torch.from_numpy(x), **options)
        based = {"base_method": getattr(compat, base)} if base else {}
        with compat.FinerCAM(small_cnn(size=SIZE), [BASE], **based) as own:
            print(f"FinerCAM             {key:12s} {np.abs(golden[key] - own(x, **options)).max():.1e}")
    net = Net().eval()
    made = [model_targets.ClassifierOutputTarget(1)] * 3
    cam = pytorch_grad_cam.RefineCAM(net, [net.relu1, net.relu2], base_method=pytorch_grad_cam.GradCAM)
    golden["refined base"] = cam(torch.from_numpy(x), targets=made)
    own = compat.RefineCAM(small_cnn(size=SIZE), [FIRST, BASE], base_method=compat.GradCAM)
    found = own(x, targets=[compat.ClassifierOutputTarget(1)] * 3)
    print(f"RefineCAM            base_method  {np.abs(golden['refined base'] - found).max():.1e}")


def compare_metrics(golden: dict[str, Any]) -> None:
    from pytorch_grad_cam.metrics import cam_mult_image, road

    quiet = lambda self, noise=0.01: setattr(self, "noise", 0) or setattr(self, "weighting", road.neighbors_weights)
    road.NoisyLinearImputer.__init__ = quiet
    x, net = images(3, size=SIZE), Net().eval()
    maps = theirs("GradCAM", [BASE], [("ClassifierOutputTarget", 1)] * 3, {})
    golden["metric maps"] = maps
    for key, (name, options) in METRICS.items():
        made = [model_targets.ClassifierOutputSoftmaxTarget(c) for c in (0, 1, 3)]
        metric = getattr(cam_mult_image, name, None) or getattr(road, name)
        golden[key] = metric(**options)(torch.from_numpy(x), maps, made, net)
        own = getattr(compat, name)(**options, **({"noise": 0.0} if name.startswith("ROAD") else {}))
        found = own(x, maps, [compat.ClassifierOutputSoftmaxTarget(c) for c in (0, 1, 3)], small_cnn(size=SIZE))
        print(f"{name:28s} {np.abs(golden[key] - found).max():.1e}, of {np.abs(golden[key]).max():.2f}")


def compare_guided(golden: dict[str, Any]) -> None:
    from pytorch_grad_cam.utils.image import deprocess_image, preprocess_image

    x = images(1, size=SIZE)
    for key, category in (("guided", None), ("guided 2", 2)):
        golden[key] = pytorch_grad_cam.GuidedBackpropReLUModel(Net(), "cpu")(torch.from_numpy(x), category)
        found = compat.GuidedBackpropReLUModel(small_cnn(size=SIZE), "cpu")(x, category)
        off = np.abs(golden[key] - found).max() / np.abs(golden[key]).max()
        print(f"GuidedBackpropReLUModel {key}: {off:.1e} of the largest")
    golden["deprocessed"] = deprocess_image(golden["guided"])
    off = np.abs(golden["deprocessed"].astype(int) - compat.deprocess_image(golden["guided"])).max()
    print(f"deprocess_image: at most {off} of 255")
    pixels = (picture()[0] * 255).astype(np.uint8)
    for key, given in (("prepared", picture()[0]), ("prepared bytes", pixels)):
        golden[key] = preprocess_image(given, mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.4]).numpy()
        found = compat.preprocess_image(given, mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.4])
        print(f"preprocess_image {key}: {np.abs(golden[key] - found).max():.1e}")


def compare_factors(golden: dict[str, Any]) -> None:
    from pytorch_grad_cam.utils.image import show_factorization_on_image

    net, x = Net().eval(), images(2, size=SIZE)
    there = pytorch_grad_cam.DeepFeatureFactorization(net, net.relu2, computation_on_concepts=net.fc)
    golden["concepts"], maps, golden["concept scores"] = there(torch.from_numpy(x), 4)
    golden["concept maps"] = np.stack(maps)
    w, b = small_weights()["fc.weight"], small_weights()["fc.bias"]
    own = compat.DeepFeatureFactorization(small_cnn(size=SIZE), BASE, computation_on_concepts=lambda c: c @ w.T + b)
    concepts, found, scores = own(x, 4)
    for key, value in (("concepts", concepts), ("concept maps", np.stack(found)), ("concept scores", scores)):
        print(f"DeepFeatureFactorization {key}: {np.abs(golden[key] - value).max():.1e} of {golden[key].max():.2f}")
    colors = [np.array(c) for c in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 0.0))]
    image = np.random.default_rng(6).random((*SIZE, 3))
    golden["concepts shown"] = show_factorization_on_image(image, golden["concept maps"][0].copy(), colors, 0.3)
    shown = compat.show_factorization_on_image(image, golden["concept maps"][0], colors=colors, image_weight=0.3)
    print(f"show_factorization_on_image: at most {np.abs(golden['concepts shown'].astype(int) - shown).max()} of 255")


def picture() -> tuple[Any, Any]:
    rng = np.random.default_rng(5)
    return rng.random((20, 30, 3)).astype(np.float32), rng.random((20, 30)).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path)
    golden: dict[str, Any] = {}
    for key, call in CALLS.items():
        golden[key] = theirs(*call)
        print(f"{call[0]:20s} {key:12s} {np.abs(golden[key] - ours(*call)).max():.1e}")
    for name in SIGNED:
        call = (name, [BASE], [("ClassifierOutputTarget", c) for c in (0, 4, 2)], {})
        apart = np.abs(theirs(*call) - ours(*call)).max((1, 2))
        print(f"{name:20s} {'mixed':12s} {apart.min():.1e}, {int((apart > 1e-3).sum())} of 3 with the other sign")
    for name in OTHERS:
        call = (name, [BASE], [("ClassifierOutputTarget", c) for c in (0, 4, 2)], {})
        try:
            found = ours(*call)
        except OptionError as error:
            print(f"{name:20s} not here: {str(error).split(';')[0]}")
            continue
        golden[name] = theirs(*call)
        print(f"{name:20s} {'mixed':12s} {np.abs(golden[name] - found).max():.1e}")
    compare_finer(golden)
    compare_metrics(golden)
    compare_guided(golden)
    compare_factors(golden)
    net = Segmenter().eval()
    with pytorch_grad_cam.GradCAM(model=net, target_layers=[net.relu1]) as cam:
        made = [model_targets.SemanticSegmentationTarget(1, segmentation_mask())] * 2
        golden["region"] = cam(input_tensor=torch.from_numpy(images(2, size=SIZE)), targets=made)
    image, mask = picture()
    for number in (cv2.COLORMAP_JET, cv2.COLORMAP_VIRIDIS, cv2.COLORMAP_TURBO, cv2.COLORMAP_BONE):
        for rgb in (False, True):
            wanted = show_cam_on_image(image, mask, use_rgb=rgb, colormap=number, image_weight=0.3)
            found = compat.show_cam_on_image(image, mask, use_rgb=rgb, colormap=number, image_weight=0.3)
            golden[f"shown/{number}/{int(rgb)}"] = wanted
            print(f"colormap {number} rgb {rgb}: at most {np.abs(wanted.astype(int) - found).max()} of 255")
    steps = np.arange(256, dtype=np.uint8)[:, None]
    golden["jet"] = cv2.applyColorMap(steps, cv2.COLORMAP_JET)[:, 0, ::-1]
    path = parser.parse_args().write
    if path is not None:
        np.savez_compressed(path, **golden)
        print(f"{path}: {path.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    main()
