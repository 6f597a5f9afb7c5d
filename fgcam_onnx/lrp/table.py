"""The table of composites: name -> what makes one from its settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import vjp
from ..backward import Pullback
from ..errors import OptionError, check_known
from ..graph.tape import Record
from ..graph.value import Array, Value
from . import linear
from .attention import softmax_taylor
from .composites import (
    ACTIVATIONS,
    AVERAGES,
    MAXIMA,
    MOVEMENTS,
    PRODUCTS,
    SUMS,
    Composite,
    Selector,
    bilinear,
    bounds,
    op,
    passes,
    product_rule,
    reads_input,
    residual_rule,
)
from .gates import self_gated
from .linear import STABILIZER
from .modifiers import positive
from .normalization import NORMALIZATIONS, all_addends, as_linear
from .rules import Given, Group, Rule, Term, first, passthrough, product, stabilized

__all__ = ["COMPOSITES", "layered", "rest"]

Cases = tuple[tuple[Selector, Pullback], ...]
CONVOLUTIONS = ("Conv", "ConvTranspose")
DENSE = ("Einsum", "Gemm", "MatMul")
TINY = 1e-9


def layered(
    name: str,
    *,
    convolution: Rule,
    dense: Rule,
    first_layer: Rule | None = None,
    average: Rule | None = None,
    residual: str = "signed",
    products: str = "value",
    before: Cases = (),
    stabilizer: float = STABILIZER,
) -> Composite:
    """Return a composite of one rule a kind of layer, and the usual ones for all other operators.

    Activations and normalizations that are left pass relevance on, a maximum sends it to the first of its window,
    averages and residual sums share it in proportion to what they add.

    Parameters
    ----------
    name : str
    convolution, dense : Rule
        For Conv and ConvTranspose; for Gemm, MatMul and Einsum.
    first_layer : Rule, optional
        For what multiplies the graph input by weights.
    average : Rule, optional
        For average pools; default epsilon's.
    residual : {"signed", "positive", "ratio"}
    products : {"value", "split"}
    before : cases
        (selector, rule) pairs that are asked first.
    stabilizer : float
        What is added to the denominators of sums, averages and normalizations.
    """
    first_cases: Cases = ((reads_input, first_layer),) if first_layer is not None else ()
    product_rule(products)
    return Composite(
        name,
        (
            *before,
            *first_cases,
            (bilinear, product(dense, signal=PRODUCTS[products])),
            (op(*CONVOLUTIONS), convolution),
            (op(*DENSE), dense),
            *rest(residual, average=average, stabilizer=stabilizer),
        ),
    )


def rest(residual: str = "signed", *, average: Rule | None = None, stabilizer: float = STABILIZER) -> Cases:
    """Return the cases of everything that is not weighted.

    Where residual sums share by sign, so do shifts and normalizations, all by epsilon's rule; else constants take
    nothing and normalizations hand relevance on.
    """
    by_contribution = stabilized(stabilizer)
    signed: Cases = (
        (op(*SUMS), all_addends(by_contribution)),
        (op(*NORMALIZATIONS), as_linear(by_contribution)),
    )
    return (
        (op(*MAXIMA), vjp.pullback),
        (op(*AVERAGES), average or linear.epsilon(stabilizer)),
        *(signed if residual == "signed" else ((op(*SUMS), residual_rule(residual)),)),
        (passes, passthrough),
        (bounds, passthrough),
        (op(*MOVEMENTS), vjp.pullback),
    )


def epsilon(
    *, epsilon: float = STABILIZER, bias: bool = True, residual: str = "signed", products: str = "value"
) -> Composite:
    """Return LRP-epsilon everywhere (Bach et al., 2015, doi:10.1371/journal.pone.0130140)."""
    rule = linear.epsilon(epsilon, bias=bias)
    return layered("epsilon", convolution=rule, dense=rule, residual=residual, products=products)


def z_plus(*, bias: bool = True, residual: str = "signed", products: str = "value") -> Composite:
    """Return z+ everywhere (Bach et al., 2015; Montavon et al., 2017)."""
    rule = linear.z_plus(bias=bias)
    return layered("zplus", convolution=rule, dense=rule, residual=residual, products=products)


def alpha_beta(
    *, alpha: float = 2.0, beta: float = 1.0, bias: bool = True, residual: str = "signed", products: str = "value"
) -> Composite:
    """Return alpha-beta everywhere (Bach et al., 2015); a product of two tensors shares by z+."""
    rule = linear.alpha_beta(alpha, beta, bias=bias)
    products_first: Cases = ((bilinear, product(linear.z_plus(), signal=PRODUCTS[products])),)
    return layered(
        "alphabeta", convolution=rule, dense=rule, residual=residual, products=products, before=products_first
    )


def epsilon_plus(
    *, epsilon: float = STABILIZER, bias: bool = True, residual: str = "signed", products: str = "value"
) -> Composite:
    """Return z+ for convolutions, epsilon for dense layers (zennit's EpsilonPlus, arXiv:2106.13200)."""
    return layered(
        "epsilonplus", convolution=linear.z_plus(bias=bias), dense=linear.epsilon(epsilon, bias=bias),
        residual=residual, products=products,
    )  # fmt: skip


def epsilon_plus_flat(
    *, epsilon: float = STABILIZER, bias: bool = True, residual: str = "signed", products: str = "value"
) -> Composite:
    """Return epsilonplus with the flat rule for the first layer (zennit's EpsilonPlusFlat)."""
    return layered(
        "epsilonplusflat", convolution=linear.z_plus(bias=bias), dense=linear.epsilon(epsilon, bias=bias),
        first_layer=linear.flat(), residual=residual, products=products,
    )  # fmt: skip


def epsilon_alpha2_beta1(
    *, epsilon: float = STABILIZER, bias: bool = True, residual: str = "signed", products: str = "value"
) -> Composite:
    """Return alpha-beta (2, 1) for convolutions, epsilon for dense layers (zennit's EpsilonAlpha2Beta1)."""
    return layered(
        "epsilonalpha2beta1", convolution=linear.alpha_beta(2, 1, bias=bias),
        dense=linear.epsilon(epsilon, bias=bias), residual=residual, products=products,
    )  # fmt: skip


def epsilon_alpha2_beta1_flat(
    *, epsilon: float = STABILIZER, bias: bool = True, residual: str = "signed", products: str = "value"
) -> Composite:
    """Return epsilonalpha2beta1 with the flat rule for the first layer (zennit's EpsilonAlpha2Beta1Flat)."""
    return layered(
        "epsilonalpha2beta1flat", convolution=linear.alpha_beta(2, 1, bias=bias),
        dense=linear.epsilon(epsilon, bias=bias), first_layer=linear.flat(), residual=residual, products=products,
    )  # fmt: skip


def epsilon_gamma_box(
    *,
    epsilon: float = STABILIZER,
    gamma: float = 0.25,
    low: ArrayLike = (),
    high: ArrayLike = (),
    bias: bool = True,
    residual: str = "signed",
    products: str = "value",
) -> Composite:
    """Return the box rule for the first layer, generalized gamma for convolutions, epsilon for dense ones.

    zennit's EpsilonGammaBox. ``low`` and ``high`` are the least and greatest input after preprocessing, a number or
    one for each channel; left out, those of each picture.
    """
    return layered(
        "epsilongammabox", convolution=linear.generalized_gamma(gamma, bias=bias),
        dense=linear.epsilon(epsilon, bias=bias), first_layer=linear.z_box(_given(low), _given(high)),
        residual=residual, products=products,
    )  # fmt: skip


def deep_taylor(
    *, low: ArrayLike = (), high: ArrayLike = (), bounded: bool = True,
    residual: str = "positive", products: str = "value",
) -> Composite:  # fmt: skip
    """Return deep Taylor decomposition (Montavon et al., 2017, doi:10.1016/j.patcog.2016.11.008).

    z+ without biases; for the first layer the box rule, or w^2 where the input is not ``bounded``.
    """
    rule = linear.z_plus(bias=False)
    first_layer = linear.z_box(_given(low), _given(high)) if bounded else linear.w_square(bias=False)
    positive_average = Rule((Group((Term(positive),)),), stabilized(STABILIZER))
    return layered(
        "deeptaylor", convolution=rule, dense=rule, first_layer=first_layer, average=positive_average,
        residual=residual, products=products,
    )  # fmt: skip


def excitation_backprop(*, bias: bool = True, residual: str = "signed", products: str = "value") -> Composite:
    """Return excitation backprop (Zhang et al., 2016, arXiv:1608.00507): winners by z+, activations by gradient.

    The paper leaves biases out (``bias=False``); zennit, and the default here, let them take their share.
    """
    rule = linear.z_plus(bias=bias)
    by_gradient: Cases = ((op(*ACTIVATIONS), vjp.pullback), (bounds, vjp.pullback))
    return layered(
        "excitationbackprop", convolution=rule, dense=rule, residual=residual, products=products, before=by_gradient
    )


def guided_backprop() -> Composite:
    """Return the gradient, of which every ReLU passes only what is positive (Springenberg et al., 2015)."""
    return Composite("guidedbackprop", ((rectifies, guided), (everything, vjp.pullback)), derivative=True)


def deconvnet() -> Composite:
    """Return the gradient with the ReLU applied to the gradient instead (Zeiler & Fergus, 2014, arXiv:1311.2901)."""
    return Composite("deconvnet", ((rectifies, deconvolved), (everything, vjp.pullback)), derivative=True)


def attn_lrp(
    *, epsilon: float = TINY, gamma: float = 0.0, bias: bool = True, residual: str = "signed", products: str = "split"
) -> Composite:
    """Return AttnLRP (Achtibat et al., 2024, arXiv:2402.05602).

    Epsilon for linear layers, or generalized gamma where it is positive, as its authors use for vision; the Taylor
    rule for Softmax, half to each operand of a product, normalizations linear with their spread constant, identity
    for activations. Epsilon is small: attention's products are, and what it absorbs is lost.
    """
    rule = (
        linear.generalized_gamma(gamma, stabilizer=epsilon, bias=bias) if gamma else linear.epsilon(epsilon, bias=bias)
    )
    taylor: Cases = ((op("Softmax"), softmax_taylor), (bilinear, product(linear.epsilon(epsilon), signal=self_gated)))
    return layered(
        "attnlrp", convolution=rule, dense=rule, residual=residual, products=products,
        before=taylor if products == "split" else (), stabilizer=epsilon,
    )  # fmt: skip


def cp_lrp(*, epsilon: float = TINY, bias: bool = True, residual: str = "signed") -> Composite:
    """Return CP-LRP (Ali et al., 2022, arXiv:2202.07304): attention weights are constants, values take all."""
    rule = linear.epsilon(epsilon, bias=bias)
    return layered("cplrp", convolution=rule, dense=rule, residual=residual, stabilizer=epsilon)


def everything(record: Record) -> bool:
    """Accept any operator."""
    return True


def rectifies(record: Record) -> bool:
    """Accept ReLU and what exporters write for it: Max with 0, Clip from 0 on."""
    if op("Relu")(record):
        return True
    if op("Max")(record) and len(record.varying) == 1 and len(record.inputs) == 2:
        return _is_zero(record.inputs[1 - record.varying[0]])
    return op("Clip")(record) and len(record.inputs) > 1 and _is_zero(record.inputs[1])


def _is_zero(v: Value | None) -> bool:
    return v is not None and v.constant is not None and not np.any(v.constant)


def guided(record: Record, given: Given) -> list[Value | None]:
    """Differentiate, and keep what is positive of the gradient that came."""
    g: Array = first(given)
    kept: Value = np.maximum(g, 0)
    return vjp.pullback(record, (kept,))


def deconvolved(record: Record, given: Given) -> list[Value | None]:
    """Keep what is positive of the gradient that came, wherever the input was."""
    g: Array = first(given)
    kept: Value = np.maximum(g, 0)
    return [kept if i == record.varying[0] else None for i in range(len(record.inputs))]


COMPOSITES: dict[str, Callable[..., Composite]] = {
    "alpha2beta1": alpha_beta,
    "attnlrp": attn_lrp,
    "cplrp": cp_lrp,
    "deconvnet": deconvnet,
    "deeptaylor": deep_taylor,
    "epsilon": epsilon,
    "epsilonalpha2beta1": epsilon_alpha2_beta1,
    "epsilonalpha2beta1flat": epsilon_alpha2_beta1_flat,
    "epsilongammabox": epsilon_gamma_box,
    "epsilonplus": epsilon_plus,
    "epsilonplusflat": epsilon_plus_flat,
    "excitationbackprop": excitation_backprop,
    "guidedbackprop": guided_backprop,
    "zplus": z_plus,
}
"""Composites by name; each takes its settings by keyword, and where they matter ``residual`` and ``products``."""

SHARED = ("residual", "products")


def find_composite(name: str) -> Callable[..., Composite]:
    """Return what makes the composite called ``name``.

    Raises
    ------
    OptionError
        No such composite; names the near ones.
    """
    check_known("composite", name, COMPOSITES)
    return COMPOSITES[name]


def settings_of(name: str) -> dict[str, Any]:
    """Return the settings of composite ``name`` and their defaults, those ``SHARED`` aside."""
    parameters = inspect.signature(find_composite(name)).parameters
    return {n: p.default for n, p in parameters.items() if n not in SHARED}


def made(name: str, settings: Mapping[str, Any], **shared: str | None) -> Composite:
    """Return composite ``name``; ``residual`` and ``products`` are its own where they are None."""
    given = {n: v for n, v in shared.items() if v is not None}
    if useless := given.keys() - inspect.signature(find_composite(name)).parameters.keys():
        raise OptionError(f"{', '.join(useless)} changes nothing of composite {name}: leave it out")
    return find_composite(name)(**settings, **given)


def _given(bound: ArrayLike) -> ArrayLike | None:
    return bound if np.size(bound) else None
