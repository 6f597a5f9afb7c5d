"""Explainer: a method compiled for a model, built once and called many times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .cam.perturbation import Progress
from .errors import InputError, LayerError, OptionError, TargetError, suggest
from .graph.layers import INPUT, Layer, candidate_layers, default_base, find_layer
from .graph.loading import bind, load
from .graph.model import Model
from .graph.score import Score, find_score
from .methods import BASES, Method, Options, find_method
from .program import class_count
from .runtime import check_finite, resolve_device

if TYPE_CHECKING:
    from PIL.Image import Image

NEGLIGIBLE = 1e-3
"""Components whose sum is less than this share of their magnitude have no meaningful conservation."""

Target = int | Sequence[int] | NDArray[np.integer[Any]] | None


@dataclass(frozen=True)
class Explanation:
    """Raw maps and what they explain, for N images.

    Attributes
    ----------
    maps : dict of str to ndarray of shape (N, h, w), float32
        Signed map per layer, by the name that was asked for.
    target : ndarray of shape (N,), int64
        The class explained.
    score : ndarray of shape (N,), float32
        Its logit.
    scores : ndarray of shape (N, K), float32
        All logits.
    conservation : dict of str to ndarray of shape (N,)
        Sum of the map over sum of the components it was refined from. NaN where the components sum to
        (nearly) nothing, as denoised ones do. Empty for methods that hand nothing on.
    """

    maps: dict[str, NDArray[np.float32]]
    target: NDArray[np.int64]
    score: NDArray[np.float32]
    scores: NDArray[np.float32]
    conservation: dict[str, NDArray[np.float64]]

    @property
    def map(self) -> NDArray[np.float32]:
        """The only map, of shape (N, h, w).

        Raises
        ------
        LayerError
            When several layers were asked for.
        """
        if len(self.maps) != 1:
            raise LayerError(f"there are maps of {len(self.maps)} layers; choose from .maps: {', '.join(self.maps)}")
        return next(iter(self.maps.values()))

    def overlay(self, image: Image, *, index: int = 0, layer: str | None = None, **style: Any) -> Image:
        """Return ``image`` with the map of image ``index`` over it; ``style`` goes to :func:`imaging.overlay`."""
        from .imaging import overlay

        values = self.map if layer is None else self.maps[layer]
        return overlay(image, values[index], **style)

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``<layer>.npy`` for each layer and ``explanation.json``; returns the paths."""
        from .imaging import save_json, save_npy

        folder = Path(folder)
        paths = [save_npy(folder / f"{safe_name(n)}.npy", m) for n, m in self.maps.items()]
        return [*paths, save_json(folder / "explanation.json", self.summary())]

    def summary(self) -> dict[str, Any]:
        """Return target, score and conservation as plain Python values."""
        return {
            "target": self.target.tolist(),
            "score": [round(float(s), 6) for s in self.score],
            "conservation": {
                n: [None if np.isnan(v) else round(float(v), 6) for v in c] for n, c in self.conservation.items()
            },
        }

    def _repr_png_(self) -> bytes:
        from io import BytesIO

        from PIL import Image

        from .imaging import contact_sheet, heatmap

        tiles = [(n, Image.fromarray(heatmap(m[0], percentile=99.5))) for n, m in self.maps.items()]
        buffer = BytesIO()
        contact_sheet(tiles).save(buffer, "PNG")
        return buffer.getvalue()


def safe_name(layer: str) -> str:
    """Return a layer's name as a file name."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in layer).strip("._") or "layer"


class Explainer:
    """Explain predictions of an exported model.

    Parameters
    ----------
    model : Model or path
    method : {"fgcam", "gradcam"}
    layers : str or sequence of str
        Where maps are wanted: tensors, nodes or exporter scopes; ``input`` is the graph's input, ``all``
        every candidate between the input and the base layer.
    base : {"gradcam", "scorecam"}
        The CAM whose components FG-CAM refines.
    base_layer : str, optional
        Where they are taken; default the deepest layer with spatial extent.
    denoise : bool
        Keep the leading singular directions of the components.
    residual : {"positive", "signed", "ratio"}
        How a residual Add shares relevance.
    device : {"cpu", "cuda", "auto"}
    threads : int
        Threads inside an operator; 0 lets ONNX Runtime choose.
    batch : int
        Images (for Score-CAM: masks) run at once, where the model leaves the batch free.
    input, output : str, optional
        The image input and the score's output, where the model has several.
    before_softmax : bool
        Explain the logit before a trailing Softmax or Sigmoid (default) or the output itself.
    progress : callable, optional
        Called with (done, total) during long work.

    Raises
    ------
    FgcamError
        A layer, option or operator does not fit; see :mod:`fgcam_onnx.errors`.
    """

    def __init__(
        self,
        model: Model | str | Path,
        *,
        method: str = "fgcam",
        layers: str | Sequence[str] = (INPUT,),
        base: str = "gradcam",
        base_layer: str | None = None,
        denoise: bool = False,
        residual: str = "positive",
        device: str = "cpu",
        threads: int = 0,
        batch: int = 16,
        input: str | None = None,  # noqa: A002
        output: str | None = None,
        before_softmax: bool = True,
        progress: Progress | None = None,
    ) -> None:
        self.model = model if isinstance(model, Model) else load(model)
        self.method, self.base, self.denoise, self.residual = method, base, denoise, residual
        self.layers = (layers,) if isinstance(layers, str) else tuple(layers)
        self.base_layer, self.device, self.threads, self.batch = base_layer, device, threads, batch
        self.output, self.before_softmax, self.progress = output, before_softmax, progress
        self.input = self._image_input(input)
        self._build = find_method(method)
        if base not in BASES:
            raise OptionError(f"unknown base {base!r}; choose {', '.join(BASES)}.{suggest(base, BASES)}")
        if batch < 1:
            raise OptionError(f"batch must be at least 1, not {batch}")
        resolve_device(device)
        self._compiled: dict[tuple[int, ...], tuple[Model, Score, Method, dict[str, Layer]]] = {}
        if all(isinstance(d, int) for d in self._spec.shape[1:]):
            self._compile(())

    @property
    def _spec(self) -> Any:
        return next(i for i in self.model.inputs if i.name == self.input)

    def _image_input(self, name: str | None) -> str:
        names = [i.name for i in self.model.inputs]
        if name is None and len(names) > 1:
            raise InputError(
                f"the model has several inputs: {', '.join(names)}. Choose the image with input= (--input NAME)"
            )
        if name is not None and name not in names:
            raise InputError(f"no input {name!r}; the model has {', '.join(names)}.{suggest(name, names)}")
        return name or names[0]

    def _compile(self, size: tuple[int, ...]) -> tuple[Model, Score, Method, dict[str, Layer]]:
        """Build the method for inputs of ``size`` (the dimensions after the batch; empty when all are fixed)."""
        if size in self._compiled:
            return self._compiled[size]
        model = bind(self.model, {self.input: (None, *size)}) if size else self.model
        score = find_score(model, self.output, before_softmax=self.before_softmax)
        base = (
            find_layer(model, self.base_layer, logits=score.logits)
            if self.base_layer is not None
            else default_base(model, logits=score.logits)
        )
        layers = self._chosen(model, score, base)
        options = Options(
            model=model,
            score=score,
            layers=tuple(layers.values()),
            base=self.base if self.method == "fgcam" else self.method,
            base_layer=base,
            denoise=self.denoise,
            residual=self.residual,
            device=self.device,
            threads=self.threads,
            batch=self.batch,
            progress=self.progress,
        )
        self._compiled[size] = (model, score, self._build(options), layers)
        return self._compiled[size]

    def _chosen(self, model: Model, score: Score, base: Layer) -> dict[str, Layer]:
        """Return the layers asked for, by the names they were asked by."""
        chosen: dict[str, Layer] = {}
        for name in self.layers:
            if name == "all":
                every = candidate_layers(model, logits=score.logits)
                end = next((i for i, x in enumerate(every) if x.name == base.name), len(every) - 1)
                chosen |= {x.name: x for x in every[: end + 1] if x.every_path}
            else:
                chosen[name] = find_layer(model, name, logits=score.logits)
        if not chosen:
            raise LayerError("no layer was asked for")
        return chosen

    def __call__(self, x: ArrayLike | Mapping[str, ArrayLike], *, target: Target = None) -> Explanation:
        """Explain ``x``.

        Parameters
        ----------
        x : array of shape (N, C, H, W), or as the model takes it
            Preprocessed images; a mapping of input names where the model has several inputs.
        target : int, sequence of int, or None
            Class to explain: one for all images, one for each, or the top class.

        Raises
        ------
        InputError
            The array does not fit the model's input.
        TargetError
            The target is out of range, or there are not as many as images.
        NumericsError
            The model's outputs or the maps are not finite.
        """
        feeds = self._feeds(x)
        array = feeds[self.input]
        fixed = all(isinstance(d, int) for d in self._spec.shape[1:])
        model, score, run, layers = self._compile(() if fixed else array.shape[1:])
        targets = _targets(target, len(array), class_count(model, score.logits))
        found = run(feeds, targets)
        check_finite({"logits": found["scores"]}, "the model")
        maps = {name: found[f"map/{i}"].astype(np.float32) for i, name in enumerate(layers)}
        check_finite(maps, "the explanation")
        return Explanation(
            maps,
            found["target"],
            found["score"].astype(np.float32),
            found["scores"].astype(np.float32),
            _conservation(found, list(layers)),
        )

    def _feeds(self, x: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        given = x if isinstance(x, Mapping) else {self.input: x}
        feeds = {i.name: _fitted(np.asarray(given[i.name]), i) for i in self.model.inputs if i.name in given}
        if self.input not in feeds:
            raise InputError(f"no value for input {self.input!r}")
        return feeds


def _fitted(array: NDArray[Any], spec: Any) -> NDArray[Any]:
    """Check an array against the input it is for; floats are converted among themselves."""
    if array.ndim != len(spec.shape):
        raise InputError(
            f"input {spec.name!r} takes {len(spec.shape)} dimensions {list(spec.shape)}, got shape {array.shape}; "
            "the first is the batch"
        )
    if array.shape[0] == 0:
        raise InputError("the batch is empty")
    for axis, (size, wanted) in enumerate(zip(array.shape, spec.shape, strict=True)):
        if axis and isinstance(wanted, int) and size != wanted:
            raise InputError(f"input {spec.name!r} has shape {list(spec.shape)}, got {array.shape}")
    if array.dtype != spec.dtype and not (array.dtype.kind == "f" and spec.dtype.kind == "f"):
        raise InputError(f"input {spec.name!r} takes {spec.dtype}, got {array.dtype}")
    return array.astype(spec.dtype, copy=False)


def _targets(target: Target, count: int, classes: int) -> NDArray[np.int64]:
    """Return one target per image, -1 for the top class."""
    if target is None:
        return np.full(count, -1, np.int64)
    targets = np.asarray(target)
    if targets.dtype.kind not in "iu" or targets.ndim > 1:
        raise TargetError(f"a target is a class index, or one per image; got {target!r}")
    if targets.ndim == 1 and len(targets) != count:
        raise TargetError(f"{len(targets)} targets for {count} images; give one, or one per image")
    out = targets[(targets < 0) | (targets >= classes)] if targets.ndim else targets.reshape(1)
    if targets.ndim == 0 and 0 <= int(targets) < classes:
        out = out[:0]
    if out.size:
        raise TargetError(f"target {int(out.flat[0])} is out of range: the model has classes 0 to {classes - 1}")
    return np.broadcast_to(targets, (count,)).astype(np.int64)


def _conservation(found: Mapping[str, NDArray[Any]], layers: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    if "total" not in found:
        return {}
    total, magnitude = found["total"].astype(np.float64), found["magnitude"]
    meaningful = np.abs(total) > NEGLIGIBLE * magnitude
    safe = np.where(meaningful, total, 1)
    return {n: np.where(meaningful, found[f"sum/{i}"] / safe, np.nan) for i, n in enumerate(layers)}


def explain(model: Model | str | Path, x: ArrayLike, *, target: Target = None, **options: Any) -> Explanation:
    """Explain ``x`` in one call; ``options`` are those of :class:`Explainer`."""
    return Explainer(model, **options)(x, target=target)
