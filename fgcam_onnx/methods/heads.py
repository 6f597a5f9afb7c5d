"""What follows a layer, for CAM: the average over space, and then linear operators only."""

from __future__ import annotations

import math

from ..errors import LayerError
from ..graph.emitter import Emitter
from ..graph.facts import facts_of
from ..graph.layers import Layer
from ..graph.operators import VIEWS
from ..graph.tape import Record, tape_between
from .method import Options

LINEAR = frozenset({"Add", "BatchNormalization", "Conv", "Div", "Gemm", "MatMul", "Mul", "Sub"})
"""Operators that are linear (but for a constant) in their first input, or in any one of several."""


def check_average_head(options: Options, layer: Layer) -> None:
    """Check that the logits are linear in the average of ``layer`` over space.

    Raises
    ------
    LayerError
        The head is another; says where it differs.
    """
    averaged = False
    for record in tape_between(Emitter(options.model), sources=[layer.name], output=options.score.logits):
        if record.op in VIEWS:
            continue
        if not averaged and _averages(record, layer):
            averaged = True
        elif not (averaged and _is_linear(record)):
            wanted = "only linear operators" if averaged else "the average over space"
            raise LayerError(
                f"cam needs the average over space behind {layer.name!r} and then linear operators only: {record} "
                f"comes where {wanted} should. Use gradcam: where cam fits it is the same map, but for its scale."
            )
    if not averaged:
        raise LayerError(f"cam needs the average over space behind {layer.name!r}: there is none. Use gradcam.")


def _is_linear(record: Record) -> bool:
    return record.op in LINEAR and (record.varying == (0,) or (record.op != "Div" and len(record.varying) == 1))


def _averages(record: Record, layer: Layer) -> bool:
    """Tell an average over all positions of a layer, each of the same weight."""
    x = record.inputs[0]
    if x is None:
        return False
    if record.op == "GlobalAveragePool":
        return True
    if record.op == "AveragePool":
        return tuple(record.attrs.get("kernel_shape", ())) == x.shape[2:] and not any(record.attrs.get("pads", ()))
    axes = record.inputs[1].constant if len(record.inputs) > 1 and record.inputs[1] is not None else None
    if record.op != "ReduceMean" or axes is None:
        return False
    reduced = {int(a) % x.rank for a in axes.ravel()}
    if 0 in reduced or facts_of(x.emitter.model).channel_axis.get(x.name) in reduced:
        return False
    sizes = [d for a in reduced if isinstance(d := x.shape[a], int)]
    return len(sizes) == len(reduced) and math.prod(sizes) == math.prod(layer.spatial)
