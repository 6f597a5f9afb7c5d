"""What a model's end makes of the scores that are explained."""

from __future__ import annotations

from ..errors import TargetError
from ..graph.facts import producers_of
from ..graph.indices import COUNTING
from ..graph.model import Model, dims_of
from ..graph.operators import VIEWS
from ..graph.score import SQUASHING, Score, shows
from ..graph.tape import attributes
from ..layers.flow import Flow
from ..layers.paths import ancestors_of
from .columns import sizes_of
from .pieces import TAKING

CHOOSING = frozenset({"Compress", "NonMaxSuppression", "NonZero", "Unique"})
"""Operators whose outputs are as many as they find."""

EMBEDDINGS = ("embed", "pooler", "feature", "last_hidden_state", "descriptor")
"""Parts of an output's name that speak of an embedding."""


def end_of(model: Model, score: Score, flow: Flow) -> tuple[str, int | None]:
    """Return what is made of the scores, and the axis of an answer over which a softmax goes."""
    if not score.skipped:
        return ("done", None) if _squashed(model, score.output) else ("", None)
    if score.skipped.endswith("Sigmoid"):
        return "sigmoid", None
    node = next(n for n in model.nodes if n.op_type == score.skipped and n.input[0] == score.logits)
    rank = len(dims_of(model.types[score.logits]))
    axis = attributes(node).get("axis", -1) % rank
    return "softmax", answer_axis(axis, flow)


def answer_axis(axis: int, flow: Flow) -> int | None:
    """Return where an axis of the logits is in one answer; None for that of the answers."""
    if flow.axis is None:
        axis = axis - 1 if flow.shape[:1] == (1,) else axis
        return axis if axis >= 0 else None
    return None if axis == flow.axis else axis - (axis > flow.axis)


def _squashed(model: Model, name: str) -> bool:
    producers = producers_of(model)
    while (node := producers.get(name)) is not None and shows(node):
        name = node.input[0]
    return node is not None and node.op_type in SQUASHING


def refuse_index(model: Model, output: str) -> None:
    """Refuse an output that only says where something is: there is no score in it.

    Raises
    ------
    TargetError
        Names the tensor whose places they are.
    """
    producers, name = producers_of(model), output
    while (node := producers.get(name)) is not None and node.op_type in VIEWS:
        name = node.input[0]
    if node is not None and node.op_type in COUNTING and list(node.output).index(name) in COUNTING[node.op_type]:
        raise TargetError(
            f"output {output!r} only says where {node.op_type!r} (node {node.name!r}) found something in "
            f"{node.input[0]!r}: it has no score and no gradient. Explain that: output={node.input[0]!r} "
            f"(--output {node.input[0]})"
        )


def refuse_chosen(model: Model, output: str) -> None:
    """Refuse an output whose size depends on what the graph found: there is no element that could be asked for.

    Raises
    ------
    TargetError
        Names the operator that chooses, and the tensor of fixed size that it chooses from, where there is one.
    """
    own = {d for i in model.inputs for d in i.shape}
    if all(isinstance(d, int) or d in own for d in sizes_of(model, output)):
        return
    producers, needed = producers_of(model), ancestors_of(model, output)
    chooser = next((n for n in reversed(model.nodes) if n.op_type in CHOOSING and n.output[0] in needed), None)
    if chooser is None:
        return
    name, fixed = output, ""
    while (node := producers.get(name)) is not None and node.op_type in (VIEWS if fixed else TAKING):
        name = node.input[0]
        dims = sizes_of(model, name)
        if len(dims) > 1 and all(isinstance(d, int) or d in own for d in dims):
            fixed = name
    way = "Export the model without the choice of boxes, or choose an output before it (output=, --output)"
    if fixed:
        way = f"Explain what is chosen from, {list(sizes_of(model, fixed))}: output={fixed!r} (--output {fixed})"
    raise TargetError(
        f"output {output!r} holds as many answers as {chooser.op_type!r} (node {chooser.name!r}) finds in a picture: "
        f"none of them is there always. {way}"
    )


def embeds(model: Model, output: str) -> str:
    """Return what speaks for an embedding: an end that gives every vector the length 1, or the output's name."""
    producers, name = producers_of(model), output
    while (node := producers.get(name)) is not None and node.op_type in VIEWS:
        name = node.input[0]
    if node is not None and node.op_type == "LpNormalization":
        return "every vector is given the length 1"
    if node is not None and node.op_type == "Div" and _a_length_of(model, node.input[1], node.input[0]):
        return "every vector is given the length 1"
    said = next((word for word in EMBEDDINGS if word in output.casefold()), "")
    return f"the output is named {output!r}" if said else ""


def _a_length_of(model: Model, name: str, vector: str) -> bool:
    """Tell whether ``name`` is the length of ``vector``."""
    producers = producers_of(model)
    for _ in range(8):
        node = producers.get(name)
        if node is None:
            return False
        if node.op_type == "ReduceL2":
            return bool(node.input[0] == vector)
        if node.op_type not in ("Add", "Clip", "Expand", "Max", "Pow", "ReduceSum", "ReduceSumSquare", "Sqrt", *VIEWS):
            return False
        if node.op_type == "ReduceSumSquare":
            return bool(node.input[0] == vector)
        name = next((i for i in node.input if i and i not in model.constants), "")
        if name == vector:
            return True
    return False
