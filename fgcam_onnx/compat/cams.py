"""The classes of class activation maps: how they are called, and what is done to the raw maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..cam.fusion import resized
from ..errors import InputError, OptionError, TargetError
from ..explainer import Explainer
from ..forward import spatial_axes
from ..targets import Class, Objective
from .targets import FinerWeightedTarget

if TYPE_CHECKING:
    from onnx import ModelProto

    from ..graph.model import Model

FACTORS = (0.9, 1.0, 1.1)
"""What ``aug_smooth`` multiplies the input by, each also mirrored."""


class BaseCAM:
    """A class activation map with pytorch-grad-cam's shape of call; its subclasses name the method.

    Parameters
    ----------
    model : path, Model or ModelProto
    target_layers : sequence of str, optional
        Tensors, nodes or the exporter's module paths (``layer4``). Default: where the method has its map.
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
        target_layers: Sequence[str] | None = None,
        *,
        reshape_transform: Callable[..., Any] | None = None,
        **options: Any,
    ) -> None:
        if reshape_transform is not None:
            raise OptionError(
                "reshape_transform is not needed: axes and token grids are found in the graph; leave it out"
            )
        if isinstance(target_layers, str) or not all(isinstance(name, str) for name in target_layers or ()):
            raise OptionError("target_layers is a list of names of layers; `fgcam inspect` lists them")
        self.model, self.target_layers = model, None if target_layers is None else tuple(target_layers)
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


class FinerCAM(BaseCAM):
    """Finer-CAM (Zhang et al., 2025, arXiv:2501.11309): a CAM of a class against the ones most like it.

    Parameters
    ----------
    base_method : subclass of BaseCAM, optional
        Which CAM; default Grad-CAM.
    """

    method = "finercam"

    def __init__(
        self,
        model: Model | ModelProto | str | Path,
        target_layers: Sequence[str] | None = None,
        *,
        base_method: type[BaseCAM] | None = None,
        **options: Any,
    ) -> None:
        self._plain = None if base_method is None else _based(base_method)(model, target_layers, **options)
        self._given = model, target_layers, options
        super().__init__(model, target_layers, **options)

    def __call__(
        self,
        input_tensor: ArrayLike,
        targets: Sequence[Any] | None = None,
        *,
        alpha: float = 1.0,
        comparison_categories: Sequence[int] | None = None,
        target_idx: int | None = None,
        aug_smooth: bool = False,
        eigen_smooth: bool = False,
    ) -> NDArray[np.float32]:
        """Return the maps of ``input_tensor``, as `BaseCAM` does.

        Parameters
        ----------
        alpha : float
            How much the others' logits count.
        comparison_categories : sequence of int, optional
            Which of the classes, in the order of how near their logits are to the target's, it is compared with: 1 is
            the nearest. Default: 1, 2 and 3.
        target_idx : int, optional
            The class, in place of targets; default the top one of each image.

        Raises
        ------
        TargetError
            A target is no class, or there is nothing to compare it with.
        """
        smooth = {"aug_smooth": aug_smooth, "eigen_smooth": eigen_smooth}
        if targets is not None and target_idx is not None:
            raise TargetError("targets and target_idx both say what to explain; give one")
        if self._plain is None and alpha == 1 and comparison_categories is None and target_idx is None:
            return super().__call__(input_tensor, targets, **smooth)
        if self._plain is None:
            model, layers, options = self._given
            self._plain = _based(BaseCAM)(model, layers, **options)
        scores = self._explainer(eigen_smooth=False).predict(np.asarray(input_tensor))
        z = scores.reshape(len(scores), -1)
        mains = _classes(targets, z) if target_idx is None else [target_idx] * len(z)
        ranks = (1, 2, 3) if comparison_categories is None else comparison_categories
        wanted = []
        for row, main in zip(z, mains, strict=True):
            apart = np.abs(row - row[main])
            apart[main] = -1
            order = np.argsort(apart, kind="stable")
            others = [int(order[k]) for k in ranks if 0 < k < len(order)]
            wanted.append(FinerWeightedTarget(main, others, alpha))
        found = self._plain(input_tensor, wanted, **smooth)
        self.outputs = self._plain.outputs
        return found


class RefineCAM(BaseCAM):
    """RefineCAM (Domeniconi et al., 2026, arXiv:2605.14641): the product of a CAM at several layers.

    Parameters
    ----------
    base_method : subclass of BaseCAM, optional
        Which CAM, at the layers named and multiplied at the input's size. Default: Grad-CAM++ at a layer and at each
        stage behind it.
    """

    method = "refinecam"

    def __init__(
        self,
        model: Model | ModelProto | str | Path,
        target_layers: Sequence[str] | None = None,
        *,
        base_method: type[BaseCAM] | None = None,
        **options: Any,
    ) -> None:
        if base_method is not None and not target_layers:
            raise OptionError("base_method multiplies its maps at the layers named: give target_layers")
        super().__init__(model, target_layers, **({} if base_method is not None else options))
        based = [] if base_method is None else [_based(base_method)(model, [x], **options) for x in target_layers or ()]
        self._based: list[BaseCAM] = based

    def __call__(
        self,
        input_tensor: ArrayLike,
        targets: Sequence[Any] | None = None,
        *,
        aug_smooth: bool = False,
        eigen_smooth: bool = False,
    ) -> NDArray[np.float32]:
        """Return the maps of ``input_tensor``, as `BaseCAM` does."""
        smooth = {"aug_smooth": aug_smooth, "eigen_smooth": eigen_smooth}
        if not self._based:
            return super().__call__(input_tensor, targets, **smooth)
        maps = [cam(input_tensor, targets, **smooth) for cam in self._based]
        self.outputs = self._based[0].outputs
        return _scaled(np.prod(maps, axis=0))


def _based(base_method: Any) -> type[BaseCAM]:
    """Return a class of maps that another CAM is made of; Grad-CAM where none is named."""
    if base_method is BaseCAM:
        return type("GradCAM", (BaseCAM,), {"method": "gradcam"})
    if not isinstance(base_method, type) or not issubclass(base_method, BaseCAM) or not base_method.method:
        raise OptionError(f"base_method is a class of fgcam_onnx.compat, such as GradCAM, not {base_method!r:.60}")
    return base_method


def _classes(targets: Sequence[Any] | None, scores: NDArray[np.float32]) -> list[int]:
    """Return the class of each image: that of its target, or the top one."""
    wanted = _fitted(targets, len(scores))
    if wanted is None:
        return [int(row.argmax()) for row in scores]
    if not all(isinstance(target, Class) for target in wanted):
        raise TargetError("finer weights compare a class with others: give ClassifierOutputTarget for each image")
    return [target.index for target in wanted if isinstance(target, Class)]
