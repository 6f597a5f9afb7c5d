"""What follows a layer, for CAM: the average over space, and then linear operators only."""

from __future__ import annotations

import math

from ..errors import LayerError
from ..graph.emitter import Emitter
from ..graph.facts import facts_of
from ..graph.operators import VIEWS
from ..graph.tape import Record, tape_between
from ..layers.layers import Layer
from ..quantized import meaning_of
from .method import Options

LINEAR = frozenset({"Add", "BatchNormalization", "Conv", "Div", "Gemm", "MatMul", "Mul", "Sub"})
"""Operators that are linear (but for a constant) in their first input, or in any one of several."""


def check_average_head(options: Options, layer: Layer) -> None:
    """Check that the logits are linear in the average of ``layer`` over space, but for rounding.

    Raises
    ------
    LayerError
        The head is another; says where it differs.
    """
    emitter = Emitter(options.model)
    left = math.prod(d for d in layer.shape[1:] if isinstance(d, int)) // layer.channels
    for record in tape_between(emitter, sources=[layer.name], output=options.score.logits):
        meaning = meaning_of(record)
        meant = record if meaning is None else meaning.record
        if meant.op in VIEWS:
            continue
        averaged = _averaged(meant, layer, left) if left > 1 else 0
        if averaged:
            left //= averaged
        elif left > 1 or not _is_linear(meant):
            wanted = "the average over space" if left > 1 else "only linear operators"
            raise LayerError(
                f"cam needs the average over space behind {layer.name!r} and then linear operators only: {record} "
                f"comes where {wanted} should. Use gradcam: where cam fits it is the same map, but for its scale."
            )
    if left > 1:
        raise LayerError(f"cam needs the average over space behind {layer.name!r}: there is none. Use gradcam.")


def _is_linear(record: Record) -> bool:
    return record.op in LINEAR and (record.varying == (0,) or (record.op != "Div" and len(record.varying) == 1))


def _averaged(record: Record, layer: Layer, left: int) -> int:
    """Return how many of the ``left`` positions become one, each of the same weight; 0 where none."""
    x = record.inputs[0]
    if x is None:
        return 0
    bare = not any(record.attrs.get("pads", ())) and not str(record.attrs.get("auto_pad", "")).startswith("SAME")
    whole = bare and tuple(record.attrs.get("kernel_shape", ())) == x.shape[2:]
    if record.op == "GlobalAveragePool" or (record.op == "AveragePool" and whole):
        return left
    axes = record.inputs[1].constant if len(record.inputs) > 1 and record.inputs[1] is not None else None
    if record.op != "ReduceMean" or axes is None:
        return 0
    reduced = {int(a) % x.rank for a in axes.ravel()}
    channels = facts_of(x.emitter.model).channel_axis.get(x.emitter.origin(x))
    if channels is None:
        alike = [a for a in range(1, x.rank) if x.shape[a] == layer.channels]
        channels = alike[0] if len(alike) == 1 else None
    if 0 in reduced or channels is None or channels in reduced:
        return 0
    sizes = [d for a in reduced if isinstance(d := x.shape[a], int)]
    count = math.prod(sizes)
    return count if len(sizes) == len(reduced) and count > 1 and left % count == 0 else 0
