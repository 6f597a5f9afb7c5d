"""The explainer as people hold it: pictures and words in, and explanations that know both."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import explainer as engine
from ..cam.perturbation import Progress
from ..errors import OptionError, TargetError, suggest
from ..explanation import Explanation
from ..graph import model as graph
from ..heads import NOTHING, Stated
from ..imaging import read_labels
from ..methods import METHODS, Options
from ..methods.baselines import BLACK, told_settings
from ..preparing import labels_file_of
from ..report import render
from ..targets import Against, AnyTarget, Classes, Objective, Top, target_of
from .intake import Given, Intake
from .progress import Bar

if TYPE_CHECKING:
    from onnx import ModelProto

Target = AnyTarget | str | Sequence[str] | Top | Against
"""What is explained: as an Explainer of arrays takes it, or as the command line writes it."""


class Explainer(engine.Explainer):
    """Explain predictions of an exported model on pictures.

    Parameters
    ----------
    model : Model, ModelProto or path
    preprocess : str, path, mapping, Preprocess or callable, optional
        How pictures are prepared: a preset (``imagenet``, ``cifar``, ``tf``, ``caffe``, ``unit``, ``none``), a JSON or
        TOML file, a `imaging.Preprocess`, or a callable that returns an array for a picture of Pillow's. Default: the
        file beside the model, the model's metadata, or a guess, which is warned of and written on every picture.
    labels : path or sequence of str, optional
        Class names. Default: those that the file beside the model names, or that the model holds.
    head : Stated, optional
        What the output means, as far as that is to be said and not found out.
    progress : bool or callable
        A bar for work that takes long, in a notebook and on a terminal; False: none. A callable gets (done, total).
    **options
        Those of `explainer.Explainer`: ``method``, ``layers``, ``base``, ``base_layer``, ``grid``, ``denoise``,
        ``eigen_smooth``, ``residual``, ``products``, ``start``, ``aug_smooth``, ``tunnel``, ``trace``, ``saturation``,
        ``int8``, ``device``, ``threads``, ``optimization``, ``batch``, ``input``, ``output``, ``before_softmax``, and
        the settings of the method.

    Raises
    ------
    FgcamError
        A layer, option, operator, preprocessing or label list does not fit.
    """

    def __init__(
        self,
        model: graph.Model | ModelProto | str | Path,
        *,
        preprocess: Any = None,
        labels: str | Path | Sequence[str] | None = None,
        head: Stated = NOTHING,
        progress: Progress | bool | None = True,
        **options: Any,
    ) -> None:
        _check_names(options)
        self._labels, self._preprocess = labels, preprocess
        self.bar = Bar() if progress is True else None
        told = self.bar if progress is True else None if progress is False else progress
        super().__init__(model, head=head, progress=told, **options)
        if preprocess is not None:
            self.intake.preparation(self.input)

    def _opened(self, model: graph.Model | ModelProto | str | Path, head: Stated) -> tuple[graph.Model, Stated]:
        self._given, stated = super()._opened(model, head)
        self.intake = Intake(self._given, self._preprocess)
        if stated.labels and self._labels is not None:
            raise OptionError("labels= and head= both name the classes; give one")
        if not stated.labels:
            stated = replace(stated, labels=named(self._given, self._labels, kind=stated.kind))
        return self._given, stated

    def options(self, size: tuple[int, ...] = (), *, seeded: bool = False) -> tuple[Options, tuple[str, ...]]:
        """Return what `explainer.Explainer.options` does, a black baseline as black is prepared."""
        options, names = super().options(size, seeded=seeded)
        given = options.settings.get("baseline")
        if not isinstance(given, str) or given != BLACK:
            return options, names
        settings = {**options.settings, "baseline": self.intake.black(self.input)}
        return replace(options, settings=settings), names

    def __call__(self, x: Given, *, target: Target = None, truth: Any = None) -> Explanation:
        """Explain ``x``.

        Parameters
        ----------
        x : picture, list of pictures, or array of shape (N, C, H, W)
            Pictures are Pillow's, paths, the bytes of files, or uint8 arrays (H, W, 3); a float array, or one of the
            type and rank that the model takes, is prepared already. A mapping of input names to either where the
            model has several inputs.
        target : str, int, target, list of them, or None
            As the command line writes it (``"collie"``, ``"top:3"``, ``"diff:cat,dog"``, ``"box:0,0,99,99"``), a class,
            or one of ``targets``. A list has one for each image; of one image, several, a map for each. None: the top
            class.
        truth : str or int, or a list with one for each image, optional
            In place of a target: three maps for each image, of the predicted class, of the true one (the runner-up
            where the prediction is right), and of the first's logit less the second's.

        Raises
        ------
        FgcamError
            A picture cannot be read; it, or the target, does not fit; see :mod:`fgcam_onnx.errors`.
        """
        taken = self.intake.taken(x, self)
        asked = self._asked(target, truth, taken.x)
        if self.bar is not None:
            self.bar.begin()
        found = super().__call__(taken.x, target=asked)
        labels = found.labels or self.stated.labels
        return replace(found, seen=taken.seen, names=taken.names, labels=labels, notes=self.intake.notes)

    def predict(self, x: Given) -> NDArray[np.float32]:
        """Return the model's output that is explained, before a trailing Softmax or Sigmoid, of shape (N, ...).

        Raises
        ------
        FgcamError
            A picture cannot be read, or does not fit.
        """
        return super().predict(self.intake.taken(x, self).x)

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names by index; empty where none are known."""
        return self.head.labels or self.stated.labels

    def _repr_html_(self) -> str:
        said = self.intake.told(self.input)
        facts = [
            ("method", self.method),
            ("settings", ", ".join(f"{n}={v}" for n, v in told_settings(self.choices.settings).items())),
            ("base", self.base or ""),
            ("layers", ", ".join(self.layers or ()) or "as the method has them"),
            ("output", self.head.told),
            ("targets", self.head.choices()),
            ("classes", few(self.labels) if self.labels else "no names"),
            ("pictures", said),
            *(("note", remark) for remark in self.remarks),
        ]
        title = f"Explainer of {self.intake.model.path or 'a model in memory'}"
        return render("facts.html", title=title, facts=[(n, v) for n, v in facts if v])

    def _asked(self, target: Any, truth: Any, x: Any) -> Any:
        """Return a target as an explainer of arrays takes it."""
        if truth is not None and target is not None:
            raise OptionError("target= and truth= both say what to explain; give one")
        target, truth = (t.tolist() if isinstance(t, np.ndarray) else t for t in (target, truth))
        if truth is not None:
            several = isinstance(truth, list | tuple)
            read = Against([self._class(t) for t in truth] if several else self._class(truth))
            return read.rows(self._ranking(x), self.head, labels=self.labels)
        read = self._read(target)
        if isinstance(read, Top):
            return read.rows(self._ranking(x), self.head)
        if isinstance(read, Against):
            return read.rows(self._ranking(x), self.head, labels=self.labels)
        flat = isinstance(read, list) and len(read) > 1 and not any(isinstance(t, list | tuple) for t in read)
        if flat and len(self.feeds(x)[self.input]) == 1:
            return [read] if any(isinstance(t, Objective) for t in read) else Classes(read)
        return read

    def _ranking(self, x: Any) -> NDArray[np.float32]:
        if self.bag:
            raise TargetError("a bag of images is explained for one class at a time")
        found = super().predict(x)
        return found.reshape(len(found), -1)

    def _class(self, told: Any) -> int:
        found = self._said(told) if isinstance(told, str) else told
        if isinstance(found, bool) or not isinstance(found, int | np.integer):
            raise TargetError(f"a true class is an index or a label, not {told!r:.60}")
        return int(found)

    def _read(self, target: Any) -> Any:
        """Return a target with the texts in it read."""
        if isinstance(target, str):
            return self._said(target)
        if not isinstance(target, list | tuple) or not _texts(target):
            return list(target) if isinstance(target, tuple) else target
        read = [self._read(t) for t in target]
        for text, found in zip(target, read, strict=True):
            if found is None or isinstance(found, Top | Classes):
                raise TargetError(f"{text!r} stands for several targets, or for none: it cannot be one of a list")
        return read

    def _said(self, text: str) -> Any:
        def embed(path: Path) -> NDArray[np.float32]:
            if len(self.model.inputs) > 1:
                raise TargetError("target like:PICTURE needs a model whose only input is the picture")
            found: NDArray[np.float32] = self.predict(path)[0]
            return found

        return target_of(text, labels=self.labels, embed=embed)


def few(names: Sequence[str]) -> str:
    """Return how many names there are, and the first of them."""
    first = ", ".join(name.split(",")[0] for name in names[:8])
    return f"{len(names)}: {first}{', …' if len(names) > 8 else ''}"


def _check_names(options: Mapping[str, Any]) -> None:
    """Refuse an option that no explainer and no method has, but that is near one."""
    known = inspect.signature(Explainer).parameters.keys() - {"settings"}
    settings = {name for method in METHODS.values() for name in method.settings}
    for name in options.keys() - known - settings:
        if near := suggest(name, known):
            raise OptionError(f"there is no option {name!r}.{near}")


def _texts(target: Sequence[Any]) -> bool:
    return any(isinstance(t, str) or (isinstance(t, list | tuple) and _texts(t)) for t in target)


def named(model: graph.Model, labels: Any, *, kind: str | None) -> tuple[str, ...]:
    """Return class names: those given, in a list or a file, or those of the file beside the model.

    Raises
    ------
    OptionError
        They cannot be read, or are no names.
    """
    if labels is None:
        beside = labels_file_of(model.path, None) if model.path is not None else None
        nameless = kind in ("embedding", "number")
        return () if beside is None or nameless else tuple(read_labels(beside))
    if isinstance(labels, str | Path):
        return tuple(read_labels(labels))
    if not isinstance(labels, Sequence) or not all(isinstance(name, str) for name in labels):
        raise OptionError(f"labels are names of classes, in a list or a file, not {labels!r:.60}")
    return tuple(labels)


def explain(
    model: graph.Model | ModelProto | str | Path,
    x: Given,
    *,
    target: Target = None,
    truth: Any = None,
    **options: Any,
) -> Explanation:
    """Explain pictures, or arrays as the model takes them, in one call.

    ``x``, ``target`` and ``truth`` are those of calling an :class:`Explainer`, ``options`` those of making one.
    """
    return Explainer(model, **options)(x, target=target, truth=truth)


def _signature() -> inspect.Signature:
    """Return the signature with the options spelt out, for those who ask a notebook for them."""
    own, theirs = (inspect.signature(c.__init__).parameters for c in (Explainer, engine.Explainer))
    kinds = inspect.Parameter
    named = {n: p for n, p in own.items() if p.kind is not kinds.VAR_KEYWORD and n != "self"}
    named |= {n: p for n, p in theirs.items() if n not in named and n != "self" and p.kind is not kinds.VAR_KEYWORD}
    return inspect.Signature([*named.values(), theirs["settings"]])


Explainer.__signature__ = _signature()  # type: ignore[attr-defined]
