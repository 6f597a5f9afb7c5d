"""Rewriting: write chosen operators of a file again, by a formula over typed values, when it is loaded."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace

from onnx import ModelProto, NodeProto, helper

from ..errors import FgcamError, ModelError, UnsupportedOperatorError
from ..graph.emitter import PREFIX, Emitter
from ..graph.gaps import key_of
from ..graph.model import Model
from ..graph.tape import attributes
from ..graph.value import Value

Results = Value | tuple[Value | None, ...]
Formulas = Mapping[str, Callable[..., Results]]
"""Operator to ``formula(*inputs, **attributes)``: its outputs, None for one that inference never needs."""


def given(*inputs: Value | None) -> list[Value | None]:
    """Return optional inputs without those left out at the end."""
    kept = list(inputs)
    while kept and kept[-1] is None:
        kept.pop()
    return kept


def rewritten(model: Model, formulas: Formulas) -> Model:
    """Return ``model`` with the operators in ``formulas`` written by them, every tensor's name kept.

    A node stays as it is where its formula refuses, or needs a type that is not known.

    Raises
    ------
    ModelError
        A node has attributes or inputs that its operator does not take.
    """
    opened = ModelProto()
    opened.CopyFrom(model.proto)
    del opened.graph.node[:]
    emitter = Emitter(replace(model, proto=opened))
    stand_ins: dict[str, str] = {}
    for node in model.nodes:
        results = _results(emitter, node, stand_ins, formulas) if key_of(node) in formulas else None
        if results is None:
            read = NodeProto()
            read.CopyFrom(node)
            read.input[:] = [stand_ins.get(i, i) for i in node.input]
            emitter.adopt(read)
            continue
        for value, name in zip(results, node.output, strict=False):
            if name and value is not None and value.name.startswith(PREFIX) and value.name not in stand_ins.values():
                stand_ins[name] = value.name
            elif name and value is not None:
                emitter.adopt(helper.make_node("Identity", [value.name], [name], name=name))
    final = functools.partial(_final_name, {inner: name for name, inner in stand_ins.items()})
    for node in emitter.nodes:
        node.name = node.name.removeprefix(PREFIX)
        node.input[:], node.output[:] = map(final, node.input), map(final, node.output)
    opened.graph.node.extend(emitter.nodes)
    constants = {final(n): a for n, a in emitter.constants.items()}
    types = {final(n): t for n, t in emitter.types.items()} | dict(model.types)
    return replace(model, proto=opened, constants=constants, types=types)


def _final_name(final: Mapping[str, str], name: str) -> str:
    return final.get(name) or (name.replace(PREFIX, "written/", 1) if name.startswith(PREFIX) else name)


def _results(
    emitter: Emitter, node: NodeProto, stand_ins: Mapping[str, str], formulas: Formulas
) -> tuple[Value | None, ...] | None:
    """Emit a node's formula; None where too little is known of its inputs, or an output has no formula."""
    names = [stand_ins.get(i, i) for i in node.input]
    if not all(emitter.knows(n) for n in names if n):
        return None
    emitter.scope = next(filter(None, node.output))
    formula = formulas[key_of(node)]
    try:
        found = formula(*(emitter.value(n) if n else None for n in names), **attributes(node))
    except UnsupportedOperatorError:
        return None
    except (FgcamError, TypeError, ValueError) as error:
        raise ModelError(
            f"{node.op_type} (node {node.name!r}) has inputs or attributes that it cannot have: {error}"
        ) from None
    results = found if isinstance(found, tuple) else (found,)
    wanted = zip(node.output, (*results, *[None] * len(node.output)), strict=False)
    return None if any(name and value is None for name, value in wanted) else results
