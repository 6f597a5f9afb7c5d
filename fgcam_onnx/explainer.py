"""Explainer: a method compiled for a model, built once and called many times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arguments import Target, fitted_feeds, fitted_targets, image_input
from .cam.perturbation import Progress
from .errors import InputError, LayerError, ModelError, OptionError
from .explanation import Explanation, conservation_of
from .graph.layers import INPUT, Layer, candidate_layers, default_base, find_layer
from .graph.loading import bind, load
from .graph.model import Model, TensorSpec
from .graph.score import Score, find_score
from .lrp.composites import product_rule, residual_rule
from .lrp.starts import find_start
from .methods import Options, Run, augmented, find_base, find_method, fitted_settings
from .program import TARGET, class_count
from .runtime import check_finite, resolve_device

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True)
class Compiled:
    """A method built for one input size: its options, the names of its layers, and what runs it."""

    options: Options
    names: tuple[str, ...]
    run: Run


class Explainer:
    """Explain predictions of an exported model.

    Parameters
    ----------
    model : Model, ModelProto or path
    method : str
        A row of ``methods.METHODS``; ``fgcam methods`` lists them.
    layers : str or sequence of str, optional
        Where maps are wanted: tensors, nodes or exporter scopes; ``input`` is the graph's input, ``all``
        every candidate between the input and the base layer. Default: the input for methods that reach it,
        the base layer for class activation maps.
    base : str
        The CAM whose components FG-CAM refines, a row of ``methods.BASES``.
    base_layer : str, optional
        Where they are taken; default the deepest layer with spatial extent.
    denoise : bool
        Keep the leading singular directions of the components.
    residual : {"positive", "signed", "ratio"}, optional
        How a residual Add shares relevance; default ``positive`` for fgcam and, as published, ``signed`` for
        relevancecam.
    products : {"value", "split"}
        How a product of two tensors that both depend on the input shares relevance: a gate or attention weight
        takes nothing (``value``), or each operand half (``split``).
    start : {"contrastive", "logit", "plain", "sglrp"}, optional
        What relevance starts from at the logits; default ``contrastive`` for relevancecam, else ``plain``.
    aug_smooth : bool
        Average the raw maps of each image and its mirror image, both times 0.9, 1 and 1.1, as pytorch-grad-cam
        does: six runs.
    saturation : bool
        Stop the gradient where a quantizer cuts off at 0, as the ReLU that it stands for does (default), or let it
        pass.
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
    **settings
        The method's own options, such as ``samples`` of smoothgrad; ``fgcam methods`` lists them.

    Raises
    ------
    FgcamError
        A layer, option or operator does not fit; see :mod:`fgcam_onnx.errors`.
    """

    def __init__(
        self,
        model: Model | ModelProto | str | Path,
        *,
        method: str = "fgcam",
        layers: str | Sequence[str] | None = None,
        base: str = "gradcam",
        base_layer: str | None = None,
        denoise: bool = False,
        residual: str | None = None,
        products: str = "value",
        start: str | None = None,
        aug_smooth: bool = False,
        saturation: bool = True,
        device: str = "cpu",
        threads: int = 0,
        batch: int = 16,
        input: str | None = None,  # noqa: A002
        output: str | None = None,
        before_softmax: bool = True,
        progress: Progress | None = None,
        **settings: Any,
    ) -> None:
        self._method = find_method(method)
        find_base(base)
        self.settings = fitted_settings(method, settings, base=base)
        residual = residual or ("signed" if method == "relevancecam" else "positive")
        start = start or ("contrastive" if method == "relevancecam" else "plain")
        residual_rule(residual)
        product_rule(products)
        find_start(start)
        for name, value, least in (("batch", batch, 1), ("threads", threads, 0)):
            if value < least:
                raise OptionError(f"{name} must be at least {least}, not {value}")
        resolve_device(device)
        self.model = model if isinstance(model, Model) else load(model)
        self.method, self.base, self.denoise, self.start = method, base, denoise, start
        self.residual, self.products, self.saturation = residual, products, saturation
        self.layers = (layers,) if isinstance(layers, str) else None if layers is None else tuple(layers)
        self.base_layer, self.device, self.threads, self.batch = base_layer, device, threads, batch
        self.aug_smooth = aug_smooth
        self.output, self.before_softmax, self.progress = output, before_softmax, progress
        self.input = image_input(self.model.inputs, input).name
        self._compiled: dict[tuple[tuple[int, ...], bool], Compiled] = {}
        if self._sizes_are_fixed:
            self._compile((), seeded=False)

    @property
    def score(self) -> Score:
        """The output that is explained, and what was looked through to find it."""
        return find_score(self.model, self.output, before_softmax=self.before_softmax)

    @property
    def _spec(self) -> TensorSpec:
        return next(i for i in self.model.inputs if i.name == self.input)

    @property
    def _sizes_are_fixed(self) -> bool:
        return all(isinstance(d, int) for d in self._spec.shape[1:])

    def options(self, size: tuple[int, ...] = (), *, seeded: bool = False) -> tuple[Options, tuple[str, ...]]:
        """Return what the method is built from for inputs of ``size``, and the names its layers were asked by.

        ``size`` is all dimensions but the batch; empty when fixed. ``seeded`` is whether the target is given as
        weights of the logits.
        """
        model = self._bound(size) if size else self.model
        score = find_score(model, self.output, before_softmax=self.before_softmax)
        base = (
            find_layer(model, self.base_layer, logits=score.logits)
            if self.base_layer is not None
            else default_base(model, logits=score.logits)
        )
        layers = self._chosen(model, score, base)
        options = Options(
            model=model,
            input=self.input,
            score=score,
            layers=tuple(layers.values()),
            base=self.base,
            base_layer=base,
            denoise=self.denoise,
            residual=self.residual,
            products=self.products,
            start=self.start,
            saturation=self.saturation,
            seeded=seeded,
            device=self.device,
            threads=self.threads,
            batch=self.batch,
            progress=self.progress,
            settings=self.settings,
        )
        return options, tuple(layers)

    def _compile(self, size: tuple[int, ...], *, seeded: bool) -> Compiled:
        if (size, seeded) not in self._compiled:
            options, names = self.options(size, seeded=seeded)
            run = self._method.compile(options)
            self._compiled[size, seeded] = Compiled(options, names, augmented(run, options) if self.aug_smooth else run)
        return self._compiled[size, seeded]

    def _bound(self, size: tuple[int, ...]) -> Model:
        try:
            return bind(self.model, {self.input: (None, *size)})
        except ModelError as error:
            raise InputError(f"an input of {' x '.join(map(str, size))} does not fit the model: {error}") from error

    def _chosen(self, model: Model, score: Score, base: Layer) -> dict[str, Layer]:
        """Return the layers asked for, by the names they were asked by."""
        chosen: dict[str, Layer] = {}
        if self.layers is None and self._method.at == "base":
            return {base.name: base}
        for name in (INPUT,) if self.layers is None else self.layers:
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
        compiled = self._compile(() if self._sizes_are_fixed else tuple(array.shape[1:]), seeded=False)
        model, score = compiled.options.model, compiled.options.score
        targets = fitted_targets(target, len(array), class_count(model, score.logits))
        found = compiled.run({**feeds, TARGET: targets})
        check_finite({"logits": found["scores"]}, "the model")
        maps = {name: found[f"map/{i}"].astype(np.float32) for i, name in enumerate(compiled.names)}
        check_finite(maps, "the explanation")
        return Explanation(
            maps,
            found["target"],
            found["score"].astype(np.float32),
            found["scores"].astype(np.float32),
            conservation_of(found, compiled.names),
        )

    def _feeds(self, x: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        given = x if isinstance(x, Mapping) else {self.input: x}
        return fitted_feeds(given, self.model.inputs, image=self.input)


def explain(
    model: Model | ModelProto | str | Path,
    x: ArrayLike | Mapping[str, ArrayLike],
    *,
    target: Target = None,
    **options: Any,
) -> Explanation:
    """Explain ``x`` in one call; ``options`` are those of :class:`Explainer`."""
    return Explainer(model, **options)(x, target=target)
