"""Explainer: a method compiled for a model, built once and called many times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arguments import fitted_feeds, image_input
from .cam.perturbation import Progress
from .errors import InputError, ModelError, OptionError
from .explanation import Explanation, conservation_of, trace_of
from .forward import Forward, forward
from .graph.model import Model, TensorSpec
from .graph.score import Score, find_score
from .loading.loading import bind, load
from .methods import Options, Run, augmented, find_method
from .methods.choosing import base_layer_of, chosen, chosen_layers
from .program import SEED, TARGET, class_count
from .runtime import check_finite
from .saving.saving import check_plain
from .targets import Aim, AnyTarget, Objective, Predicted, aimed, fitted_classes, objectives_of

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Explainer", "explain"]


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
    grid : (int, int), optional
        Height and width of a transformer's grid of tokens, where the graph does not show it; tokens before the
        last ``height * width`` are left out.
    denoise : bool
        Keep the leading singular directions of the components.
    eigen_smooth : bool
        Of a class activation map, or of FG-CAM's base: the first principal component of the components over the
        positions, in place of their sum over the channels.
    residual : {"positive", "signed", "ratio"}, optional
        How a residual Add shares relevance; default ``positive`` for fgcam, as published ``signed`` for
        relevancecam, and what the composite says for lrp.
    products : {"value", "split"}, optional
        How a product of two tensors that both depend on the input shares relevance: a gate or attention weight
        takes nothing (``value``, the default but for AttnLRP), or each operand half (``split``).
    start : {"contrastive", "logit", "plain", "sglrp"}, optional
        What relevance starts from at the logits; default ``contrastive`` for relevancecam, ``logit`` for
        deeptaylor, else ``plain``.
    aug_smooth : bool
        Average the raw maps of each image and its mirror image, both times 0.9, 1 and 1.1, as pytorch-grad-cam
        does: six runs.
    trace : bool
        Also note what every operator gets and hands on, as ``Explanation.trace``.
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
        grid: tuple[int, int] | None = None,
        denoise: bool = False,
        eigen_smooth: bool = False,
        residual: str | None = None,
        products: str | None = None,
        start: str | None = None,
        aug_smooth: bool = False,
        trace: bool = False,
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
        self.method = method
        self.choices = chosen(
            method,
            base=base,
            denoise=denoise,
            eigen_smooth=eigen_smooth,
            residual=residual,
            products=products,
            start=start,
            saturation=saturation,
            trace=trace,
            device=device,
            threads=threads,
            batch=batch,
            progress=progress,
            settings=settings,
        )
        if trace and aug_smooth:
            raise OptionError("a trace is of one run, aug_smooth averages several: choose one")
        self.model = model if isinstance(model, Model) else load(model)
        check_plain(self.model)
        self.layers = (layers,) if isinstance(layers, str) else None if layers is None else tuple(layers)
        self.base_layer = base_layer
        self.grid = None if grid is None else (int(grid[0]), int(grid[1]))
        self.aug_smooth = aug_smooth
        self.output, self.before_softmax = output, before_softmax
        self.input = image_input(self.model.inputs, input).name
        self._compiled: dict[tuple[tuple[int, ...], bool], Compiled] = {}
        self._forwards: dict[tuple[tuple[int, ...], bool], Forward] = {}
        if not self.sizes_are_free:
            self._compile((), seeded=False)

    @property
    def score(self) -> Score:
        """The output that is explained, and what was looked through to find it."""
        return find_score(self.model, self.output, before_softmax=self.before_softmax)

    @property
    def _spec(self) -> TensorSpec:
        return next(i for i in self.model.inputs if i.name == self.input)

    @property
    def sizes_are_free(self) -> bool:
        """Whether the model takes images of several sizes: it is then compiled for each that comes."""
        return not all(isinstance(d, int) for d in self._spec.shape[1:])

    def options(self, size: tuple[int, ...] = (), *, seeded: bool = False) -> tuple[Options, tuple[str, ...]]:
        """Return what the method is built from for inputs of ``size``, and the names its layers were asked by.

        ``size`` is all dimensions but the batch; empty when fixed. ``seeded`` is whether the target is given as
        weights of the logits.
        """
        model = self._bound(size) if size else self.model
        score = find_score(model, self.output, before_softmax=self.before_softmax)
        base = base_layer_of(model, self.base_layer, logits=score.logits, grid=self.grid)
        layers = chosen_layers(model, self.layers, method=self.method, base=base, logits=score.logits, grid=self.grid)
        options = Options(
            **vars(self.choices),
            model=model,
            input=self.input,
            score=score,
            layers=tuple(layers.values()),
            base_layer=base,
            seeded=seeded,
        )
        return options, tuple(layers)

    def _compile(self, size: tuple[int, ...], *, seeded: bool) -> Compiled:
        if (size, seeded) not in self._compiled:
            options, names = self.options(size, seeded=seeded)
            run = find_method(self.method).compile(options)
            self._compiled[size, seeded] = Compiled(options, names, augmented(run, options) if self.aug_smooth else run)
        return self._compiled[size, seeded]

    def _bound(self, size: tuple[int, ...]) -> Model:
        try:
            return bind(self.model, {self.input: (None, *size)})
        except ModelError as error:
            raise InputError(f"an input of {' x '.join(map(str, size))} does not fit the model: {error}") from error

    def __call__(self, x: ArrayLike | Mapping[str, ArrayLike], *, target: AnyTarget = None) -> Explanation:
        """Explain ``x``.

        Parameters
        ----------
        x : array of shape (N, C, H, W), or as the model takes it
            Preprocessed images; a mapping of input names where the model has several inputs.
        target : int, sequence of int, target, sequence of targets, or None
            What to explain. A class: one for all images, one for each, several for each (N rows, or
            ``targets.Classes``), or the top class. Or another number: ``targets`` has contrasts, elements, regions,
            detections and similarities, one for all images or one for each.

        Raises
        ------
        InputError
            The array does not fit the model's input.
        TargetError
            The target is out of range, does not fit the output, or there are not as many as images.
        AbsentError
            An image does not show what was to be explained.
        NumericsError
            The model's outputs or the maps are not finite.
        """
        feeds = self.feeds(x)
        count, size = len(feeds[self.input]), self._size(feeds)
        aim, each = None, 1
        if objectives := objectives_of(target, count):
            compiled = self._compile(size, seeded=True)
            aim = self._aim(feeds, objectives)
            feeds[SEED] = aim.weights.reshape(count, -1)
        else:
            compiled = self._compile(size, seeded=False)
            classes = class_count(compiled.options.model, compiled.options.score.logits)
            feeds[TARGET], each = fitted_classes(target, count, classes)
            feeds = self._repeated(feeds, each)
        found = compiled.run(feeds)
        check_finite({"logits": found["scores"]}, "the model")
        maps = {name: found[f"map/{i}"].astype(np.float32) for i, name in enumerate(compiled.names)}
        check_finite(maps, "the explanation")
        return Explanation(
            maps,
            found["target"] if aim is None else np.full(count, -1, np.int64),
            found["score"].astype(np.float32) if aim is None else aim.score,
            found["scores"].astype(np.float32),
            conservation_of(found, compiled.names),
            () if aim is None else aim.described,
            each,
            trace_of(found),
        )

    def predict(self, x: ArrayLike | Mapping[str, ArrayLike]) -> NDArray[np.float32]:
        """Return the model's output that is explained, before a trailing Softmax or Sigmoid, of shape (N, ...).

        Raises
        ------
        InputError
            The array does not fit the model's input.
        """
        return self._forward(self.feeds(x), others=False).logits

    def _forward(self, feeds: dict[str, NDArray[Any]], *, others: bool) -> Predicted:
        size = self._size(feeds)
        if (size, others) not in self._forwards:
            self._forwards[size, others] = forward(self.options(size)[0], others=others)
        return self._forwards[size, others](feeds)

    def _aim(self, feeds: dict[str, NDArray[Any]], objectives: Sequence[Objective]) -> Aim:
        return aimed(objectives, self._forward(feeds, others=any(o.reads_others for o in objectives)))

    def _size(self, feeds: Mapping[str, NDArray[Any]]) -> tuple[int, ...]:
        return tuple(feeds[self.input].shape[1:]) if self.sizes_are_free else ()

    def _repeated(self, feeds: dict[str, NDArray[Any]], each: int) -> dict[str, NDArray[Any]]:
        """Repeat what belongs to the images ``each`` times."""
        if each == 1:
            return feeds
        batched = {i.name for i in self.model.inputs if i.shape and i.shape[0] == self._spec.shape[0]}
        return {n: a.repeat(each, 0) if n in batched else a for n, a in feeds.items()}

    def feeds(self, x: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        """Return ``x`` as the arrays that the model takes, by input.

        Raises
        ------
        InputError
            It does not fit.
        """
        given = x if isinstance(x, Mapping) else {self.input: x}
        return fitted_feeds(given, self.model.inputs, image=self.input)


def explain(
    model: Model | ModelProto | str | Path,
    x: ArrayLike | Mapping[str, ArrayLike],
    *,
    target: AnyTarget = None,
    **options: Any,
) -> Explanation:
    """Explain ``x`` in one call; ``options`` are those of :class:`Explainer`."""
    return Explainer(model, **options)(x, target=target)
