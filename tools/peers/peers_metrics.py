"""Compare metrics with torch-cam, pytorch-grad-cam, Quantus and RISE's published protocol on the same maps.

The bundled vgg net is rebuilt in PyTorch with the weights of its .onnx file; its Grad-CAM maps, and smooth random ones,
are given to both sides, which run the same pictures::

    pip install "torch==2.13.0"
    pip install torchcam==0.5.0 grad-cam==1.5.7 quantus==0.6.0
    pip install -e ".[cpu]"
    python tools/peers/peers_metrics.py

The exit code is 1 where a figure is off by 1e-3 or more.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from peers_captum import MODELS, bundled
from PIL import Image

from fgcam_onnx import Explainer
from fgcam_onnx.metrics import Case, Metric, Picture, find_metric, measure
from fgcam_onnx.metrics import formulas as f
from fgcam_onnx.metrics.grids import enlarged

sys.path.append(str(MODELS.parent / "tools" / "training"))
from train_shapes import MEAN, STD

NAMES = ("circle", "crescent", "cross", "heart", "ring", "square", "star", "triangle")
NET = "vgg_shapes"
LAYER = "features.24"
CLOSE = 1e-3
Figures = dict[str, np.ndarray]


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Return the bundled pictures as the net takes them, and the masks of their objects."""
    pixels = [np.asarray(Image.open(MODELS / "pictures" / f"{n}.png").convert("RGB"), np.float32) for n in NAMES]
    x = ((np.stack(pixels).transpose(0, 3, 1, 2) / 255 - np.float32(MEAN)) / np.float32(STD)).astype(np.float32)
    masks = [np.asarray(Image.open(MODELS / "pictures" / "masks" / f"{n}.png").convert("L")) > 127 for n in NAMES]
    return x, np.stack(masks)


def some_maps(x: np.ndarray, target: np.ndarray, size: tuple[int, int]) -> Figures:
    """Return maps (N, H, W) from 0 to 1 without two equal values: Grad-CAM's, and smooth random ones."""
    raw = Explainer(MODELS / f"{NET}.torchscript.onnx", method="gradcam", layers=LAYER)(x, target=target).map
    rng = np.random.default_rng(0)
    coarse = {"gradcam": raw, "random": rng.random((len(x), 6, 6))}
    found = {name: np.maximum(enlarged(maps, size=size), 0) for name, maps in coarse.items()}
    for maps in found.values():
        maps += rng.random(maps.shape) * 1e-6
        maps -= maps.min((1, 2), keepdims=True)
        maps /= maps.max((1, 2), keepdims=True)
    return {n: m.astype(np.float32).astype(np.float64) for n, m in found.items()}


class Ours:
    """Our metrics of given maps, the net run by torch, so that only the metric can differ."""

    def __init__(self, net: torch.nn.Module, x: np.ndarray, masks: np.ndarray, target: np.ndarray) -> None:
        self.net, self.x, self.masks, self.target = net, x, masks, target

    def explain(self, x: np.ndarray, target: int) -> np.ndarray:
        """Return Grad-CAM's maps as pytorch-grad-cam has them: the positive part, from 0 to 1, at the input's size."""
        explainer = Explainer(MODELS / f"{NET}.torchscript.onnx", method="gradcam", layers=LAYER)
        return np.maximum(explainer(np.asarray(x, np.float32), target=np.full(len(x), target)).map, 0)

    def __call__(self, metrics: Sequence[Metric], maps: np.ndarray) -> Figures:
        """Return each metric of each picture."""
        cases = [
            Case(Picture(x, mask, 0), raw, lambda given, asked, t=int(t): self.explain(given, t))
            for x, mask, raw, t in zip(self.x, self.masks, maps, self.target, strict=True)
        ]

        def predict(copies: np.ndarray, owners: Sequence[int]) -> np.ndarray:
            with torch.no_grad():
                scores = torch.softmax(self.net(torch.tensor(copies, dtype=torch.float32)), 1).numpy()
            return scores[np.arange(len(copies)), self.target[list(owners)]]

        found = measure(cases, metrics, predict=predict)
        return {m.name: np.array([row[m.name] for row in found]) for m in metrics}


def torchcam_figures(net: torch.nn.Module, x: np.ndarray, maps: np.ndarray, target: np.ndarray) -> Figures:
    """Return torch-cam's metrics of the maps, which an extractor that has them hands out."""
    from contextlib import nullcontext

    from torchcam.metrics import ClassificationMetric, DeletionInsertionMetric

    found: dict[str, list[float]] = {"drop": [], "increase": [], "deletion": [], "insertion_zero": []}
    for picture, values, t in zip(x, maps, target, strict=True):

        class Given:
            model = net
            _hooks_off = staticmethod(nullcontext)

            def __call__(self, class_idx: object, scores: object, v: np.ndarray = values) -> list[torch.Tensor]:
                return [torch.tensor(v, dtype=torch.float32)[None]]

            def fuse_cams(self, cams: list[torch.Tensor]) -> torch.Tensor:
                return cams[0]

        softmax = lambda scores: torch.softmax(scores, 1)
        first = ClassificationMetric(Given(), softmax)
        second = DeletionInsertionMetric(Given(), softmax, steps=16)
        for metric in (first, second):
            metric.update(torch.tensor(picture)[None], int(t))
        found["drop"].append(first.summary()["avg_drop"])
        found["increase"].append(first.summary()["conf_increase"])
        curves = second.summary()
        names = {n.split("_")[0]: n for n in curves}
        found["deletion"].append(float(curves[names["deletion"]]))
        found["insertion_zero"].append(float(curves[names["insertion"]]))
    return {n: np.array(v) for n, v in found.items()}


def gradcam_figures(net: torch.nn.Module, x: np.ndarray, maps: np.ndarray, target: np.ndarray) -> Figures:
    """Return pytorch-grad-cam's metrics of the maps; its ROAD without the noise that both add."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.metrics import arcc, road
    from pytorch_grad_cam.metrics.cam_mult_image import CamMultImageConfidenceChange, IncreaseInConfidence
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

    given = road.NoisyLinearImputer.__init__.__defaults__
    road.NoisyLinearImputer.__init__.__defaults__ = (0.0, *given[1:])
    targets = [ClassifierOutputSoftmaxTarget(int(t)) for t in target]
    images, cams = torch.tensor(x), maps.astype(np.float32)
    change = CamMultImageConfidenceChange()(images, cams, targets, net)
    with GradCAM(net, [net.get_submodule(LAYER)]) as cam:
        logits = [lambda scores, t=int(t): scores[t] for t in target]
        coherency = arcc.Coherency()(images, cams, logits, net, cam)
    return {
        "masked - whole": change,
        "increase": IncreaseInConfidence()(images, cams, targets, net),
        "road": road.ROADCombined(percentiles=[20, 40, 60, 80])(images, cams, targets, net),
        "complexity": arcc.Complexity()(cams),
        "coherency": coherency,
    }


def rise_figures(
    net: torch.nn.Module, x: np.ndarray, maps: np.ndarray, target: np.ndarray, blurred: np.ndarray
) -> Figures:
    """Return RISE's Deletion and Insertion: 96 even steps of 96 pixels, the area with half of both ends."""
    found: dict[str, list[float]] = {"deletion": [], "insertion": []}
    for picture, values, t, blur in zip(x, maps, target, blurred, strict=True):
        order = np.argsort(values.reshape(-1))[::-1].copy()
        for name, (start, finish) in {"deletion": (picture, 0 * picture), "insertion": (blur, picture)}.items():
            at, steps = start.copy().reshape(3, -1), []
            for step in range(97):
                with torch.no_grad():
                    scores = torch.softmax(net(torch.tensor(at.reshape(1, 3, 96, 96), dtype=torch.float32)), 1)
                steps.append(float(scores[0, int(t)]))
                places = order[96 * step : 96 * (step + 1)]
                at[:, places] = finish.reshape(3, -1)[:, places]
            curve = np.array(steps)
            found[name].append((curve.sum() - curve[0] / 2 - curve[-1] / 2) / (len(curve) - 1))
    return {n: np.array(v) for n, v in found.items()}


def quantus_figures(
    net: torch.nn.Module, x: np.ndarray, masks: np.ndarray, maps: np.ndarray, target: np.ndarray
) -> Figures:
    """Return Quantus' metrics of the maps that have a counterpart here."""
    import quantus

    pixels = masks[0].size

    common = {"disable_warnings": True, "display_progressbar": False, "abs": False, "normalise": False}
    batch = {"model": net, "x_batch": x, "y_batch": target, "s_batch": masks[:, None], "device": "cpu",
             "softmax": True}  # fmt: skip
    rows = {
        "energy": quantus.AttributionLocalisation(positive_attributions=True, **common),
        "pointing": quantus.PointingGame(**common),
        "top_pixels": quantus.TopKIntersection(k=round(0.05 * 96 * 96), **common),
        "relevance rank": quantus.RelevanceRankAccuracy(**common),
        "entropy": quantus.Complexity(**common),
        "gini": quantus.Sparseness(**common),
        "flipping": quantus.PixelFlipping(features_in_step=3 * pixels // 12, perturb_baseline=0.0, **common),
    }
    # some of them change the maps that they are given
    return {n: np.array(metric(a_batch=maps[:, None].copy(), **batch), np.float64) for n, metric in rows.items()}


def compare(peer: str, name: str, ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Print how far figures are apart; return whether they are close."""
    off = float(np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)).max())
    print(f"  {peer:18s} {name:16s} ours {np.mean(ours):8.5f}  theirs {np.mean(theirs):8.5f}  largest {off:8.1e}")
    return off < CLOSE


def main() -> None:
    """Compare all, on two kinds of maps."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    net = bundled(NET)
    x, masks = pictures()
    with torch.no_grad():
        target = net(torch.tensor(x)).argmax(1).numpy()
    ours = Ours(net, x, masks, target)
    pixels = 96 * 96
    step = -(-pixels // 16)
    coarse = tuple(k * step / pixels for k in range(1, 16))
    fine = tuple(k / 96 for k in range(1, 96))
    # as many pixels as np.percentile's threshold takes away
    removed = tuple(1 - int(p * (pixels - 1)) / pixels for p in (0.8, 0.6, 0.4, 0.2))
    close = []
    for kind, maps in some_maps(x, target, (96, 96)).items():
        print(kind)

        def own(*names: str, maps: np.ndarray = maps, **settings: object) -> Figures:
            return ours([find_metric(n).having(**settings) for n in names], maps)

        theirs = torchcam_figures(net, x, maps, target)
        mine = own("drop", "increase") | own("deletion", "insertion_zero", shares=coarse)
        close += [compare("torch-cam", n, mine[n], theirs[n]) for n in theirs]

        theirs = gradcam_figures(net, x, maps, target)
        mine = own("drop", "increase", "gain", "complexity", "coherency", "adcc") | own(
            "road", "arcc", portions=removed
        )
        whole = np.array([probability(net, p, t) for p, t in zip(x, target, strict=True)])
        change = theirs.pop("masked - whole")
        theirs |= {"drop": np.maximum(-change, 0) / whole, "gain": np.maximum(change, 0) / (1 - whole)}
        parts = list(zip(theirs["coherency"], 1 - theirs["complexity"], strict=True))
        theirs["adcc"] = np.array([f.harmonic(*p, 1 - d) for p, d in zip(parts, theirs["drop"], strict=True)])
        twice = np.clip(2 * theirs["road"], 0, 1)
        theirs["arcc"] = np.array([f.harmonic(*p, r) for p, r in zip(parts, twice, strict=True)])
        close += [compare("pytorch-grad-cam", n, mine[n], theirs[n]) for n in theirs]

        blurred = np.stack([Picture(p).baseline("blur") for p in x])
        theirs = rise_figures(net, x, maps, target, blurred)
        mine = own("deletion", "insertion", shares=fine)
        close += [compare("RISE", n, mine[n], theirs[n]) for n in theirs]

        theirs = quantus_figures(net, x, masks, maps, target)
        mine = own("energy", "top_pixels", "iou", "entropy", "gini")
        mine |= own("deletion", shares=tuple(k / 12 for k in range(1, 12)))
        order = [np.argsort(-m.reshape(-1)) for m in maps]
        mine["pointing"] = np.array([f.pointing(o, m, tolerance=0) for o, m in zip(order, masks, strict=True)])
        mine["entropy"] = mine["entropy"] * np.log(pixels)
        rank = theirs.pop("relevance rank")
        theirs["iou"] = rank / (2 - rank)
        flips = theirs.pop("flipping")
        curve = np.column_stack([whole, flips])
        theirs["deletion"] = np.trapezoid(curve, dx=1 / 12, axis=1)
        close += [compare("Quantus", n, mine[n], theirs[n]) for n in theirs]
    print(f"{sum(close)} of {len(close)} within {CLOSE:g}")
    sys.exit(not all(close))


def probability(net: torch.nn.Module, picture: np.ndarray, target: int) -> float:
    with torch.no_grad():
        return float(torch.softmax(net(torch.tensor(picture)[None]), 1)[0, int(target)])


if __name__ == "__main__":
    main()
