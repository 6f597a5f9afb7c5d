"""Loops: a step that is applied again and again, as a Python loop on arrays and one Loop operator on values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, ValueInfoProto, helper

from .emitter import PREFIX, Emitter
from .subgraphs import reads
from .value import Array, Value


def repeated(step: Callable[..., tuple[Array, ...]], *state: Array, times: int) -> tuple[Array, ...]:
    """Apply ``step`` to ``state`` ``times`` times; it returns the next state, of the same types and shapes.

    Values that ``step`` reads from outside are read by the operator's body, not copied.
    """
    if isinstance(state[0], Value):
        return _emitted(state[0].emitter, step, state, times)
    for _ in range(times):
        state = step(*state)
    return state


def _emitted(emitter: Emitter, step: Callable[..., Any], state: tuple[Value, ...], times: int) -> tuple[Value, ...]:
    with emitter.aside("loop") as nodes:
        scope = f"{PREFIX}{emitter.scope}"
        count = ValueInfoProto(name=f"{scope}/count", type=helper.make_tensor_type_proto(TensorProto.INT64, []))
        going = ValueInfoProto(name=f"{scope}/going", type=helper.make_tensor_type_proto(TensorProto.BOOL, []))
        before = [emitter.declare(f"{scope}/state_{i}", v) for i, v in enumerate(state)]
        after = [emitter.emit("Identity", v) for v in step(*before)]
        still = f"{scope}/still_going"
        nodes.append(helper.make_node("Identity", [going.name], [still], name=still))
    kinds = [emitter.types[v.name] for v in state]
    body = helper.make_graph(
        nodes,
        "body",
        [count, going, *(ValueInfoProto(name=v.name, type=k) for v, k in zip(before, kinds, strict=True))],
        [
            ValueInfoProto(name=still, type=going.type),
            *(ValueInfoProto(name=v.name, type=k) for v, k in zip(after, kinds, strict=True)),
        ],
    )
    ends = [emitter.declare(f"{scope}/end_{i}", v) for i, v in enumerate(state)]
    trips, always = emitter.constant(np.asarray(times, np.int64)), emitter.constant(np.asarray(True))
    reads = [trips.name, always.name, *(v.name for v in state)]
    emitter.nodes.append(helper.make_node("Loop", reads, [v.name for v in ends], name=f"{scope}/Loop", body=body))
    return tuple(ends)


def collected(emitter: Emitter, step: Callable[[Value], Value], *, times: int) -> Value:
    """Return what ``step`` makes of the numbers from 0 to ``times - 1``, along a new first axis, by one Loop.

    Of its dimensions one may be free.
    """
    with emitter.aside("loop") as nodes:
        scope = f"{PREFIX}{emitter.scope}"
        number = emitter.declare(f"{scope}/count", emitter.constant(np.asarray(0, np.int64)))
        going = emitter.declare(f"{scope}/going", emitter.constant(np.asarray(True)))
        still = f"{scope}/still_going"
        made = step(number)
        # ONNX's reference evaluator joins what the steps give, where the standard stacks it: an axis of 1 and a Reshape
        # make both the same
        found = emitter.emit("Unsqueeze", made, emitter.ints([0]))
        nodes.append(helper.make_node("Identity", [going.name], [still], name=still))
    kind = emitter.types[found.name]
    body = helper.make_graph(
        [*_negated_outside(emitter, nodes), *nodes],
        "body",
        [ValueInfoProto(name=v.name, type=emitter.types[v.name]) for v in (number, going)],
        [ValueInfoProto(name=still, type=emitter.types[going.name]), ValueInfoProto(name=found.name, type=kind)],
    )
    trips, always = emitter.constant(np.asarray(times, np.int64)), emitter.constant(np.asarray(True))
    end = f"{scope}/collected"
    emitter.nodes.append(helper.make_node("Loop", [trips.name, always.name], [end], name=f"{scope}/Loop", body=body))
    return emitter.typed(end, found.dtype, (times, *found.shape)).reshape((times, *made.shape))


def _negated_outside(emitter: Emitter, body: list[NodeProto]) -> list[NodeProto]:
    """Let ``body`` read what quantized parts of the graph outside make as its negative; return what turns it back.

    ONNX Runtime (1.31, 1.32) carries a DequantizeLinear on through what only moves values (Reshape, MaxPool), and
    ends the process where it meets a Loop whose body reads the result from outside. A negation stops it, and two
    cancel to the bit.
    """
    makers = {o: n.op_type for n in emitter.nodes for o in n.output}
    if "DequantizeLinear" not in makers.values():
        return []
    made = {o for n in body for o in n.output}
    outer = dict.fromkeys(i for n in body for i in reads(n) if i not in made)
    read = [
        i for i in outer if makers.get(i, "DequantizeLinear") != "DequantizeLinear" and emitter.dtype(i).kind == "f"
    ]
    again = {i: f"{PREFIX}{emitter.scope}/again_{len(emitter.nodes)}/{i}" for i in read}
    back = [helper.make_node("Neg", [(-Value(emitter, i)).name], [again[i]], name=again[i]) for i in read]
    for node in body:
        node.input[:] = [again.get(i, i) for i in node.input]
    return back
