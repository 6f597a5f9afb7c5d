"""Which options a method takes: one that changes nothing is refused, not passed over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..defaults import BASE
from ..errors import OptionError
from . import BASES, find_base, find_method

UNSAID: Mapping[str, Any] = {
    "base": None,
    "base_layer": None,
    "denoise": False,
    "eigen_smooth": False,
    "products": None,
    "residual": None,
    "saturation": True,
    "start": None,
    "trace": False,
}
"""The options that only some methods take, and their values when nothing is said."""


def taken(method: str, *, base: str | None = None) -> frozenset[str]:
    """Return the options of ``UNSAID`` that ``method`` takes; what refines a base also takes what the base does.

    A map's default place may also depend on ``base_layer``: see :func:`refuse_unused`.

    Raises
    ------
    OptionError
        No such method or base.
    """
    row = find_method(method)
    own = row.takes | ({"trace"} if row.traces else set())
    return own | find_base(base or row.base or BASE).takes if "base" in own else own


def refuse_unused(
    method: str, given: Mapping[str, Any], *, base: str | None = None, layers: Sequence[str] | None = None
) -> None:
    """Refuse what was given of ``UNSAID`` and would change nothing.

    A base layer that is also a layer asked for says where the net has none by default.

    Raises
    ------
    OptionError
        Names the option and the methods that take it.
    """
    found = taken(method, base=base)
    if layers is None:
        found |= {"base_layer"} if find_method(method).at in ("base", "stage") else frozenset()
    elif "all" in layers or given.get("base_layer") in layers:
        found |= {"base_layer"}
    for name, value in given.items():
        if value != UNSAID[name] and name not in found:
            raise OptionError(_useless(name, [method]))


def shared_out(
    methods: Sequence[str], given: Mapping[str, Any], *, layers: Sequence[str] | None = None
) -> dict[str, dict[str, Any]]:
    """Return for each of several methods what it takes of ``given``.

    Raises
    ------
    OptionError
        An option is taken by none of them.
    """
    kept: dict[str, dict[str, Any]] = {method: {} for method in methods}
    for name, value in given.items():
        if value == UNSAID[name]:
            continue
        for method in methods:
            try:
                refuse_unused(method, {name: value}, base=given.get("base"), layers=layers)
            except OptionError:
                continue
            kept[method][name] = value
        if not any(name in each for each in kept.values()):
            raise OptionError(_useless(name, methods))
    return kept


def _useless(name: str, methods: Sequence[str]) -> str:
    from . import METHODS

    takers = [method for method in METHODS if name in taken(method)]
    if name == "eigen_smooth":
        takers = ["fgcam and class activation maps", *(n for n in takers if n != "fgcam" and n not in BASES)]
    flag = "straight-through (saturation)" if name == "saturation" else name.replace("_", "-")
    return f"{flag} changes nothing of {', '.join(methods)}: leave it out; it is for {', '.join(takers)}"
