"""Operator specs: one small node each, the inputs to try it on, and whether it is linear in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper

from fgcam_onnx import vjp
from fgcam_onnx.vjp.rule import refused

OPSET = 18
IR = 10


@dataclass(frozen=True, eq=False)
class Spec:
    """One node to prove the rules of an operator on.

    Attributes
    ----------
    inputs : tuple of ndarray or None
        Float64 arrays whose input has a rule are fed and differentiated, all others are initializers.
    linear : bool
        Whether the output is linear (or affine) in each differentiated input alone.
    joined : int
        How many of the node's outputs are flattened and joined to the one that is differentiated.
    compiled : bool
        Whether ONNX Runtime computes the same forward pass: some orders are open, some windows refused.
    """

    op: str
    about: str
    inputs: tuple[np.ndarray | None, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    linear: bool = False
    outputs: int = 1
    joined: int = 1
    opset: int = OPSET
    compiled: bool = True

    def __str__(self) -> str:
        return f"{self.op}-{self.about}".replace(" ", "_") if self.about else self.op

    @property
    def names(self) -> list[str]:
        return [f"x{i}" if a is not None else "" for i, a in enumerate(self.inputs)]

    @property
    def wrt(self) -> tuple[str, ...]:
        found = formulas(self.op)
        each = isinstance(vjp.RULES[self.op], vjp.EachInput)
        return tuple(
            name
            for i, (name, a) in enumerate(zip(self.names, self.inputs, strict=True))
            if a is not None and a.dtype == np.float64 and (each or i in found)
        )

    def feeds(self, dtype: type = np.float64) -> dict[str, np.ndarray]:
        arrays = dict(zip(self.names, self.inputs, strict=True))
        return {n: arrays[n].astype(dtype) for n in self.wrt}

    def model(self, dtype: type = np.float64, *, batch: bool = False) -> ModelProto:
        """Build the model; with ``batch``, the first dimension of the first input is free."""
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        outputs = [f"y{i}" for i in range(self.outputs)]
        nodes = [helper.make_node(self.op, self.names, outputs, name="tested", **self.attrs)]
        last = outputs[0]
        if self.joined > 1:
            flat = [f"flat{i}" for i in range(self.joined)]
            nodes += [helper.make_node("Reshape", [y, "all"], [f]) for y, f in zip(outputs, flat, strict=False)]
            nodes += [helper.make_node("Concat", flat, ["joined"], axis=0)]
            last = "joined"
        fixed, fed = [], []
        for name, a in zip(self.names, self.inputs, strict=True):
            if a is None:
                continue
            if name in self.wrt:
                shape = ["N", *a.shape[1:]] if batch and name == "x0" else a.shape
                fed.append(helper.make_tensor_value_info(name, kind, shape))
            else:
                fixed.append(numpy_helper.from_array(a.astype(dtype) if a.dtype == np.float64 else a, name))
        if self.joined > 1:
            fixed.append(numpy_helper.from_array(np.array([-1]), "all"))
        result = onnx.ValueInfoProto(name=last, type=helper.make_tensor_type_proto(self.result_kind(kind), None))
        graph = helper.make_graph(nodes, "spec", fed, [result], fixed)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=IR)

    def result_kind(self, kind: int) -> int:
        return self.attrs["to"] if self.op == "Cast" else kind

    @property
    def output(self) -> str:
        return "joined" if self.joined > 1 else "y0"


def formulas(op: str) -> dict[int, Callable[..., Any]]:
    """Return the formulas in the row of ``op`` by input; that of any input stands at 0."""
    return {i: rule for i, rule in enumerate(rows(op)) if rule is not None and rule is not refused}


def rows(op: str) -> tuple[Any, ...]:
    """Return the row of ``op``, the formula of any input standing alone."""
    row = vjp.RULES[op]
    if isinstance(row, vjp.EachInput):
        return (row.rule,)
    return row.rules if isinstance(row, vjp.AllOutputs) else row


def spec(
    op: str,
    *inputs: np.ndarray | None,
    about: str = "",
    linear: bool = False,
    outputs: int = 1,
    joined: int = 1,
    opset: int = OPSET,
    compiled: bool = True,
    **attrs: Any,
) -> Spec:
    """Write a row of the table."""
    return Spec(op, about, inputs, attrs, linear, max(outputs, joined), joined, opset, compiled)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Draw from the standard normal distribution."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def uniform(low: float, high: float, *shape: int, seed: int = 0) -> np.ndarray:
    """Draw evenly from an interval."""
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape)


def apart(*shape: int, step: float = 0.05, seed: int = 0) -> np.ndarray:
    """Return distinct values at least ``step`` apart and half as far from 0: no kink is near."""
    size = int(np.prod(shape))
    places = np.random.default_rng([seed, *shape]).permutation(size)
    return ((places - size // 2 + 0.5) * step).reshape(shape)


def ints(*numbers: int) -> np.ndarray:
    """Return an int64 vector."""
    return np.array(numbers, np.int64)
