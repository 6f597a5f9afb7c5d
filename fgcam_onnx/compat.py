"""pytorch-grad-cam's shape of call on an exported model, for those who come from it.

``with GradCAM(model="model.onnx", target_layers=["layer4"]) as cam: grayscale = cam(input_tensor=x, targets=[…])``

The arithmetic after the raw map is that of pytorch-grad-cam 1.5 (Gildenblat et al., 2021,
https://github.com/jacobgil/pytorch-grad-cam, MIT): ReLU, scaled by ``(x - min) / (1e-7 + max)``, enlarged bilinearly,
averaged over the layers, scaled again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .cam.fusion import resized
from .errors import InputError, OptionError, TargetError
from .explainer import Explainer
from .forward import spatial_axes
from .imaging.colormaps import COLORMAP_JET, opencv_colors
from .targets import Aim, Class, Objective, Predicted, Region, Weighted
from .targets.classes import Probability

if TYPE_CHECKING:
    from onnx import ModelProto

    from .graph.model import Model

METHODS_BY_CLASS: Mapping[str, str] = {
    "AblationCAM": "ablationcam",
    "EigenCAM": "eigencam",
    "EigenGradCAM": "eigengradcam",
    "FEM": "fem",
    "FGCAM": "fgcam",
    "FinerCAM": "finercam",
    "FullGrad": "fullgrad",
    "GradCAM": "gradcam",
    "GradCAMElementWise": "gradcamelementwise",
    "GradCAMPlusPlus": "gradcam++",
    "HiResCAM": "hirescam",
    "KPCA_CAM": "kpcacam",
    "LayerCAM": "layercam",
    "RefineCAM": "refinecam",
    "RelevanceCAM": "relevancecam",
    "ScoreCAM": "scorecam",
    "ShapleyCAM": "shapleycam",
    "XGradCAM": "xgradcam",
}
"""The classes that :mod:`fgcam_onnx.compat` has, pytorch-grad-cam's names first, and the methods they run."""

__all__ = [
    "BaseCAM",
    "BinaryClassifierOutputTarget",
    "ClassifierOutputReST",
    "ClassifierOutputSoftmaxTarget",
    "ClassifierOutputTarget",
    "RawScoresOutputTarget",
    "SemanticSegmentationTarget",
    "show_cam_on_image",
    *METHODS_BY_CLASS,
]

OPTIONS_BY_CLASS: Mapping[str, Mapping[str, Any]] = {"FullGrad": {"layers": None, "rescale": "channel"}}
"""What pytorch-grad-cam's classes do that the methods' defaults do not; its FullGrad ignores the layers named."""

FACTORS = (0.9, 1.0, 1.1)
"""What ``aug_smooth`` multiplies the input by, each also mirrored."""


class BaseCAM:
    """A class activation map with pytorch-grad-cam's shape of call; its subclasses name the method.

    Parameters
    ----------
    model : path, Model or ModelProto
    target_layers : sequence of str
        Tensors, nodes or the exporter's module paths (``layer4``).
    **options
        Those of :class:`fgcam_onnx.Explainer`.

    Attributes
    ----------
    outputs : ndarray of shape (N, ...)
        The logits of the last call.

    Raises
    ------
    FgcamError
        The model, a layer or an option does not fit.
    """

    method: ClassVar[str] = ""
    defaults: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self,
        model: Model | ModelProto | str | Path,
        target_layers: Sequence[str],
        *,
        reshape_transform: Callable[..., Any] | None = None,
        **options: Any,
    ) -> None:
        if reshape_transform is not None:
            raise OptionError(
                "reshape_transform is not needed: axes and token grids are found in the graph; leave it out"
            )
        if isinstance(target_layers, str) or not all(isinstance(name, str) for name in target_layers):
            raise OptionError("target_layers is a list of names of layers; `fgcam inspect` lists them")
        self.model, self.target_layers = model, tuple(target_layers)
        self._options = {"layers": self.target_layers} | dict(self.defaults) | options
        self._explainers: dict[bool, Explainer] = {}
        self._explainer(eigen_smooth=False)
        self.outputs: NDArray[np.float32] | None = None

    def _explainer(self, *, eigen_smooth: bool) -> Explainer:
        if eigen_smooth not in self._explainers:
            options = self._options | ({"eigen_smooth": True} if eigen_smooth else {})
            self._explainers[eigen_smooth] = Explainer(self.model, method=self.method, **options)
        return self._explainers[eigen_smooth]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._explainers.clear()

    def __call__(
        self,
        input_tensor: ArrayLike,
        targets: Sequence[Any] | None = None,
        *,
        aug_smooth: bool = False,
        eigen_smooth: bool = False,
    ) -> NDArray[np.float32]:
        """Return the maps of ``input_tensor``, (N, H, W) float32 in [0, 1], at the input's size.

        Parameters
        ----------
        input_tensor : array of shape (N, C, H, W), or as the model takes it
        targets : sequence of N targets, or None
            Those of this module, or of :mod:`fgcam_onnx.targets`; None for the top class of each image.
        aug_smooth : bool
            Average over the image and its mirror image, each times 0.9, 1 and 1.1.
        eigen_smooth : bool
            Take the first principal component of the components in place of their sum.

        Raises
        ------
        TargetError
            Not as many targets as images (pytorch-grad-cam leaves the images without a target out, without
            saying so), or one that does not fit.
        InputError
            The array does not fit the model.
        """
        x = np.asarray(input_tensor)
        explainer = self._explainer(eigen_smooth=eigen_smooth)
        wanted = _fitted(targets, len(x) if x.ndim else 0)
        if not aug_smooth:
            return self._maps(explainer, x, wanted)
        *_, width_axis = self._axes(explainer, x)
        maps = []
        for mirrored in (False, True):
            seen = np.flip(x, width_axis) if mirrored else x
            for factor in FACTORS:
                one = self._maps(explainer, (seen * x.dtype.type(factor)).astype(x.dtype), wanted)
                maps.append(one[..., ::-1] if mirrored else one)
        return np.asarray(np.mean(np.asarray(maps, np.float32), axis=0), np.float32)

    def _axes(self, explainer: Explainer, x: NDArray[Any]) -> tuple[int, ...]:
        axes = spatial_axes(explainer.model, explainer.input)
        if not axes or x.ndim != len(axes) + 2:
            raise InputError(
                f"maps are drawn at the size of pictures (N, C, H, W) or (N, H, W, C), not {list(x.shape)}"
            )
        return axes

    def _maps(self, explainer: Explainer, x: NDArray[Any], targets: list[Objective] | None) -> NDArray[np.float32]:
        size = tuple(x.shape[a] for a in self._axes(explainer, x))
        e = explainer(x, target=targets)
        shape = tuple(next(o.shape for o in explainer.model.outputs if o.name == explainer.score.output)[1:])
        sizes = [d for d in shape if isinstance(d, int)]
        whole = len(sizes) == len(shape) and int(np.prod(sizes)) == e.scores.shape[1]
        self.outputs = e.scores.reshape(-1, *sizes) if whole else e.scores
        layers = [resized(_scaled(np.maximum(raw, 0)), size) for raw in e.maps.values()]
        return _scaled(np.mean(layers, axis=0))


def _fitted(targets: Sequence[Any] | None, count: int) -> list[Objective] | None:
    if targets is None:
        return None
    found = [Class(int(t)) if isinstance(t, int | np.integer) else t for t in targets]
    for target in found:
        if not isinstance(target, Objective):
            raise TargetError(
                f"a target is one of fgcam_onnx.compat or fgcam_onnx.targets, not {target!r}: an exported model's "
                "output is no tensor that a function could be called on. targets.Weighted takes any weights"
            )
    if len(found) != count:
        raise TargetError(f"{len(found)} targets for {count} images; give one for each")
    return found


def _scaled(maps: Any) -> NDArray[np.float32]:
    """Shift and scale each map to [0, 1]."""
    low = np.asarray(maps, np.float32)
    space = tuple(range(1, low.ndim))
    low = low - low.min(axis=space, keepdims=True)
    return np.asarray(low / (1e-7 + low.max(axis=space, keepdims=True)), np.float32)


# ---- targets by pytorch-grad-cam's names


def ClassifierOutputTarget(category: int) -> Objective:  # noqa: N802
    """Return the logit of a class."""
    return Class(category)


def ClassifierOutputSoftmaxTarget(category: int) -> Objective:  # noqa: N802
    """Return the probability of a class."""
    return Probability(category)


@dataclass(frozen=True)
class ClassifierOutputReST(Objective):
    """The logit of a class and the logarithm of its probability (arXiv:2501.06261)."""

    category: int

    def aim(self, predicted: Predicted) -> Aim:
        """Weigh by the gradient: twice the class less the probabilities."""
        z = predicted.logits.reshape(len(predicted.logits), -1).astype(np.float64)
        one = Class(self.category).aim(predicted).weights.reshape(z.shape)
        shifted = z - z.max(1, keepdims=True)
        log = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        weights = (2 * one - np.exp(log)).astype(np.float32).reshape(predicted.logits.shape)
        score = (one * (z + log)).sum(1).astype(np.float32)
        return Aim(weights, score, (f"{self.named(self.category)}, logit and log probability",) * len(z))


@dataclass(frozen=True)
class BinaryClassifierOutputTarget(Objective):
    """The only output, positive for category 1, else negative."""

    category: int

    def aim(self, predicted: Predicted) -> Aim:
        """Weigh the output by 1 or -1."""
        if predicted.logits[0].size != 1:
            raise TargetError(f"a binary classifier has one output for each image, not {predicted.logits[0].size}")
        sign = 1.0 if self.category == 1 else -1.0
        return Weighted(np.full(predicted.logits.shape[1:], sign)).aim(predicted)


@dataclass(frozen=True)
class RawScoresOutputTarget(Objective):
    """The output as it is; where it has several elements, their sum."""

    def aim(self, predicted: Predicted) -> Aim:
        """Weigh every element by 1."""
        return Weighted(np.ones(predicted.logits.shape[1:])).aim(predicted)


def SemanticSegmentationTarget(category: int, mask: ArrayLike) -> Objective:  # noqa: N802
    """Return the sum of a category's logits over a mask (h, w) of an output (N, classes, h, w)."""
    return Region(category, mask)


def show_cam_on_image(
    img: NDArray[Any],
    mask: NDArray[Any],
    *,
    use_rgb: bool = False,
    colormap: int = COLORMAP_JET,
    image_weight: float = 0.5,
) -> NDArray[np.uint8]:
    """Return a picture with a map over it, equal to pytorch-grad-cam's within 1 of 255.

    Parameters
    ----------
    img : ndarray of shape (H, W, 3)
        Floats of at most 1.
    mask : ndarray of shape (H, W)
        In [0, 1].
    use_rgb : bool
        Whether the colours of the map are RGB, as ``img`` then should be, or BGR.
    colormap : int
        OpenCV's number; default, its jet.
    image_weight : float
        Share of ``img``, in [0, 1].

    Returns
    -------
    ndarray of shape (H, W, 3), uint8

    Raises
    ------
    InputError
        The arrays do not fit.
    OptionError
        The weight is out of range, or the colormap is not known.
    """
    img, mask = np.asarray(img), np.asarray(mask)
    if img.ndim != 3 or img.shape[2] != 3 or img.shape[:2] != mask.shape:
        raise InputError(f"img is (H, W, 3) and mask (H, W), not {img.shape} and {mask.shape}")
    if not (np.isfinite(img).all() and np.isfinite(mask).all()) or img.max() > 1 or mask.min() < 0 or mask.max() > 1:
        raise InputError("img holds floats of at most 1, and mask floats from 0 to 1")
    if not 0 <= image_weight <= 1:
        raise OptionError(f"image_weight is from 0 to 1, not {image_weight}")
    heat = opencv_colors(colormap)[(255 * mask).astype(np.uint8)].astype(np.float32) / 255
    mixed = (1 - image_weight) * (heat if use_rgb else heat[..., ::-1]) + image_weight * img
    top = mixed.max()
    return np.asarray(255 * (mixed / top if top > 0 else mixed)).astype(np.uint8)


def __getattr__(name: str) -> Any:
    """Make the class of a method when it is first used."""
    if name not in METHODS_BY_CLASS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    method = METHODS_BY_CLASS[name]
    doc = f"``{method}`` with pytorch-grad-cam's shape of call."
    made = type(name, (BaseCAM,), {"method": method, "defaults": OPTIONS_BY_CLASS.get(name, {}), "__doc__": doc})
    made.__module__ = __name__
    globals()[name] = made
    return made


def __dir__() -> list[str]:
    return sorted({*globals(), *METHODS_BY_CLASS})
