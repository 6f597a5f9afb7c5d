"""Explainer: a method compiled for a model, built once and called many times."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arguments import fitted_answers, fitted_feeds, fitted_frame, image_input, placed_in, repeated
from .arithmetic import computed
from .asked import checked, names_of, size_of
from .assembling import assembled
from .cam.perturbation import Progress
from .defaults import METHOD
from .errors import OptionError, TargetError
from .explanation import Explanation
from .forward import Forward, forward
from .graph.model import Model
from .graph.score import Score
from .heads import NOTHING, Head, Stated, meaning_of
from .layers.flow import Flow, flow_of
from .loading.loading import load
from .methods import Options, Tunnel, check_smoothed, find_method, smoothed
from .methods.choosing import chosen, chosen_layers
from .methods.grounds import ground_of
from .methods.method import Compiled
from .methods.remarks import remarks_of
from .methods.taking import refuse_unused
from .program import SEED, TARGET
from .runtime import accountable
from .saving.saving import check_plain
from .sizes import Sizes, bound_to, open_inputs
from .surgery.framing import framed
from .targets import AnyTarget, Predicted, aimed, fitted_classes, objectives_of

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Explainer", "explain"]


class Explainer:
    """Explain predictions of an exported model.

    Parameters
    ----------
    model : Model, ModelProto or path
    method : str
        A row of ``methods.METHODS``; ``fgcam methods`` lists them.
    layers : str or sequence of str, optional
        Where maps are wanted: tensors, nodes, exporter scopes, ``input``, or ``all`` between the input and the base
        layer. Default: the input for methods that reach it, the base layer for class activation maps.
    base, base_layer : str, optional
        The CAM that is refined (``methods.BASES``), and where; default ``gradcam`` at the deepest, of auto what suits.
    grid : tuple of int, optional
        Size of a transformer's grid of tokens, such as (height, width), where the graph does not show it.
    denoise : bool
        Keep the leading singular directions of the components.
    eigen_smooth : bool
        Of a CAM, refined or not: its components' first principal component in place of their sum over the channels.
    residual : {"positive", "signed", "ratio"}, optional
        How a residual Add shares relevance; default ``positive`` (fgcam), ``signed`` (relevancecam), the composite's.
    products : {"value", "split"}, optional
        How a product of two varying tensors shares: a gate takes nothing (``value``, but for AttnLRP), or half each.
    start : {"contrastive", "logit", "plain", "sglrp", "signed"}, optional
        Relevance at the logits; default ``contrastive`` (relevancecam), ``logit`` (deeptaylor), ``signed`` (lrp, where
        its rules turn with the logit's sign), else ``plain``.
    aug_smooth : bool
        Average the raw maps of each image and its mirror image, both times 0.9, 1 and 1.1: six runs (pytorch-grad-cam).
    tunnel : Tunnel, optional
        Take the mean, square mean or variance of the raw maps over noisy copies of each image (captum's NoiseTunnel).
    trace : bool
        Also note what every operator gets and hands on, as ``Explanation.trace``.
    saturation : bool
        Stop the gradient where a quantizer cuts off at 0, as the ReLU that it stands for does, or let it pass.
    int8 : {"deployed", "exact"}
        Sums of integer products as this processor computes them (x86 without VNNI cuts off at 16 bits), or exact.
    device : {"cpu", "cuda", "auto"}
    threads : int
        Threads inside an operator, at most the machine's; 0 lets ONNX Runtime choose.
    optimization : {"all", "extended", "basic", "off"}
        How far ONNX Runtime rewrites the graph before it runs it.
    batch : int
        Images (for Score-CAM: masks) run at once, where the model leaves the batch free.
    input, output : str, optional
        The image input and the score's output, where the model has several.
    before_softmax : bool
        Explain the logit before a trailing Softmax or Sigmoid, or the output itself; boxes are read as they come.
    head : Stated
        What the output means, as far as that is to be said and not found out: ``Stated("map")``, class names.
    progress : callable, optional
        Called with (done, total) during long work.
    **settings
        The method's own options; ``fgcam methods`` lists them.

    Raises
    ------
    FgcamError
        A layer, option or operator does not fit; see :mod:`fgcam_onnx.errors`.
    """

    def __init__(
        self,
        model: Model | ModelProto | str | Path,
        *,
        method: str = METHOD,
        layers: str | Sequence[str] | None = None,
        base: str | None = None,
        base_layer: str | None = None,
        grid: tuple[int, ...] | None = None,
        denoise: bool = False,
        eigen_smooth: bool = False,
        residual: str | None = None,
        products: str | None = None,
        start: str | None = None,
        aug_smooth: bool = False,
        tunnel: Tunnel | None = None,
        trace: bool = False,
        saturation: bool = True,
        int8: str = "deployed",
        device: str = "cpu",
        threads: int = 0,
        optimization: str = "all",
        batch: int = 16,
        input: str | None = None,  # noqa: A002
        output: str | None = None,
        before_softmax: bool = True,
        head: Stated = NOTHING,
        progress: Progress | None = None,
        **settings: Any,
    ) -> None:
        checked(locals())
        self.method = method
        self.choices = chosen(
            method, base=base, denoise=denoise, eigen_smooth=eigen_smooth, residual=residual, products=products,
            start=start, saturation=saturation, trace=trace, device=device, threads=threads,
            optimization=optimization, batch=batch, progress=progress, settings=settings,
        )  # fmt: skip
        self.layers = names_of(layers, "layers")
        refuse_unused(method, {"base_layer": base_layer}, base=base, layers=self.layers)
        loaded, self.stated = self._opened(model, head)
        check_plain(loaded)
        self.input = image_input(loaded.inputs, input).name
        self.int8 = int8
        self.model, self.frame = framed(computed(loaded, int8), self.input)
        check_smoothed(mirrored=aug_smooth, tunnel=tunnel, trace=trace, flat=bool(self.frame and self.frame.flat))
        self.base_layer = base_layer
        self.grid = size_of(grid, "grid")
        self.aug_smooth, self.tunnel = aug_smooth, tunnel
        self.output, self.before_softmax = output, before_softmax
        self._forget()
        self._ready()

    def _ready(self) -> None:
        if not self.sizes_are_free:
            self._compile((), seeded=False)

    def _opened(self, model: Model | ModelProto | str | Path, head: Stated) -> tuple[Model, Stated]:
        """Return the model, read once the options are found to fit, and what is said of its output."""
        stated = head if isinstance(head, Stated) else Stated(head)
        return model if isinstance(model, Model) else load(model), stated

    def _forget(self) -> None:
        self._sizes = Sizes(self.model, self.input)
        self._compiled: dict[tuple[tuple[int, ...], bool], Compiled] = {}
        self._siblings: dict[Any, Explainer] = {}
        self._forwards: dict[tuple[tuple[int, ...], bool], Forward] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return what it was built from, without sessions and ``progress``: elsewhere it is built when it is called."""
        kept = {n: v for n, v in vars(self).items() if not n.startswith("_")}
        return kept | {"choices": replace(self.choices, progress=None)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what `__getstate__` returned."""
        vars(self).update(state)
        self._forget()

    @property
    def score(self) -> Score:
        """The output that is explained, and what was looked through to find it."""
        return self._meaning()[0]

    @property
    def head(self) -> Head:
        """What the output means, as far as its sizes are fixed."""
        return self._meaning()[1]

    def _meaning(self, size: tuple[int, ...] = ()) -> tuple[Score, Head]:
        said: dict[str, Any] = {"before_softmax": self.before_softmax, "stated": self.stated}
        return meaning_of(self._sizes.bound(size), self.output, source=self.input, **said)

    @property
    def base(self) -> str | None:
        """The CAM that is refined, where the method refines one; empty where it would, and the kind of net has none."""
        return None if find_method(self.method).base is None else (self._built or self.choices).base

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is wrong with the method at these layers, or costly, a sentence each; known once it is built."""
        return () if self._built is None else remarks_of(self.method, self._built)

    @property
    def _built(self) -> Options | None:
        every = (c for e in (self, *self._siblings.values()) for c in e._compiled.values())
        return next((c.options for c in every), None)

    @property
    def bag(self) -> bool:
        """Whether the model gives several images one answer, as far as its sizes are fixed."""
        return self._flow(()).bag

    @property
    def sizes_are_free(self) -> bool:
        """Whether the model takes images of several sizes: it is then compiled for each that comes."""
        return self._sizes.free

    def options(self, size: tuple[int, ...] = (), *, seeded: bool = False) -> tuple[Options, tuple[str, ...]]:
        """Return what the method is built from for inputs of ``size``, and the names its layers were asked by.

        ``size``: all dimensions but the batch, empty when fixed; ``seeded``: the target is weights of the logits.
        """
        model = self._sizes.bound(size)
        score, head = self._meaning(size)
        where: dict[str, Any] = {"logits": score.logits, "source": self.input, "grid": self.grid}
        ground = ground_of(model, method=self.method, base=self.choices.base, layer=self.base_layer, **where)
        layers = chosen_layers(model, self.layers, method=self.method, base=ground.layer, **where)
        options = Options(
            **{**vars(self.choices), "base": ground.base}, model=model, input=self.input, score=score, head=head,
            layers=tuple(layers.values()), base_layer=ground.layer, seeded=seeded,
        )  # fmt: skip
        if options.trace and (options.flow.bag or options.flow.axis):
            raise OptionError("a trace is of models that give each image an answer of its own, one row for each")
        return options, tuple(layers)

    def _compile(self, size: tuple[int, ...], *, seeded: bool) -> Compiled:
        if (size, seeded) not in self._compiled:
            with accountable(self.model):
                options, names = self.options(size, seeded=seeded)
                run = find_method(self.method).compile(options)
                run = smoothed(run, options, mirrored=self.aug_smooth, tunnel=self.tunnel)
            self._compiled[size, seeded] = Compiled(options, names, run)
        return self._compiled[size, seeded]

    def _flow(self, size: tuple[int, ...]) -> Flow:
        return flow_of(self._sizes.bound(size), logits=self._meaning(size)[0].logits, source=self.input)

    def __call__(self, x: ArrayLike | Mapping[str, ArrayLike], *, target: AnyTarget = None) -> Explanation:
        """Explain ``x``.

        Parameters
        ----------
        x : array as the model takes it: (N, C, L), (N, C, H, W), (N, C, D, H, W) and others
            Preprocessed images, signals, volumes; a mapping of input names where the model has several inputs.
        target : int, sequence of int, target, sequence of targets, or None
            A class: one for all images, one for each, several for each (N rows, or ``targets.Classes``), or the top
            class. Or another number: of ``targets`` contrasts, elements, regions, detections, similarities.

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
        if (closed := self._closed(feeds)) is not self:
            return closed(x, target=target)
        size, images = self._sizes.of(feeds), len(feeds[self.input])
        count = fitted_answers(self._flow(size), images)
        aim = None
        objectives, each = objectives_of(target, count, head=self._meaning(size)[1])
        if objectives:
            compiled = self._compile(size, seeded=True)
            feeds = repeated(feeds, each, self.model.inputs, image=self.input)
            aim = aimed(objectives, self._forward(feeds, others=any(o.reads_others for o in objectives)))
            feeds[SEED] = aim.weights.reshape(count * each, -1)
        else:
            compiled = self._compile(size, seeded=False)
            classes = compiled.options.flow.classes
            feeds[TARGET], each = fitted_classes(target, count, classes)
            if each > 1 and compiled.options.flow.bag:
                raise TargetError("a bag of images is explained for one class at a time")
            feeds = repeated(feeds, each, self.model.inputs, image=self.input)
        found = compiled.run(feeds)
        own = x[self.input] if isinstance(x, Mapping) else x
        placements = placed_in(own, compiled.options.model, self.input, images)
        known: dict[str, Any] = {"aim": aim, "count": count, "each": each, "placements": placements}
        return assembled(found, compiled, method=self.method, **known)

    def predict(self, x: ArrayLike | Mapping[str, ArrayLike]) -> NDArray[np.float32]:
        """Return the model's output that is explained, before a trailing Softmax or Sigmoid, of shape (N, ...).

        Raises
        ------
        InputError
            The array does not fit.
        """
        feeds = self.feeds(x)
        return self._closed(feeds)._forward(feeds, others=False).logits

    def _closed(self, feeds: Mapping[str, NDArray[Any]]) -> Explainer:
        """Return the same on a model of which further inputs have the sizes of ``feeds``."""
        shapes = {n: feeds[n].shape for n in open_inputs(self.model, self.input, given=feeds)}
        if not shapes:
            return self
        key = tuple(sorted(shapes.items()))
        if key not in self._siblings:
            self._siblings[key] = self.on(bound_to(self.model, shapes), self.input)
        return self._siblings[key]

    def on(self, model: Model, source: str) -> Self:
        """Return the same on another form of the model, whose images are input ``source``."""
        other = copy.copy(self)
        other.model, other.input, other.choices = model, source, self.choices
        other._forget()
        return other

    def _forward(self, feeds: dict[str, NDArray[Any]], *, others: bool) -> Predicted:
        size = self._sizes.of(feeds)
        if (size, others) not in self._forwards:
            self._forwards[size, others] = forward(self.options(size)[0], others=others)
        return self._forwards[size, others](feeds)

    def feeds(self, x: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        """Return ``x`` as the arrays that the model takes, by input; InputError where it does not fit."""
        given = x if isinstance(x, Mapping) else {self.input: x}
        if self.frame is not None and self.input in given:
            given = {**given, self.input: fitted_frame(given[self.input], self.frame)}
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
