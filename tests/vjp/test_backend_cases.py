"""Every rule on the cases that ONNX publishes for its operators, held against directional differences."""

from __future__ import annotations

import functools
import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from oracles import probe, retyped, slopes
from spec import formulas

from fgcam_onnx import vjp
from fgcam_onnx.errors import FgcamError
from fgcam_onnx.loading.bodies import WRITTEN_OUT, written_out

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
LIMIT, NOISE = 1e-5, 1e-9
JITTER = 1e-2
"""Published inputs are often whole numbers, on kinks and edges; this moves them off, into the domain."""

KNOWN = vjp.RULES.keys() | WRITTEN_OUT
EXPANDED = "the body of a function"
EMPTY, INFINITE, MASKED = "a tensor is empty", "a value is not finite", "a softmax has nothing to choose from"
REFUSALS = {
    "in training mode": "the operator is in training mode",
    "with reduction=": "elements are combined other than by adding",
    "has no derivative": "nothing flows back",
    "computed bounds": "bounds are computed by the graph",
    "means of a fixed number": "maxima, or as many samples as a box is large",
    "pictures sampled linearly": "sampled otherwise than linearly",
    "no gradient rule for": "onnx cannot write the body out",
}
"""Part of the message of a refusal, and the reason it stands for."""

SKIPPED: Mapping[str, Mapping[str, int]] = {
    "Attention": {REFUSALS["no gradient rule for"]: 15, MASKED: 6, INFINITE: 2},
    "BatchNormalization": {REFUSALS["in training mode"]: 2},
    "Cast": {INFINITE: 16},
    "CastLike": {INFINITE: 8},
    "Dropout": {REFUSALS["in training mode"]: 6},
    "GridSample": {REFUSALS["pictures sampled linearly"]: 11},
    "Mod": {INFINITE: 3},
    **{f"Reduce{kind}": {EMPTY: 1} for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Min", "Prod")},
    "ReduceSum": {EMPTY: 2},
    "ReduceSumSquare": {EMPTY: 1},
    "Reshape": {EMPTY: 1},
    "RoiAlign": {REFUSALS["means of a fixed number"]: 1},
    "RotaryEmbedding": {REFUSALS["no gradient rule for"]: 5},
    "ScatterElements": {REFUSALS["with reduction="]: 3},
    "ScatterND": {REFUSALS["with reduction="]: 5},
    "Split": {EMPTY: 2},
    EXPANDED: {REFUSALS["has no derivative"]: 3, REFUSALS["computed bounds"]: 6, EMPTY: 5},
}
"""How many published cases of an operator may go unchecked, and why."""

UNPUBLISHED = {"Cast", "CastLike", "Trilu"}
"""Operators with rules for which ONNX publishes no case that they could be tried on."""


@functools.cache
def published() -> Mapping[str, list[object]]:
    """Return the cases that rules can be tried on, by operator; bodies of other functions together."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases()
    written = {c.name for c in cases if len(c.model.graph.node) == 1 and c.model.graph.node[0].op_type in WRITTEN_OUT}
    found: dict[str, list[object]] = defaultdict(list)
    for case in cases:
        nodes = [n for n in case.model.graph.node if n.op_type != "Constant"]
        if case.name.partition("_expanded")[0] in written and len(nodes) > 1:
            continue
        if not nodes or any(n.domain not in ("", "ai.onnx") or n.op_type not in KNOWN for n in nodes):
            continue
        if served(case.model) and case.model.graph.output[0].type.tensor_type.elem_type in FLOATS:
            found[nodes[0].op_type if len(nodes) == 1 else EXPANDED].append(case)
    return found


def served(model: ModelProto) -> list[str]:
    """Return the float inputs that a formula serves."""
    floats = [i.name for i in model.graph.input if i.type.tensor_type.elem_type in FLOATS]
    nodes = [n for n in model.graph.node if n.op_type != "Constant"]
    if len(nodes) > 1 or nodes[0].op_type in WRITTEN_OUT or isinstance(vjp.RULES[nodes[0].op_type], vjp.EachInput):
        return floats
    at = {name: i for i, name in enumerate(nodes[0].input)}
    return [n for n in floats if at.get(n) in formulas(nodes[0].op_type)]


def prepared(case: object) -> tuple[ModelProto, dict[str, np.ndarray]]:
    """Return the case in float64, its first output, and what is fed; all other inputs become constants."""
    wrt = served(case.model)
    arrays = [numpy_helper.to_array(a) if isinstance(a, TensorProto) else np.asarray(a) for a in case.data_sets[0][0]]
    given = dict(zip((i.name for i in case.model.graph.input), arrays, strict=True))
    model = retyped(written_out(case.model), TensorProto.DOUBLE)
    fed = [i for i in model.graph.input if i.name in wrt]
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in given.items() if n not in wrt)
    del model.graph.input[:]
    model.graph.input.extend(fed)
    del model.graph.output[1:]
    return model, {n: given[n].astype(np.float64) for n in wrt}


def outcome(case: object, name: str) -> str:
    """Return why input ``name`` was not checked, or an empty string when its gradient agrees."""
    model, feeds = prepared(case)
    if any(a.size == 0 for a in feeds.values()):
        return EMPTY
    if not all(np.isfinite(a).all() for a in feeds.values()):
        return INFINITE
    rng = np.random.default_rng(list(case.name.encode()))
    feeds[name] = feeds[name] + rng.uniform(JITTER / 2, JITTER, feeds[name].shape)
    try:
        tested = probe(model, wrt=[name], output=model.graph.output[0].name)
    except FgcamError as refusal:
        return next((reason for part, reason in REFUSALS.items() if part in str(refusal)), str(refusal))
    found = slopes(tested, feeds, name, rng)
    if not np.isfinite(found.measured):
        return INFINITE
    if np.isnan(found.claimed):
        return MASKED
    assert found.agree(rtol=LIMIT, atol=NOISE), f"{case.name}, {name}: {found}"
    return ""


@pytest.mark.parametrize("op", [*sorted(op for op in vjp.RULES if formulas(op)), *sorted(WRITTEN_OUT), EXPANDED])
def test_a_rule_agrees_with_every_published_case(op: str) -> None:
    skipped: Counter[str] = Counter()
    checked = 0
    for case in published()[op]:
        reasons = {outcome(case, name) for name in served(case.model)}
        checked += reasons == {""}
        skipped.update(sorted(reasons - {""})[:1])
    assert skipped <= Counter(SKIPPED.get(op, {}))
    assert bool(checked) != (op in UNPUBLISHED)


def test_most_of_what_is_published_is_checked() -> None:
    known = sum(map(len, published().values()))
    left_out = sum(sum(reasons.values()) for reasons in SKIPPED.values())
    assert known > 700
    assert left_out < known / 8


def test_a_rule_that_is_one_percent_off_is_seen() -> None:
    case = next(c for c in published()["Softmax"] if c.name == "test_softmax_example")
    model, feeds = prepared(case)
    tested = probe(model, wrt=["x"], output="y")
    found = slopes(tested, feeds, "x", np.random.default_rng(0))
    assert found.agree(rtol=LIMIT)
    assert not found.scaled(1.01).agree(rtol=LIMIT)
