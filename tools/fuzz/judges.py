"""The threefold oracle of a model that runs.

``predict()`` equals ONNX Runtime's output of the file; the map of inputxgradient equals a directional difference; the
exported file equals the Explainer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator
from oracles import retyped
from outcomes import Outcome, Rng, nearly
from reference_ops import NEW_OPS

from fgcam_onnx import Explainer, export
from fgcam_onnx.errors import FgcamError, ModelError, NumericsError
from fgcam_onnx.targets import Element

BATCH, SIDE, LARGEST = 2, 8, 10**6
"""Of free dimensions, and the most elements of an input that is drawn."""

CLOSE, SLOPE, SAME = 1e-4, 1e-2, 2e-5
"""How near numbers in float32 come, a map's sum to a slope (1 - y² of a Tanh near its end is rounded), and float64."""

STRAIGHT = ("DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "QuantizeLinear")

BITS = {TensorProto.FLOAT: 2.0**-22, TensorProto.FLOAT16: 2.0**-10, TensorProto.BFLOAT16: 2.0**-7}
"""Twice the rounding of a number, as a share of it."""

Feeds = dict[str, np.ndarray]


def judged(path: Path, rng: Rng) -> Outcome:
    """Judge the file ``path``."""
    before = bool(rng.random() < 0.3)
    theirs = session_of(path)
    try:
        explainer = Explainer(path, method="inputxgradient", layers="input", before_softmax=before, threads=1)
    except ModelError as error:
        runs = ", though ONNX Runtime loads it" if theirs is not None else ""
        return Outcome("refused", f"ModelError{runs}", str(error)[:300])
    feeds = drawn(explainer, rng)
    if feeds is None:
        return Outcome("not judged", "inputs that no array is drawn for")
    wanted = None if theirs is None else outputs_of(theirs, feeds)
    try:
        ours = explainer.predict(feeds)
    except NumericsError as error:
        finite = wanted is not None and np.isfinite(wanted[explainer.score.output]).all()
        return Outcome(
            "refused", f"NumericsError{', though ONNX Runtime gives numbers' * bool(finite)}", str(error)[:300]
        )
    if wanted is None:
        return Outcome("not judged", "ONNX Runtime does not run the file")
    if not ours.size:
        return Outcome("not judged", "nothing comes out")
    if explainer.score.logits == explainer.score.output:
        axis = 0 if explainer.sizes_are_free else explainer.options()[0].flow.axis or 0
        value = np.moveaxis(wanted[explainer.score.output], axis, 0)  # predict() has images first
        if not np.isfinite(value).all():
            return Outcome("not judged", "ONNX Runtime gives NaN")
        if not nearly(ours, value, rtol=tolerance(explainer), least=1e-2):
            if any(n.op_type == "MeanVarianceNormalization" for n in onnx.load(path).graph.node):
                return Outcome("not judged", "ONNX Runtime divides by a deviation of 0, or nearly")
            return Outcome("wrong", "predict() is not ONNX Runtime's", f"{ours.ravel()[:8]} {value.ravel()[:8]}")
    return explained(explainer, feeds, ours, rng, path.with_name("explained.onnx"))


def tolerance(explainer: Explainer) -> float:
    """Return how near equal computations come: files with float16 round in between."""
    return CLOSE if last_bit(explainer) == BITS[TensorProto.FLOAT] else 2e-2


def last_bit(explainer: Explainer) -> float:
    """Return how much of a number the last bit is, of the shortest floats that the file computes with."""
    kinds = {t.tensor_type.elem_type for t in explainer.model.types.values()}
    return max(bit for kind, bit in BITS.items() if kind == TensorProto.FLOAT or kind in kinds)


def session_of(path: Path) -> onnxruntime.InferenceSession | None:
    """Open the file as it is, or return None where ONNX Runtime does not."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception:  # onnxruntime's own exception classes share no root
        return None


def outputs_of(session: onnxruntime.InferenceSession, feeds: Mapping[str, np.ndarray]) -> dict[str, Any] | None:
    names = {i.name for i in session.get_inputs()}
    try:
        found = session.run(None, {n: a for n, a in feeds.items() if n in names})
    except Exception:  # onnxruntime's own exception classes share no root
        return None
    return {o.name: v for o, v in zip(session.get_outputs(), found, strict=True)}


def drawn(explainer: Explainer, rng: Rng) -> Feeds | None:
    """Draw arrays for the inputs of the model."""
    feeds: Feeds = {}
    free: dict[Any, int] = {}
    mixed = not explainer.sizes_are_free and explainer.options()[0].flow.mixed
    batch = 1 if mixed else BATCH
    for spec in explainer.model.inputs:
        shape = [
            d if isinstance(d, int) else free.setdefault(d, batch if i == 0 else SIDE) for i, d in enumerate(spec.shape)
        ]
        if math.prod(shape) > LARGEST or spec.dtype.kind not in "fiub":
            return None
        values = rng.standard_normal(shape)
        feeds[spec.name] = (values if spec.dtype.kind == "f" else abs(values) * 2).astype(spec.dtype)
    return feeds


def explained(explainer: Explainer, feeds: Feeds, predicted: np.ndarray, rng: Rng, path: Path) -> Outcome:
    """Judge the map by steps along the input, and the exported file by the map."""
    classes = explainer.head.kind in ("classes", "number") and predicted.ndim == 2
    target: Any = None
    if not classes:
        target = Element(tuple(int(rng.integers(d)) for d in predicted.shape[1:]))
    elif rng.random() < 0.5:
        target = int(rng.integers(predicted.shape[1]))
    e = explainer(feeds, target=target)
    verdict = sloped(explainer, feeds, e, predicted, target, rng)
    if verdict.kind == "wrong" or not classes or rng.random() < 0.5:
        return verdict
    exported = written_out(explainer, feeds, e, predicted, target, path)
    return exported if exported.kind == "wrong" else verdict


def sloped(explainer: Explainer, feeds: Feeds, e: Any, predicted: np.ndarray, target: Any, rng: Rng) -> Outcome:
    """Compare the map's sum over random weights of its places with the slope of the score along them."""
    x, m = feeds[explainer.input], e.maps["input"].astype(np.float64)
    layer = (
        explainer.options()[0].layers[0]
        if not explainer.sizes_are_free
        else explainer.options(x.shape[1:])[0].layers[0]
    )
    if any(n.op_type in STRAIGHT for n in explainer.model.nodes):
        return Outcome("not judged", "a quantizer, through which gradients pass straight")
    if any(a.dtype.kind == "f" and a.size and abs(a).max() > 1e6 for a in explainer.model.constants.values()):
        return Outcome("not judged", "numbers whose differences are rounding")
    if x.dtype.kind != "f" or explainer.frame is not None or x.ndim != m.ndim + 1 or len(x) != len(m):
        return Outcome("not judged", "no picture of floating numbers")
    weights = np.where(rng.random(m.shape) < 0.5, 1.0, 0.25) * np.sign(m + (m == 0))
    direction = x.astype(np.float64) * np.expand_dims(weights, layer.channel_axis)
    claimed, scale = float((m * weights).sum()), float(abs(m).sum())
    chosen = e.target if target is None or isinstance(target, int) else None

    def read(values: np.ndarray) -> float:
        flat = values.astype(np.float64)
        if chosen is None:
            return float(flat[(slice(None), *target.index)].sum())
        return float(flat.reshape(len(chosen), -1)[np.arange(len(chosen)), chosen].sum())

    steps = (2.0**-6, 2.0**-8)
    try:
        slopes = [
            (
                read(explainer.predict({**feeds, explainer.input: (x + h * direction).astype(x.dtype)}))
                - read(explainer.predict({**feeds, explainer.input: (x - h * direction).astype(x.dtype)}))
            )
            / (2 * h)
            for h in steps
        ]
    except NumericsError:
        return Outcome("not judged", "steps leave what is finite")
    noise = 4e-7 * max(abs(predicted).max(), 1e-3) * len(predicted) / steps[0]
    if any(abs(claimed - s) <= SLOPE * max(scale, abs(s)) + noise for s in slopes):
        return Outcome("right")
    verdict = finely(explainer, feeds, direction, read, claimed, scale, predicted)
    if verdict.kind != "wrong":
        return verdict
    for _ in range(4):
        nudged = (x * (1 + last_bit(explainer) * rng.choice((-1, 1), x.shape))).astype(x.dtype)
        again = explainer({**feeds, explainer.input: nudged}, target=target).maps["input"].astype(np.float64)
        if abs(float((again * weights).sum()) - claimed) > SLOPE * scale:
            return Outcome("not judged", "a map of rounding: the last bit of the input changes it")
    return verdict


def finely(
    explainer: Explainer,
    feeds: Feeds,
    direction: np.ndarray,
    read: Any,
    claimed: float,
    scale: float,
    predicted: np.ndarray,
) -> Outcome:
    """Compare with a slope in float64, which the interpreter computes, where it computes the same at all."""
    model, name = explainer.model, explainer.score.logits
    proto = retyped(model.standalone(), TensorProto.DOUBLE)
    del proto.graph.output[:]
    proto.graph.output.add(name=name).type.tensor_type.elem_type = TensorProto.DOUBLE
    wide = {n: a.astype(np.float64) if a.dtype.kind == "f" else a for n, a in feeds.items()}
    x = wide[explainer.input]

    def at(h: float) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(evaluator.run([name], {**wide, explainer.input: x + h * direction})[0])

    try:
        evaluator = ReferenceEvaluator(proto, new_ops=NEW_OPS)
        here = at(0.0).reshape(predicted.shape)
        if not nearly(here, predicted, rtol=SAME):
            return Outcome("not judged", "the interpreter computes something else")
        sides = [
            [(read(at(s * h).reshape(predicted.shape)) - read(here)) / (s * h) for s in (1, -1)] for h in (1e-6, 1e-7)
        ]
    except Exception as error:  # the interpreter raises anything where an operator is new to it
        return Outcome("not judged", "the interpreter does not run it", str(error)[:200])
    flat = [s for side in sides for s in side]
    bound = SLOPE * max(scale, abs(flat[0])) + 1e-7
    if all(abs(claimed - s) <= bound for s in flat) or abs(claimed - sum(sides[0]) / 2) <= bound:
        return Outcome("right")
    if max(flat) - min(flat) > bound:
        return Outcome("not judged", "a kink")
    operators = sorted({n.op_type for n in explainer.model.nodes})
    return Outcome(
        "wrong", "the map is not the slope", f"map {claimed:.6g}, slope {flat}, scale {scale:.3g}; {operators}"
    )


def written_out(explainer: Explainer, feeds: Feeds, e: Any, predicted: np.ndarray, target: Any, path: Path) -> Outcome:
    """Compare the exported file with the Explainer; what cannot be exported is refused."""
    try:
        size = feeds[explainer.input].shape[2:4] if explainer.sizes_are_free else None
        exported = export(explainer, path, target="argmax" if target is None else target, size=size)
    except FgcamError as error:
        return Outcome("refused", f"export: {type(error).__name__}", str(error)[:200])
    session = session_of(path)
    found = None if session is None else outputs_of(session, feeds)
    if found is None:
        return Outcome("wrong", "the exported file does not run")
    top = np.sort(predicted, axis=1)[:, -2:]
    if target is None and top.shape[1] > 1 and (top[:, 1] - top[:, 0] < 1e-3 * abs(predicted).max()).any():
        return Outcome("not judged", "a tie of classes")
    rtol = max(1e-3, tolerance(explainer))
    names, told = list(json.loads(exported.metadata["outputs"])), ("map", "target", "score")
    for name, what, value in zip(names, told, (e.map, e.target, e.score), strict=True):
        if not nearly(found[name], value, rtol=rtol, least=1e-5):
            return Outcome("wrong", f"the exported file's {what} is not the Explainer's")
    return Outcome("right")
