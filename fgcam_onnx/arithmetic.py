"""Arithmetic: how sums of integer products are computed, as this processor's kernels do or exactly."""

from __future__ import annotations

from typing import Literal

from .errors import OptionError, check_known
from .graph.model import Model
from .runtime import saturates
from .surgery.products import overflowing, products_of, with_exact_products

INT8 = ("deployed", "exact")
"""As the kernels of the processor at hand compute, or exactly on every processor."""

Arithmetic = Literal["exact", "saturating"]


def computed(model: Model, int8: str) -> Model:
    """Return ``model`` for integer arithmetic ``int8``.

    Raises
    ------
    OptionError
        No such arithmetic; ``exact`` of a model without integer products, or that cannot be made so.
    """
    check_known("int8", int8, INT8)
    if int8 == "deployed":
        return model
    if not products_of(model):
        raise OptionError("int8='exact' has no effect: the model has no products of integers")
    return with_exact_products(model)


def arithmetic_of(model: Model) -> Arithmetic | None:
    """Return how this processor computes the integer products of ``model``; None where it has none.

    ``saturating``: two products are added in 16 bits and cut off, in at least one operator where that may change the
    sum. A processor that has VNNI, or is no x86, is exact.
    """
    if not products_of(model):
        return None
    return "saturating" if overflowing(model) and saturates() else "exact"


def told(model: Model) -> str:
    """Return a line on the integer products of ``model`` and this processor; empty where it has none."""
    every, some = len(products_of(model)), len(overflowing(model))
    if not every:
        return ""
    if not some:
        return f"int8: {every} products of integers, exact on any processor"
    which = f"int8: {some} of {every} products of integers"
    if saturates():
        return f"{which} saturate on this processor (two terms add up in 16 bits); --int8 exact makes them exact"
    return f"{which} can saturate on x86 processors without VNNI; this processor computes them exactly"
