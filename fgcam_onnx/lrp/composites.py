"""Composites: which rule goes with which operator. The first case that accepts a record decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .. import vjp
from ..backward import Pullback
from ..errors import UnsupportedOperatorError, check_known
from ..graph.facts import facts_of
from ..graph.tape import Record
from ..graph.value import Value
from . import linear
from .gates import signal_of, sole
from .rules import (
    CONTRACTIONS,
    RESIDUAL,
    Given,
    passthrough,
    positive_input,
    product,
    to_maximum,
    z_box,
    z_plus,
    z_rule,
)

__all__ = ["Composite", "op", "reads_input"]

Selector = Callable[[Record], bool]

ACTIVATIONS = (
    "Abs Celu Clip Elu Erf Exp Gelu HardSigmoid HardSwish LeakyRelu Log LogSoftmax Mish Neg PRelu Pow Reciprocal Relu"
    " Selu Shrink Sigmoid Softmax Softplus Softsign Sqrt Swish Tanh ThresholdedRelu"
).split()
AVERAGES = ("AveragePool", "CumSum", "GlobalAveragePool", "GridSample", "ReduceMean", "ReduceSum", "Resize", "RoiAlign")
MAXIMA = ("GlobalMaxPool", "MaxPool", "ReduceMax")
MOVEMENTS = (
    "Col2Im Concat DepthToSpace Expand Flatten Gather GatherElements GatherND Max Min Pad Reshape ScatterElements"
    " ScatterND Slice SpaceToDepth Split Squeeze Tile TopK Transpose Trilu Unsqueeze Where"
).split()
PRODUCTS = {"split": sole, "value": signal_of}
"""What takes the relevance of a product: the value path of attention and gates, or each operand half."""
SAME = (
    "BatchNormalization Cast Dropout GroupNormalization Identity InstanceNormalization LRN LayerNormalization"
    " LpNormalization RMSNormalization"
).split()
SUMS = ("Add", "Mean", "Sub", "Sum")


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


def bilinear(record: Record) -> bool:
    """Accept products: elementwise ones, and contractions of two tensors that both depend on the input."""
    return op("Div", "Mul")(record) or (op("Einsum", "MatMul", "Gemm")(record) and len(record.varying) > 1)


def bounds(record: Record) -> bool:
    """Accept Max or Min with constants, which is a Clip: ``max(x, 0)`` is how some exporters write ReLU."""
    return op("Max", "Min")(record) and len(record.varying) == 1


def passes(record: Record) -> bool:
    """Accept activations, normalizations and views; a Cast to integers is none, but a step."""
    step = record.op == "Cast" and record.output.dtype.kind in "biu"
    return op(*ACTIVATIONS, *SAME)(record) and not step


@dataclass(frozen=True)
class Composite:
    """Ordered (selector, rule) cases.

    Attributes
    ----------
    name : str
    cases : tuple of (selector, rule)
        The first whose selector accepts an operator decides.
    derivative : bool
        Whether what is handed back is a derivative, per unit of what it is taken by, and not a share.
    """

    name: str
    cases: tuple[tuple[Selector, Pullback], ...]
    derivative: bool = False

    def accepts(self, record: Record) -> bool:
        """Tell whether a case accepts ``record``."""
        return self.rule_of(record) is not None

    def rule_of(self, record: Record) -> Pullback | None:
        """Return the rule of the first case that accepts ``record``."""
        return next((rule for accepts, rule in self.cases if accepts(record)), None)

    def __call__(self, record: Record, given: Given) -> list[Value | None]:
        """Return the relevance of each input by the first rule whose case accepts ``record``."""
        rule = self.rule_of(record)
        if rule is not None:
            return rule(record, given)
        raise UnsupportedOperatorError(f"{self.name} has no relevance rule for {record}. Choose a layer after it.")


def residual_rule(residual: str) -> Pullback:
    """Return the rule of a residual Add: ``positive``, ``signed`` or ``ratio``."""
    check_known("residual", residual, RESIDUAL)
    return RESIDUAL[residual]


def product_rule(products: str) -> Pullback:
    """Return the rule of products: ``value``, a gate takes nothing, or ``split``, each operand takes half."""
    check_known("products", products, PRODUCTS)
    return product(z_plus, signal=PRODUCTS[products])


def fg_cam(residual: str = "positive", *, products: str = "value", bias: bool = False) -> Composite:
    """Return FG-CAM's rules (Qiu et al., 2024, arXiv:2303.09171).

    ``residual`` and ``products`` choose the rules of what the paper's nets do not have: sums and products of
    two tensors that both depend on the input. With ``bias`` what is positive of a bias takes its share, which is
    lost: it is not in the picture.
    """
    weighted = linear.z_plus(stabilizer=0, bias=bias)
    cases = _positive_cases(residual, products, weighted=weighted, maxima=to_maximum)
    return Composite("fgcam", ((reads_input, z_box), *cases))


def relevance_cam(residual: str = "signed", *, products: str = "value") -> Composite:
    """Return the rules of Relevance-CAM (Lee et al., CVPR 2021, doi:10.1109/CVPR46437.2021.01470)."""
    return Composite("relevancecam", _positive_cases(residual, products, weighted=z_plus, maxima=z_rule))


def _positive_cases(
    residual: str, products: str, *, weighted: Pullback, maxima: Pullback
) -> tuple[tuple[Selector, Pullback], ...]:
    """Return what both methods share: shares of the positive part for averages."""
    return (
        (bilinear, product_rule(products)),
        (op(*CONTRACTIONS), weighted),
        (op(*MAXIMA), maxima),
        (op(*AVERAGES), positive_input),
        (op(*SUMS), residual_rule(residual)),
        (passes, passthrough),
        (bounds, passthrough),
        (op(*MOVEMENTS), vjp.pullback),
    )
