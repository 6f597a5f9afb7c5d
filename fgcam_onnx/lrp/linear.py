"""Published relevance rules of linear operators, each a few terms.

Written for one output j of a linear operator, ``z_ij = x_i w_ij`` and relevance ``R_j``, with
``(v)+ = max(v, 0)`` and ``(v)- = min(v, 0)``. ``s(z)`` stands for ``z + epsilon * sign(z)``. With ``bias`` the bias
stays in the denominator, where it takes its share of the relevance (as in zennit; Anders et al., 2021,
arXiv:2106.13200); without, the inputs share all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..errors import OptionError
from .modifiers import (
    above_lowest,
    below_highest,
    keep,
    less,
    negative,
    ones,
    positive,
    raised,
    squared,
)
from .rules import Group, Rule, Term, divide_or_zero, stabilized

__all__ = ["alpha_beta", "epsilon", "flat", "gamma", "generalized_gamma", "lrp_0", "w_square", "z_box", "z_plus"]

STABILIZER = 1e-6
"""Added to denominators that are not meant to absorb anything."""


def lrp_0(*, bias: bool = True) -> Rule:
    """``R_i = sum_j z_ij / z_j * R_j``, 0 where ``z_j`` is 0 (Bach et al., 2015, doi:10.1371/journal.pone.0130140)."""
    return Rule((Group((Term(bias=bias),)),), divide_or_zero)


def epsilon(value: float = STABILIZER, *, bias: bool = True) -> Rule:
    """``R_i = sum_j z_ij / s(z_j) * R_j``; epsilon absorbs relevance (Bach et al., 2015)."""
    return Rule((Group((Term(bias=bias),)),), stabilized(_not_negative("epsilon", value)))


def gamma(value: float = 0.25, *, stabilizer: float = STABILIZER, bias: bool = True) -> Rule:
    """``R_i = sum_j x_i (w_ij + g (w_ij)+) / s(sum_i x_i (w_ij + g (w_ij)+)) * R_j``, for inputs of at least 0.

    Montavon et al., 2019, doi:10.1007/978-3-030-28954-6_10.
    """
    term = Term(keep, raised(positive, _not_negative("gamma", value)), bias)
    return Rule((Group((term,)),), stabilized(stabilizer))


def generalized_gamma(value: float = 0.25, *, stabilizer: float = STABILIZER, bias: bool = True) -> Rule:
    """Favour what agrees in sign with the output, for inputs of any sign (Andeol et al., 2021, arXiv:2106.13055).

    Where ``z_j > 0`` the messages are ``(x)+ (w + g (w)+) + (x)- (w + g (w)-)``, where ``z_j < 0`` they are
    ``(x)+ (w + g (w)-) + (x)- (w + g (w)+)``; each over its stabilized sum.
    """
    up, down = (raised(part, _not_negative("gamma", value)) for part in (positive, negative))
    groups = (
        Group((Term(positive, up, bias), Term(negative, down)), sign=1),
        Group((Term(positive, down, bias), Term(negative, up)), sign=-1),
    )
    return Rule(groups, stabilized(stabilizer))


def alpha_beta(alpha: float = 2.0, beta: float = 1.0, *, stabilizer: float = STABILIZER, bias: bool = True) -> Rule:
    """``R_i = sum_j (alpha (z_ij)+ / s((z_j)+) - beta (z_ij)- / s((z_j)-)) * R_j`` (Bach et al., 2015).

    ``(z_j)+`` sums the positive contributions, the positive bias included, ``(z_j)-`` the negative ones.

    Raises
    ------
    OptionError
        One is negative, or alpha - beta is not 1.
    """
    if min(alpha, beta) < 0 or abs(alpha - beta - 1) > 1e-9:
        raise OptionError(f"alpha and beta must be at least 0 and differ by 1, not {alpha} and {beta}")
    favour = Group((Term(positive, positive, bias), Term(negative, negative)), alpha)
    oppose = Group((Term(positive, negative, bias), Term(negative, positive)), -beta)
    return Rule((favour, oppose) if beta else (favour,), stabilized(stabilizer))


def z_plus(*, stabilizer: float = STABILIZER, bias: bool = True) -> Rule:
    """``R_i = sum_j (z_ij)+ / s((z_j)+) * R_j``, alpha-beta with 1 and 0 (Montavon et al., 2017)."""
    return alpha_beta(1, 0, stabilizer=stabilizer, bias=bias)


def z_box(low: ArrayLike | None = None, high: ArrayLike | None = None, *, stabilizer: float = STABILIZER) -> Rule:
    """``R_i = sum_j q_ij / s(sum_i q_ij) * R_j``, ``q_ij = x_i w_ij - l_i (w_ij)+ - h_i (w_ij)-``, for bounded inputs.

    Montavon et al., 2017 (doi:10.1016/j.patcog.2016.11.008).

    Parameters
    ----------
    low, high : number or one for each channel, optional
        The least and the greatest input there can be, after preprocessing. Default: those of the picture itself.
    """
    under = above_lowest if low is None else less(_bound(low))
    over = below_highest if high is None else less(_bound(high))
    return Rule((Group((Term(under, positive), Term(over, negative))),), stabilized(stabilizer))


def w_square(*, stabilizer: float = STABILIZER, bias: bool = True) -> Rule:
    """``R_i = sum_j w_ij^2 / s(sum_i w_ij^2) * R_j``, for unbounded inputs (Montavon et al., 2017)."""
    return Rule((Group((Term(ones, squared, bias),)),), stabilized(stabilizer))


def flat(*, stabilizer: float = STABILIZER) -> Rule:
    """``R_i = sum_j 1 / s(sum_i 1) * R_j``: every input alike (Lapuschkin et al., 2019, arXiv:1902.10178)."""
    return Rule((Group((Term(ones, ones),)),), stabilized(stabilizer))


def _bound(values: ArrayLike) -> float | np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return a number, or one for each channel shaped to broadcast along axis 1."""
    array = np.asarray(values, np.float64)
    return float(array.reshape(())) if array.size == 1 else array.reshape(1, -1, 1, 1)


def _not_negative(name: str, value: float) -> float:
    if value < 0:
        raise OptionError(f"{name} must be at least 0, not {value}")
    return value
