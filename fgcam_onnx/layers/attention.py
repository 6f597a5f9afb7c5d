"""Self-attention in a graph: where its weights are, which tokens there are, and which of them the score reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..errors import LayerError
from ..graph.facts import facts_of
from ..graph.forms import forms_of
from ..graph.model import Model, dims_of
from ..graph.operators import PRODUCTS
from ..graph.shapes import Shape
from ..graph.tape import attributes
from .layers import candidate_layers
from .tokens import Grid

SOFTMAX = ("QLinearSoftmax", "Softmax")

PASSED = frozenset({"Cast", "DequantizeLinear", "Dropout", "Identity", "QuantizeLinear", "Reshape"})
"""What may stand between a Softmax and the product; Reshape undoes the flattening of older operator sets."""


@dataclass(frozen=True)
class Tokens:
    """What the tokens of a vision transformer are.

    Attributes
    ----------
    count : int
        How many there are.
    grid : Grid
        Where those of the patches are.
    read : tuple of int
        The tokens that the score is read from: those beside the patches that are picked out, else all patches.
    """

    count: int
    grid: Grid
    read: tuple[int, ...]


def attention_weights(model: Model, *, logits: str) -> list[str]:
    """Return the attention weights of every global self-attention on the way to ``logits``, in execution order.

    They are what is made of Softmax outputs where a MatMul applies it to values, of shape (N, heads, T, T)
    or (N, T, T).

    Raises
    ------
    LayerError
        There are none, or they are over tokens of different numbers, as windows and pyramids have.
    """
    needed = {logits}
    for node in reversed(model.nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
    softmaxes = [name for name in _softmaxes(model) if name in needed]
    found = [name for s in softmaxes if (name := _weighing(model, s)) and len(_dims(model, name)) in (3, 4)]
    sizes = {_dims(model, name)[-2:] for name in found}
    if not found:
        raise LayerError("there is no self-attention in this model: no Softmax whose output weighs values in a MatMul")
    leading = {d for name in found if isinstance(d := _dims(model, name)[0], int)}
    if len(sizes) > 1 or len(leading) > 1 or any(a != b or not isinstance(a, int) for a, b in sizes):
        shown = ", ".join(" x ".join(map(str, s)) for s in sorted(sizes, key=str))
        windows = ", in windows" if len(leading) > 1 else ""
        raise LayerError(
            f"attention is not from all tokens to all tokens ({shown}{windows}), so its layers cannot be rolled into "
            "one map. Choose attnlrp, cplrp or a class activation map."
        )
    return found


def tokens_of(
    model: Model, weights: str, *, logits: str, source: str | None = None, grid: Grid | None = None
) -> Tokens:
    """Return what the tokens are that attention ``weights`` are over; ``grid``, where it fits, is how they lie.

    Raises
    ------
    LayerError
        The graph does not show how they lie in the picture.
    """
    count = _dims(model, weights)[-1]
    grids = [*(x.grid for x in candidate_layers(model, logits=logits, source=source)), grid]
    fitting = [g for g in grids if g is not None and g.extra + g.count == count]
    if not isinstance(count, int) or not fitting:
        raise LayerError(
            f"the graph does not show how the {count} tokens of {weights!r} lie in the picture; say so (--grid HxW)"
        )
    found = fitting[-1]
    patches = range(found.before, found.before + found.count)
    picked = {i % count for i in _picked(model, count)}.difference(patches)
    return Tokens(count, found, tuple(sorted(picked)) or tuple(patches))


def ends_of_blocks(model: Model, weights: Sequence[str], *, logits: str) -> list[str]:
    """Return the tensor of all tokens that each block of attention ``weights`` ends with.

    It is the last sum of two tensors of tokens, a residual one, before the next block's weights.

    Raises
    ------
    LayerError
        A block has none.
    """
    varying, count = facts_of(model).varying, _dims(model, weights[0])[-1]
    sums, starts, needed = [], [], {logits}
    for node in reversed(model.nodes):
        needed.update(node.input if needed.intersection(node.output) else ())
    for place, node in enumerate(model.nodes):
        starts += [place] if set(weights).intersection(node.output) else []
        if node.op_type == "Add" and node.output[0] in needed and varying.issuperset(node.input):
            dims = [_dims(model, name) for name in (*node.input, *node.output)]
            if len(dims[0]) == 3 and count in dims[0][:2] and len(set(dims)) == 1:
                sums.append((place, node.output[0]))
    found = []
    for start, stop in zip(starts, [*starts[1:], len(model.nodes)], strict=True):
        inside = [name for place, name in sums if start < place < stop]
        if not inside:
            raise LayerError("a block of attention ends in no residual sum of its tokens. Choose chefer or attnlrp.")
        found.append(inside[-1])
    return found


def _softmaxes(model: Model) -> list[str]:
    """Return what every Softmax makes, in execution order, in whatever form it is written."""
    forms = {f.output: f for f in forms_of(model).values() if f.op == "Softmax"}
    inside = {name for form in forms.values() for name in form.inner}
    plain = {n.output[0] for n in model.nodes if n.op_type in SOFTMAX} - inside
    return [o for n in model.nodes for o in n.output if o in forms or o in plain]


def _weighing(model: Model, softmax: str) -> str:
    """Return a Softmax's output, as a product with what depends on the input reads it; empty where none does."""
    varying, names = facts_of(model).varying, {softmax}
    for node in model.nodes:
        if node.op_type in PASSED and node.input[0] in names:
            names.add(node.output[0])
        elif node.op_type in PRODUCTS:
            a, b = (node.input[i] for i in PRODUCTS[node.op_type])
            if a in names and b in varying:
                return str(a)
    return ""


def _picked(model: Model, count: int) -> Iterator[int]:
    """Return the tokens that are taken out of (N, T, C) one by one."""
    for node in model.nodes:
        dims = _dims(model, node.input[0]) if node.op_type in ("Gather", "Slice") else ()
        if len(dims) != 3 or dims[1] != count:
            continue
        constants = [model.constants.get(i) for i in node.input[1:]]
        if any(c is None for c in constants):
            continue
        values = [c.reshape(-1).tolist() for c in constants if c is not None]
        if node.op_type == "Gather" and attributes(node).get("axis", 0) == 1 and len(values[0]) == 1:
            yield int(values[0][0])
        elif node.op_type == "Slice" and len(values) > 2 and values[2] in ([1], [-2]) and len(values[0]) == 1:
            start, end = int(values[0][0]), int(values[1][0])
            if end - start == 1:
                yield start


def _dims(model: Model, name: str) -> Shape:
    kind = model.types.get(name)
    return dims_of(kind) if kind is not None and kind.tensor_type.HasField("shape") else ()
