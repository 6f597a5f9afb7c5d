"""Composites: which rule goes with which operator. The first case that accepts a record decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .. import vjp
from ..backward import Pullback
from ..errors import OptionError, UnsupportedOperatorError, suggest
from ..graph.facts import facts_of
from ..graph.tape import Record
from ..graph.value import Value
from .rules import (
    CONTRACTIONS,
    RESIDUAL,
    Given,
    passthrough,
    positive_input,
    to_maximum,
    z_box,
    z_plus,
    z_rule,
)

Selector = Callable[[Record], bool]

ACTIVATIONS = (
    "Celu Clip Elu Erf Gelu HardSigmoid HardSwish LeakyRelu Mish PRelu Relu Selu Sigmoid Softmax Softplus"
    " Softsign Swish Tanh ThresholdedRelu"
).split()
AVERAGES = ("AveragePool", "GlobalAveragePool", "ReduceMean", "ReduceSum", "Resize")
MAXIMA = ("GlobalMaxPool", "MaxPool", "ReduceMax")
MOVEMENTS = (
    "Concat DepthToSpace Expand Flatten Gather Pad Reshape Slice SpaceToDepth Split Squeeze Tile Transpose Unsqueeze"
).split()
SAME = (
    "BatchNormalization Cast Div Dropout Identity InstanceNormalization GroupNormalization LayerNormalization Mul"
).split()
SUMS = ("Add", "Sub", "Sum")


def op(*names: str) -> Selector:
    """Accept the operators named."""
    chosen = frozenset(names)
    return lambda record: record.op in chosen and not record.domain


def reads_input(record: Record) -> bool:
    """Accept the operator that multiplies the graph input by weights, linear preprocessing before it aside."""
    preprocessed = facts_of(record.emitter.model).preprocessed
    return record.op in CONTRACTIONS and any(
        x is not None and x.emitter.origin(x) in preprocessed for x in (record.inputs[i] for i in record.varying)
    )


def bounds(record: Record) -> bool:
    """Accept Max or Min with constants, which is a Clip: ``max(x, 0)`` is how some exporters write ReLU."""
    return op("Max", "Min")(record) and len(record.varying) == 1


@dataclass(frozen=True)
class Composite:
    """Ordered (selector, rule) cases."""

    name: str
    cases: tuple[tuple[Selector, Pullback], ...]

    def accepts(self, record: Record) -> bool:
        """Tell whether a case accepts ``record``."""
        return any(accepts(record) for accepts, _ in self.cases)

    def __call__(self, record: Record, given: Given) -> list[Value | None]:
        """Return the relevance of each input by the first rule whose case accepts ``record``."""
        for accepts, rule in self.cases:
            if accepts(record):
                return rule(record, given)
        raise UnsupportedOperatorError(f"{self.name} has no relevance rule for {record}. Choose a layer after it.")


def residual_rule(residual: str) -> Pullback:
    """Return the rule of a residual Add: ``positive``, ``signed`` or ``ratio``."""
    if residual not in RESIDUAL:
        raise OptionError(f"unknown residual {residual!r}; choose {', '.join(RESIDUAL)}.{suggest(residual, RESIDUAL)}")
    return RESIDUAL[residual]


def fg_cam(residual: str = "positive") -> Composite:
    """Return FG-CAM's rules (Qiu et al., 2024, arXiv:2303.09171), ``residual`` added for nets that have sums."""
    return Composite(
        "fgcam",
        (
            (reads_input, z_box),
            (op(*CONTRACTIONS), z_plus),
            (op(*MAXIMA), to_maximum),
            (op(*AVERAGES), positive_input),
            (op(*SUMS), residual_rule(residual)),
            (op(*ACTIVATIONS, *SAME), passthrough),
            (bounds, passthrough),
            (op(*MOVEMENTS), vjp.pullback),
        ),
    )


def relevance_cam(residual: str = "signed") -> Composite:
    """Return the rules of Relevance-CAM (Lee et al., CVPR 2021, doi:10.1109/CVPR46437.2021.01470)."""
    return Composite(
        "relevancecam",
        (
            (op(*CONTRACTIONS), z_plus),
            (op(*MAXIMA), z_rule),
            (op(*AVERAGES), positive_input),
            (op(*SUMS), residual_rule(residual)),
            (op(*ACTIVATIONS, *SAME), passthrough),
            (bounds, passthrough),
            (op(*MOVEMENTS), vjp.pullback),
        ),
    )
