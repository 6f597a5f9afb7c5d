"""Which operand of a product is the signal, and which the gate that scales it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..graph.facts import facts_of, producers_of
from ..graph.forms import forms_of
from ..graph.operators import VIEWS
from ..graph.tape import Record
from ..graph.value import Value

SATURATING = frozenset({"HardSigmoid", "QLinearSigmoid", "Sigmoid", "Softmax", "Softsign", "Tanh"})
SHARES = frozenset({"HardSigmoid", "QLinearSigmoid", "QLinearSoftmax", "Sigmoid", "Softmax"})
SAME_SHARE = VIEWS | {"DequantizeLinear", "QuantizeLinear", "Slice", "Split"}
POINTWISE = (
    VIEWS
    | frozenset(
        "Abs Add BatchNormalization Clip DequantizeLinear Div Elu Erf Exp Gelu HardSwish LeakyRelu Mish Mul Neg Pow"
        " QLinearAdd QLinearLeakyRelu QLinearMul QuantizeLinear Reciprocal Relu Softplus Sqrt Sub Swish".split()
    )
    | SATURATING
)


def signal_of(record: Record) -> int | None:
    """Return the input that takes the relevance of a product, the other being its gate; None without a gate.

    Of two operands the gate is the one that is broadcast, that is computed pointwise from the other
    (``x * sigmoid(x)``), that is a share between 0 and 1 where the other is none (the gates of recurrent cells; Arras
    et al., 2017, doi:10.18653/v1/W17-5221), or that a saturating function made (squeeze and excitation). Of a matrix
    product only the last two count: attention weights are the gate of the values.
    """
    on = record.varying
    if len(on) == 1:
        return on[0]
    if record.op == "Div":
        return 0
    a, b = (v for i in on[:2] if (v := record.inputs[i]) is not None)
    if a.name == b.name:
        return on[0]
    if record.op == "Mul" and size_of(a) != size_of(b):
        return on[0] if size_of(a) > size_of(b) else on[1]
    for signal, gate, index in ((a, b, on[0]), (b, a, on[1])):
        if record.op == "Mul" and signal.emitter.origin(signal) in _pointwise_ancestors(gate):
            return index
    for tells in (_between_0_and_1, _saturates):
        made = [tells(v) for v in (a, b)]
        if made[0] != made[1]:
            return on[1] if made[0] else on[0]
    return None


def sole(record: Record) -> int | None:
    """Return the only input that depends on the graph's input; None where both do."""
    return record.varying[0] if len(record.varying) == 1 else None


def self_gated(record: Record) -> int | None:
    """Return the input that alone makes a product: the only one that varies, the dividend, or the x of ``x * f(x)``."""
    if len(record.varying) == 1 or record.op == "Div":
        return record.varying[0]
    a, b = (record.inputs[i] for i in record.varying[:2])
    if record.op != "Mul" or a is None or b is None:
        return None
    for signal, gate, index in ((a, b, record.varying[0]), (b, a, record.varying[1])):
        if signal.name == gate.name or signal.emitter.origin(signal) in _pointwise_ancestors(gate):
            return index
    return None


def size_of(v: Value) -> float:
    """Return how many elements a tensor has for each image, to tell which of two is broadcast."""
    return math.prod(d if isinstance(d, int) else 1 for d in v.shape)


def _chain(v: Value) -> Mapping[str, tuple[str, tuple[str, ...]]]:
    """Return the pointwise operators that lead to ``v``, by what they make: the operator, and what it reads."""
    model = v.emitter.model
    varying, producers, forms = facts_of(model).varying, producers_of(model), forms_of(model)
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    stack = [v.emitter.origin(v)]
    while stack:
        name = stack.pop()
        node, form = producers.get(name), forms.get(name)
        if node is None or name in found:
            continue
        op, read = (form.op, (form.x,)) if form is not None else (node.op_type, tuple(node.input))
        if op in POINTWISE:
            found[name] = op, read
            stack += [i for i in read if i in varying]
    return found


def _pointwise_ancestors(v: Value) -> set[str]:
    return {i for _, read in _chain(v).values() for i in read}


def _between_0_and_1(v: Value) -> bool:
    """Tell a share: what a Sigmoid or Softmax made, or 1 less that."""
    model = v.emitter.model
    producers, forms, varying = producers_of(model), forms_of(model), facts_of(model).varying
    name = v.emitter.origin(v)
    while (node := producers.get(name)) is not None:
        if (forms[name].op if name in forms else node.op_type) in SHARES:
            return True
        of_one = node.op_type == "Sub" and node.input[0] not in varying
        if node.op_type not in SAME_SHARE and not of_one:
            return False
        name = node.input[1 if of_one else 0]
    return False


def _saturates(v: Value) -> bool:
    return any(op in SATURATING for op, _ in _chain(v).values())
