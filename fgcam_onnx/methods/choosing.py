"""Check what the caller chose, and find the layers of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import LayerError, OptionError, check_known
from ..graph.model import Model
from ..layers.layers import INPUT, Layer, candidate_layers, find_layer
from ..layers.stages import first_stage
from ..lrp.composites import product_rule, residual_rule
from ..lrp.starts import find_start
from ..runtime import OPTIMIZATIONS, resolve_device
from . import check_eigen_smooth, find_base, find_method, fitted_settings
from .method import Choices
from .taking import refuse_unused


def chosen(
    method: str,
    *,
    base: str | None,
    residual: str | None,
    products: str | None,
    start: str | None,
    settings: Mapping[str, Any],
    **others: Any,
) -> Choices:
    """Return what was chosen, checked, the method's own defaults where nothing was.

    Raises
    ------
    OptionError
        An unknown name, a value out of range, or an option that the method does not take.
    DeviceError
        The device is not there.
    """
    row = find_method(method)
    if base:
        find_base(base)
    if residual is not None:
        residual_rule(residual)
    if products is not None:
        product_rule(products)
    if begin := row.start if start is None else start:
        find_start(begin)
    if others["trace"] and not row.traces:
        raise OptionError(f"{method} hands no relevance back that could be traced")
    given = {"base": base, "residual": residual, "products": products, "start": start}
    refuse_unused(method, given | {n: others[n] for n in ("denoise", "saturation")}, base=base)
    base = base or row.base or ""
    choices = Choices(
        base=base,
        residual=row.residual if residual is None else residual,
        products=row.products if products is None else products,
        start=begin,
        settings=fitted_settings(method, settings, base=base),
        **others,
    )
    if choices.eigen_smooth:
        check_eigen_smooth(method, base)
    check_known("optimization", choices.optimization, OPTIMIZATIONS)
    resolve_device(choices.device)
    return choices


def chosen_layers(
    model: Model,
    names: Sequence[str] | None,
    *,
    method: str,
    base: Layer,
    logits: str,
    source: str,
    grid: tuple[int, ...] | None,
) -> dict[str, Layer]:
    """Return the layers asked for, by the names they were asked by; by default where ``method`` has its map.

    Raises
    ------
    LayerError
        No such layer, or none was asked for.
    """
    at = find_method(method).at
    if names is None and at in ("base", "stage"):
        layer = base if at == "base" else first_stage(model, logits=logits, base=base, source=source)
        return {layer.name: layer}
    found: dict[str, Layer] = {}
    for name in (INPUT,) if names is None else names:
        if name == "all":
            every = candidate_layers(model, logits=logits, source=source, grid=grid)
            end = next((i for i, x in enumerate(every) if x.name == base.name), len(every) - 1)
            found |= {x.name: x for x in every[: end + 1] if x.every_path}
        else:
            found[name] = find_layer(model, name, logits=logits, source=source, grid=grid)
    if not found:
        raise LayerError("no layer was asked for")
    return found
