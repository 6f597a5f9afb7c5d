"""The model as people hold it: it predicts, explains, and says what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ..errors import FgcamError, check_known
from ..explanation import Explanation
from ..graph import model as graph
from ..graph.memo import once
from ..graph.shapes import Shape
from ..heads import Head, Stated, meaning_of
from ..loading import loading
from ..report import render
from .explainer import Explainer, Target, explain, few, named
from .intake import Given, Picture
from .prediction import Prediction

if TYPE_CHECKING:
    from onnx import ModelProto


PREDICTING = ("preprocess", "labels", "input", "output", "head", "device", "threads", "optimization", "int8", "batch")
"""What a prediction depends on, of an explainer's options."""


class Model(graph.Model):
    """An exported model: what `load` returns.

    Attributes
    ----------
    inputs, outputs : tuple of TensorSpec
        Name, dtype and shape of each.
    path : Path or None
        The file it was read from.
    nodes, opsets, producer, notes
        What is in it, and what had to be settled that the file leaves open.
    """

    @overload
    def predict(self, x: Picture, **options: Any) -> Prediction: ...

    @overload
    def predict(self, x: Any, **options: Any) -> Prediction | list[Prediction]: ...

    def predict(self, x: Any, **options: Any) -> Prediction | list[Prediction]:
        """Return what the model makes of a picture, or of each of several, with the names of its classes.

        Parameters
        ----------
        x : picture, list of pictures, or array of shape (N, C, H, W)
            As an `Explainer` takes them.
        **options
            Of an `Explainer`: ``preprocess``, ``labels``, ``input``, ``output``, ``head``, ``device``, ``threads``,
            ``optimization``, ``int8``, ``batch``.

        Returns
        -------
        Prediction
            Of one picture; a list of them of a list, or of an array.

        Raises
        ------
        FgcamError
            A picture cannot be read, or does not fit.
        """
        for name in options:
            check_known("option of predict", name, PREDICTING)
        predictor = _Predictor(self, **options) if options else _predictor(self)
        taken = predictor.intake.taken(x, predictor)
        scores, head = predictor.predict(taken.x), predictor.meaning_of(taken.x)
        names = taken.names if len(taken.names) == len(scores) else ("",) * len(scores)
        found = [Prediction(s, head, predictor.labels, n) for s, n in zip(scores, names, strict=True)]
        single = not isinstance(x, list | tuple | Mapping) and len(taken.names) == 1 and len(found) == 1
        return found[0] if single else found

    def explain(self, x: Given, *, target: Target = None, truth: Any = None, **options: Any) -> Explanation:
        """Explain pictures, as `fgcam_onnx.explain` does."""
        return explain(self, x, target=target, truth=truth, **options)

    def _repr_html_(self) -> str:
        def told(spec: graph.TensorSpec) -> str:
            return f"{spec.name}  {' x '.join('?' if d is None else str(d) for d in spec.shape)}  {spec.dtype}"

        facts = [(kind, told(s)) for kind, specs in (("input", self.inputs), ("output", self.outputs)) for s in specs]
        try:
            labels = named(self, None, kind=None)
            head = meaning_of(self, None, source=self.inputs[0].name, stated=Stated(labels=labels))[1]
            facts += [("meaning", head.told), ("can be asked", head.choices())]
            if head.labels or labels:
                facts.append(("classes", few(head.labels or labels)))
        except (FgcamError, IndexError) as error:
            facts.append(("note", str(error)))
        weights = sum(int(a.size) for a in self.constants.values())
        facts.append(("size", f"{len(self.nodes)} nodes, {weights:,} parameters, {self.producer}"))
        facts += [("note", note) for note in self.notes]
        return render("facts.html", title=str(self.path or "a model in memory"), facts=facts)


class _Predictor(Explainer):
    """An explainer that is asked for predictions alone: no map is built, so that no operator needs a rule."""

    def __init__(self, model: graph.Model, **options: Any) -> None:
        super().__init__(model, method="saliency", progress=False, **options)

    def _ready(self) -> None:
        pass

    def meaning_of(self, x: Any) -> Head:
        """Return what the output means for arrays of the size of ``x``."""
        return self._meaning(self._sizes.of(self.feeds(x)))[1]


@once
def _predictor(model: graph.Model) -> _Predictor:
    return _Predictor(model)


def load(path: str | Path | ModelProto, *, shapes: Mapping[str, Shape] | None = None) -> Model:
    """Load an ONNX model for explanation.

    Parameters
    ----------
    path : path or ModelProto
        The file, of any opset from 7 on; external data must lie in the file's folder.
    shapes : mapping of str to shape, optional
        Sizes for dynamic dimensions, by input name; a free batch stays free where the graph fits any.

    Raises
    ------
    ModelError
        Not an ONNX file, truncated, external data missing or outside the folder, or an opset that
        cannot be raised.
    """
    found = loading.load(path, shapes=shapes)
    return Model(**{f.name: getattr(found, f.name) for f in fields(found) if f.init})
