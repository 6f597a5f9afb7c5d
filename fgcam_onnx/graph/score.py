"""Find what is explained: the output tensor, and the logits before a trailing Softmax or Sigmoid."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from ..errors import TargetError, suggest
from .facts import producers_of
from .model import Model, TensorSpec
from .operators import VIEWS

SQUASHING = frozenset({"LogSoftmax", "QLinearSigmoid", "QLinearSoftmax", "Sigmoid", "Softmax"})
SHOWS = VIEWS | {"DequantizeLinear", "QuantizeLinear"}
"""Operators behind a score that show it again, rounded perhaps."""
UNWRAPS = frozenset({"ZipMap"})

DETECTIONS = "detections"
"""The tensor that a detector's boxes, scores and class numbers are joined to when it is loaded."""


@dataclass(frozen=True)
class Score:
    """The tensor whose elements can be targets.

    Attributes
    ----------
    output : str
        The graph output that was chosen.
    logits : str
        The tensor that is explained: before a trailing Softmax, LogSoftmax or Sigmoid.
    skipped : str
        The operator that was skipped, or an empty string.
    """

    output: str
    logits: str
    skipped: str


def find_score(model: Model, output: str | None = None, *, before_softmax: bool = True) -> Score:
    """Return the score of ``model``: of its only floating output, or of the one named.

    Raises
    ------
    TargetError
        When there are several outputs to choose from, or none of that name; or it is a constant.
    """
    name = _unwrapped(model, output if output is not None else _only_output(model))
    if name not in model.types:
        every = [o.name for o in model.outputs]
        raise TargetError(f"no output {name!r}; the model has {', '.join(every)}.{suggest(name, every)}")
    if name in model.constants:
        raise TargetError(f"output {name!r} is a constant: there is nothing to explain")
    producers = producers_of(model)
    tensor = name
    while (node := producers.get(tensor)) is not None and before_softmax:
        if node.op_type in SQUASHING:
            return Score(name, node.input[0], node.op_type)
        if not shows(node):
            break
        tensor = node.input[0]
    return Score(name, name, "")


def shows(node: onnx.NodeProto) -> bool:
    """Tell an operator that shows its first input again: a split into one part does."""
    return node.op_type in SHOWS or (node.op_type == "Split" and len(node.output) == 1)


def usable_outputs(model: Model) -> list[str]:
    """Return the outputs whose elements can be targets."""
    return [o.name for o in model.answers or model.outputs if _explainable(o)]


def _only_output(model: Model) -> str:
    answers = model.answers or model.outputs
    usable = usable_outputs(model)
    if len(answers) == 1 and answers[0].dtype.kind in "iu":
        return answers[0].name
    if len(usable) == 1:
        return usable[0]
    wrapped = [str(n.output[0]) for n in model.nodes if n.op_type in UNWRAPS]
    if not usable and len(wrapped) == 1:
        return wrapped[0]
    names = ", ".join(f"{o.name} {list(o.shape)}" for o in model.outputs)
    raise TargetError(f"the model has several outputs: {names}. Choose one with output= (--output NAME)")


def _explainable(spec: TensorSpec) -> bool:
    return spec.dtype.kind == "f" or spec.dtype.name == "bfloat16"


def _unwrapped(model: Model, name: str) -> str:
    """Return the tensor inside a ZipMap (class names beside scores), which itself is not a tensor."""
    return next((n.input[0] for n in model.nodes if n.op_type in UNWRAPS and name in n.output), name)
