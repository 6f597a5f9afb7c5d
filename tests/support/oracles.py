"""Oracles: ways to compute a gradient, or to check one, that share nothing with the rules."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator
from reference_ops import NEW_OPS

from fgcam_onnx import vjp
from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.graph.model import Model
from fgcam_onnx.loading.loading import load
from fgcam_onnx.program import append_gradients
from fgcam_onnx.runtime import Session
from fgcam_onnx.vjp.rule import Rules

Feeds = Mapping[str, np.ndarray]
SEED = "seed"
STEP = 1e-6


@dataclass(frozen=True)
class Probe:
    """A small model, and the program that computes the gradients of one of its outputs."""

    forward: Model
    gradient: Model
    output: str
    wrt: tuple[str, ...]


def probe(proto: ModelProto, *, wrt: Sequence[str], output: str, rules: Rules = vjp.RULES) -> Probe:
    """Append the gradients of ``output`` to ``proto``; the program's outputs are ``d/<input>``."""
    model = load(proto)
    emitter = Emitter(model)
    y = emitter.value(output)
    seed = emitter.input(SEED, y.dtype, y.shape)
    found = append_gradients(emitter, wrt, output=output, seed=seed, rules=rules)
    for name in wrt:
        emitter.output(f"d/{name}", found[name])
    return Probe(model, emitter.build(), output, tuple(wrt))


def interpreted(model: Model, feeds: Feeds) -> dict[str, np.ndarray]:
    """Run ``model`` in onnx's reference interpreter, which knows float64 for every operator."""
    evaluator = _evaluator(model)
    with np.errstate(all="ignore"):
        results = evaluator.run(None, dict(feeds))
    return dict(zip(evaluator.output_names, map(np.asarray, results), strict=True))


@functools.lru_cache(maxsize=8)
def _evaluator(model: Model) -> ReferenceEvaluator:
    return ReferenceEvaluator(model.standalone(), new_ops=NEW_OPS)


def gradients(tested: Probe, feeds: Feeds, seed: np.ndarray) -> dict[str, np.ndarray]:
    """Return the program's gradients from the interpreter, by input name."""
    found = interpreted(tested.gradient, needed(tested.gradient, {**feeds, SEED: seed}))
    return {name: found[f"d/{name}"] for name in tested.wrt}


def compiled_gradients(tested: Probe, feeds: Feeds, seed: np.ndarray) -> dict[str, np.ndarray]:
    """Return the program's gradients from ONNX Runtime, by input name."""
    found = Session(tested.gradient, threads=1).run(needed(tested.gradient, {**feeds, SEED: seed}))
    return {name: found[f"d/{name}"] for name in tested.wrt}


def needed(model: Model, feeds: Feeds) -> dict[str, np.ndarray]:
    names = {i.name for i in model.inputs}
    return {n: a for n, a in feeds.items() if n in names}


def seed_of(tested: Probe, feeds: Feeds, rng: np.random.Generator) -> np.ndarray:
    """Draw a cotangent of the output's shape and dtype."""
    result = next(o for o in tested.forward.outputs if o.name == tested.output)
    shape = result.shape
    if not all(isinstance(d, int) for d in shape):
        shape = interpreted(tested.forward, feeds)[tested.output].shape
    return rng.standard_normal(shape).astype(result.dtype)


@dataclass(frozen=True)
class Slopes:
    """One directional derivative, by the program and by the oracle, and the size of the terms in it."""

    claimed: float
    measured: float
    scale: float

    def agree(self, *, rtol: float, atol: float = 0.0) -> bool:
        return bool(abs(self.claimed - self.measured) <= atol + rtol * self.scale)

    def scaled(self, factor: float) -> Slopes:
        return Slopes(self.claimed * factor, self.measured, self.scale)


def slopes(tested: Probe, feeds: Feeds, name: str, rng: np.random.Generator) -> Slopes:
    """Compare ``<gradient, d>`` with the central difference of ``<f(x), seed>`` along a random ``d``."""
    seed = seed_of(tested, feeds, rng)
    gradient = gradients(tested, feeds, seed)[name]
    assert gradient.shape == feeds[name].shape, f"d/{name} has shape {gradient.shape}"
    return directional(tested, feeds, name, seed=seed, gradient=gradient, rng=rng)


def directional(
    tested: Probe,
    feeds: Feeds,
    name: str,
    *,
    seed: np.ndarray,
    gradient: np.ndarray,
    rng: np.random.Generator,
) -> Slopes:
    """Measure along a random direction that leans to ``gradient``, so that its terms cannot cancel."""
    x = feeds[name]
    direction = rng.standard_normal(x.shape)
    direction = np.where(direction * gradient < 0, -0.25 * direction, direction)
    ends = []
    for sign in (1, -1):
        moved = {**feeds, name: x + sign * STEP * direction}
        ends.append(interpreted(tested.forward, moved)[tested.output].astype(np.float64))
    measured = np.sum(seed * (ends[0] - ends[1])) / (2 * STEP)
    terms = gradient * direction
    return Slopes(float(terms.sum()), float(measured), max(float(np.abs(terms).sum()), abs(float(measured))))


def dot_test(tested: Probe, feeds: Feeds, name: str, rng: np.random.Generator) -> Slopes:
    """Compare ``<g, f(x) - f(0)>`` with ``<f^T g, x>``, for an operator linear in ``name``."""
    x = feeds[name]
    seed = seed_of(tested, feeds, rng)
    at_x = interpreted(tested.forward, feeds)[tested.output]
    at_zero = interpreted(tested.forward, {**feeds, name: np.zeros_like(x)})[tested.output]
    adjoint = gradients(tested, feeds, seed)[name]
    forward, backward = seed * (at_x - at_zero), adjoint * x
    return Slopes(
        float(backward.sum()),
        float(forward.sum()),
        max(float(np.abs(forward).sum()), float(np.abs(backward).sum())),
    )


def scaled(rules: Rules, op: str, factor: float = 1.01) -> Rules:
    """Return ``rules`` with every formula of ``op`` off by ``factor``: the negative control."""
    row = rules[op]
    if isinstance(row, vjp.EachInput):
        return {**rules, op: vjp.EachInput(lambda *a, **k: row.rule(*a, **k) * factor)}
    kept = row.rules if isinstance(row, vjp.AllOutputs) else row
    off = tuple(r and (lambda *a, _r=r, **k: _r(*a, **k) * factor) for r in kept)
    return {**rules, op: vjp.AllOutputs(off) if isinstance(row, vjp.AllOutputs) else off}


def retyped(proto: ModelProto, kind: int) -> ModelProto:
    """Return ``proto`` with every float tensor, constant and Cast target as ``kind``."""
    floats = (
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.DOUBLE,
        onnx.TensorProto.BFLOAT16,
    )
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    copy = ModelProto()
    copy.CopyFrom(proto)
    for info in (*copy.graph.input, *copy.graph.output, *copy.graph.value_info):
        if info.type.tensor_type.elem_type in floats:
            info.type.tensor_type.elem_type = kind
    for tensor in copy.graph.initializer:
        if tensor.data_type in floats:
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(dtype), tensor.name))
    for node in copy.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t") and attribute.t.data_type in floats:
                array = onnx.numpy_helper.to_array(attribute.t).astype(dtype)
                attribute.t.CopyFrom(onnx.numpy_helper.from_array(array, attribute.t.name))
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i in floats:
                attribute.i = kind
            if node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
                value = np.asarray(onnx.helper.get_attribute_value(attribute), dtype)
                attribute.CopyFrom(onnx.helper.make_attribute("value", onnx.numpy_helper.from_array(value)))
    return copy
