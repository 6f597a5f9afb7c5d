"""Whether two files are one net: their weights compared, whatever they are stored as."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..graph.facts import producers_of
from ..graph.model import Model
from ..graph.quantization import layout_of
from ..graph.tape import attributes
from ..metrics.grids import Floats

ALIKE = 0.6
"""Cosine of two weights above which they are one and the same, stored in another way, pruned or tuned."""

FEWEST_ELEMENTS = 4
"""A channel of fewer weights (a scale for each channel) has hardly a direction."""

PLAIN = {"Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "ConvInteger": 1, "MatMulInteger": 1}
"""Where operators that are not quantized, or dynamically, have their weight."""

ZEROS = {"ConvInteger": 3, "MatMulInteger": 3}


@dataclass(frozen=True)
class Sameness:
    """What a comparison of weights found.

    Attributes
    ----------
    one : bool or None
        Whether the files are one net; None where their weights cannot be compared.
    said : str
        The same in a sentence.
    compared, alike, of : int
        Weights of the reference that have a partner of their shape in the candidate, that are like it, and all.
    """

    one: bool | None
    said: str
    compared: int
    alike: int
    of: int


@dataclass(frozen=True, eq=False)
class Weight:
    """A weight as directions: a row for each output channel, so that no scale and no folded normalisation matters."""

    name: str
    rows: Floats

    def likeness(self, other: Weight) -> float:
        """Return the median cosine of the channels that both have, at the better of no offset and one of one class."""
        a, b = self.rows, other.rows
        if a.shape == b.shape:
            return float(np.median((a * b).sum(1)))
        if len(a) > len(b):
            a, b = b, a
        return max(float(np.median((a * b[k : k + len(a)]).sum(1))) for k in range(len(b) - len(a) + 1))

    def fits(self, other: Weight) -> bool:
        """Return whether the shapes are those of one layer; a background class more is no other layer."""
        return self.rows.shape[1] == other.rows.shape[1] and abs(len(self.rows) - len(other.rows)) <= 1


def compared(reference: Model, candidate: Model) -> Sameness:
    """Compare the weights of two models.

    Each weight of the reference is held against the weights of its shape in the candidate, in their order; they are
    alike where half of the channels point in nearly the same direction.
    """
    own, left = list(weights_of(reference)), list(weights_of(candidate))
    pairs, alike = 0, 0
    for weight in own:
        fitting = [(weight.likeness(other), -i) for i, other in enumerate(left) if weight.fits(other)]
        if not fitting:
            continue
        best, place = max(fitting)
        pairs += 1
        if best >= ALIKE:
            alike += 1
            del left[-place]
    if 2 * pairs < max(len(own), 1) or not pairs:
        said = (
            f"whether the files are one net cannot be told: {pairs} of {len(own)} weights have a partner of their shape"
        )
        return Sameness(None, said, pairs, alike, len(own))
    one = 2 * alike >= pairs
    said = f"{'one net' if one else 'two different nets'}: {alike} of {pairs} weights are alike"
    return Sameness(one, said, pairs, alike, len(own))


def weights_of(model: Model) -> Iterator[Weight]:
    """Yield the weights of convolutions and products, in the order they are used."""
    for node in model.nodes:
        op, layout = node.op_type, layout_of(node)
        zero: NDArray[np.generic] | None = None
        if layout is not None and layout.means in PLAIN and len(layout.data) > 1:
            at, _, zero_at = layout.data[1]
            found = model.constants.get(node.input[at])
            zero, op = model.constants.get(node.input[zero_at]), layout.means
        elif op in PLAIN and not node.domain:
            found = _constant(model, node.input[PLAIN[op]])
            if op in ZEROS and len(node.input) > ZEROS[op]:
                zero = model.constants.get(node.input[ZEROS[op]])
            op = op.removesuffix("Integer")
        else:
            continue
        if found is not None and found.ndim > 1:
            axis = _outputs(op, turned=bool(attributes(node).get("transB")))
            values = np.moveaxis(_around(np.asarray(found, np.float64), zero, axis), axis, 0)
            rows = values.reshape(len(values), -1)
            if rows.shape[1] >= FEWEST_ELEMENTS:
                yield Weight(node.name or node.output[0], _directed(rows))


def _constant(model: Model, name: str) -> NDArray[np.generic] | None:
    """Return a weight that is a constant, dequantized, cast or turned."""
    if name in model.constants:
        return model.constants[name]
    node = producers_of(model).get(name)
    if node is None or node.op_type not in ("Cast", "DequantizeLinear", "Identity", "QuantizeLinear", "Transpose"):
        return None
    found = _constant(model, node.input[0])
    if found is None:
        return None
    if node.op_type == "DequantizeLinear":
        zero = model.constants.get(node.input[2]) if len(node.input) > 2 else None
        scale = model.constants.get(node.input[1])
        axis = attributes(node).get("axis", 1)
        values = _around(np.asarray(found, np.float64), zero, axis)
        return values if scale is None else values * _along(np.asarray(scale, np.float64), values.ndim, axis)
    if node.op_type == "Transpose":
        return np.transpose(found, attributes(node).get("perm"))
    return found


def _around(values: Floats, zero: NDArray[np.generic] | None, axis: int) -> Floats:
    return values if zero is None else values - _along(np.asarray(zero, np.float64), values.ndim, axis)


def _along(values: Floats, rank: int, axis: int) -> Floats:
    if values.size == 1:
        return values.reshape(())
    shape = [1] * rank
    shape[axis] = -1
    return values.reshape(shape)


def _outputs(op: str, *, turned: bool) -> int:
    """Return the axis of a weight that its output channels are on."""
    if op == "MatMul" or (op == "Gemm" and not turned):
        return -1
    return 1 if op == "ConvTranspose" else 0


def _directed(rows: Floats) -> Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30))
