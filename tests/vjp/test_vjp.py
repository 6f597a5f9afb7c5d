"""Every gradient rule, held against oracles that share nothing with it."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from oracles import compiled_gradients, dot_test, gradients, probe, scaled, seed_of, slopes
from spec import Spec, formulas, normal, spec
from specs import SPECS

from fgcam_onnx import vjp
from fgcam_onnx.backward import backward
from fgcam_onnx.errors import FgcamError, UnsupportedOperatorError
from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.graph.tape import tape_between
from fgcam_onnx.loading.loading import load

DIFFERENTIABLE = {op for op in vjp.RULES if formulas(op)}
EXACT, MEASURED, SINGLE = 1e-12, 1e-7, 1e-4
SINGLE_INSIDE = {"Resize": 1e-5}
"""Operators whose coefficients the interpreter computes in float32 even for float64 inputs."""

ACROSS_THE_BATCH = {
    *("Pad", "Pad-negative", "Pad-repeated_edge", "Pad-repeated_edge,_axes", "Pad-wrapped"),
    *(f"Resize-{s}" for s in ("one_row", "linear_crop", "crop_beyond_the_picture")),
    *(str(s) for s in SPECS if s.op == "Resize" and "to a size" in s.about),
}
"""Specs that cut, pad or name the batch axis: nothing can be said while it is free."""

every = pytest.mark.parametrize("spec", SPECS, ids=str)
linear = pytest.mark.parametrize("spec", [s for s in SPECS if s.linear], ids=str)
compiled = pytest.mark.parametrize("spec", [s for s in SPECS if s.compiled], ids=str)
batched = pytest.mark.parametrize("spec", [s for s in SPECS if s.compiled and s.inputs[0].ndim > 2], ids=str)


def rng_of(spec: Spec) -> np.random.Generator:
    return np.random.default_rng(list(str(spec).encode()))


def test_every_rule_has_a_spec_and_every_spec_a_rule() -> None:
    assert {s.op for s in SPECS} == DIFFERENTIABLE


def test_every_formula_of_every_rule_is_tried_by_a_spec() -> None:
    tried = {(s.op, int(name[1:])) for s in SPECS for name in s.wrt}
    assert {(op, i) for op in DIFFERENTIABLE for i in formulas(op)} <= tried


def test_no_two_specs_have_the_same_name() -> None:
    assert len({str(s) for s in SPECS}) == len(SPECS)


@every
def test_a_rule_agrees_with_the_directional_difference(spec: Spec) -> None:
    tested = probe(spec.model(), wrt=spec.wrt, output=spec.output)
    limit = SINGLE_INSIDE.get(spec.op, MEASURED)
    for name in spec.wrt:
        found = slopes(tested, spec.feeds(), name, rng_of(spec))
        assert found.agree(rtol=limit), f"{name}: {found}"
        assert not found.scaled(1.01).agree(rtol=limit), f"{name}: the oracle sees nothing here: {found}"


@linear
def test_a_linear_rule_is_the_adjoint(spec: Spec) -> None:
    tested = probe(spec.model(), wrt=spec.wrt, output=spec.output)
    for name in spec.wrt:
        found = dot_test(tested, spec.feeds(), name, rng_of(spec))
        assert found.agree(rtol=SINGLE_INSIDE.get(spec.op, EXACT)), f"{name}: {found}"


@compiled
def test_a_compiled_rule_agrees_with_the_interpreted_one(spec: Spec) -> None:
    double = probe(spec.model(), wrt=spec.wrt, output=spec.output)
    single = probe(spec.model(np.float32), wrt=spec.wrt, output=spec.output)
    seed = seed_of(double, spec.feeds(), rng_of(spec))
    expected = gradients(double, spec.feeds(), seed)
    kind = single.forward.outputs[0].dtype
    found = compiled_gradients(single, spec.feeds(np.float32), seed.astype(kind))
    for name in spec.wrt:
        limit = SINGLE * np.abs(expected[name]).max()
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=limit)


@batched
def test_a_rule_holds_with_a_free_batch_or_says_what_must_be_known(spec: Spec) -> None:
    fixed = probe(spec.model(np.float32), wrt=spec.wrt, output=spec.output)
    if str(spec) in ACROSS_THE_BATCH:
        with pytest.raises(FgcamError):
            probe(spec.model(np.float32, batch=True), wrt=spec.wrt, output=spec.output)
        return
    free = probe(spec.model(np.float32, batch=True), wrt=spec.wrt, output=spec.output)
    feeds = spec.feeds(np.float32)
    seed = seed_of(fixed, feeds, rng_of(spec)).astype(fixed.forward.outputs[0].dtype)
    expected, found = (compiled_gradients(p, feeds, seed) for p in (fixed, free))
    for name in spec.wrt:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("op", ["Conv", "Max", "Softmax", "Split"])
def test_the_directional_difference_sees_a_rule_that_is_one_percent_off(op: str) -> None:
    chosen = next(s for s in SPECS if s.op == op)
    wrong = probe(chosen.model(), wrt=chosen.wrt, output=chosen.output, rules=scaled(vjp.RULES, op))
    assert not slopes(wrong, chosen.feeds(), "x0", rng_of(chosen)).agree(rtol=MEASURED)


@pytest.mark.parametrize("op", ["Conv", "Add", "Resize", "Split"])
def test_the_dot_test_sees_a_rule_that_is_one_percent_off(op: str) -> None:
    chosen = next(s for s in SPECS if s.op == op)
    wrong = probe(chosen.model(), wrt=chosen.wrt, output=chosen.output, rules=scaled(vjp.RULES, op))
    assert not dot_test(wrong, chosen.feeds(), "x0", rng_of(chosen)).agree(rtol=1e-5)


@pytest.mark.parametrize("op", ["Conv", "Max", "Softmax", "Split"])
def test_the_compiled_comparison_sees_a_rule_that_is_one_percent_off(op: str) -> None:
    chosen = next(s for s in SPECS if s.op == op)
    off = scaled(vjp.RULES, op)
    wrong = probe(chosen.model(np.float32), wrt=chosen.wrt, output=chosen.output, rules=off)
    right = probe(chosen.model(), wrt=chosen.wrt, output=chosen.output)
    seed = seed_of(right, chosen.feeds(), rng_of(chosen))
    expected = gradients(right, chosen.feeds(), seed)["x0"]
    found = compiled_gradients(wrong, chosen.feeds(np.float32), seed.astype(np.float32))["x0"]
    assert np.abs(found - expected).max() > SINGLE * np.abs(expected).max()


def test_max_pool_sends_ties_to_the_first_maximum() -> None:
    tied = spec("MaxPool", np.ones((1, 1, 3, 4)), kernel_shape=[2, 2])
    tested = probe(tied.model(np.float32), wrt=["x0"], output="y0")
    g = np.arange(1, 7, dtype=np.float32).reshape(1, 1, 2, 3)
    found = compiled_gradients(tested, tied.feeds(np.float32), g)["x0"]
    np.testing.assert_array_equal(found[0, 0], [[1, 2, 3, 0], [4, 5, 6, 0], [0, 0, 0, 0]])


def test_equal_inputs_of_max_give_the_gradient_to_the_first() -> None:
    tied = spec("Max", np.ones((2, 2)), np.ones((2, 2)))
    tested = probe(tied.model(np.float32), wrt=["x0", "x1"], output="y0")
    found = compiled_gradients(tested, tied.feeds(np.float32), np.ones((2, 2), np.float32))
    assert (found["x0"].sum(), found["x1"].sum()) == (4, 0)


@pytest.mark.parametrize("op", ["Gather", "GatherElements", "GatherND", "MaxPool"])
def test_what_adds_up_elements_runs_in_float16(op: str) -> None:
    chosen = next(s for s in SPECS if s.op == op)
    single = probe(chosen.model(np.float32), wrt=["x0"], output="y0")
    half = probe(chosen.model(np.float16), wrt=["x0"], output="y0")
    seed = seed_of(single, chosen.feeds(np.float32), rng_of(chosen))
    expected = compiled_gradients(single, chosen.feeds(np.float32), seed.astype(np.float32))["x0"]
    found = compiled_gradients(half, chosen.feeds(np.float16), seed.astype(np.float16))["x0"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=4e-3 * np.abs(expected).max())


@pytest.mark.parametrize("through", [TensorProto.INT64, TensorProto.BOOL])
def test_a_cast_to_integers_and_back_has_no_derivative(through: int) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], name="to_whole", to=through),
        helper.make_node("Cast", ["i"], ["y"], name="back", to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(nodes, "g", [x], [y])
    emitter = Emitter(load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)))
    tape = tape_between(emitter, sources=["x"], output="y")
    with pytest.raises(UnsupportedOperatorError, match="'Cast'"):
        backward(tape, emitter.value("y"), vjp.pullback)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (spec("Dropout", normal(2, 3), np.array(0.5), np.array(True)).model(), "training"),
        (
            spec("BatchNormalization", normal(2, 3), *[normal(3) ** 2] * 4, training_mode=1, outputs=3).model(),
            "training",
        ),
        (
            spec("ScatterND", normal(2, 3), np.array([[0]]), normal(1, 3), reduction="mul").model(),
            "reduction='mul'",
        ),
    ],
)
def test_what_has_no_formula_is_refused_in_words(model: object, message: str) -> None:
    with pytest.raises(FgcamError, match=message):
        probe(model, wrt=["x0"], output="y0")


def test_a_bound_of_a_slice_without_a_rank_is_read_as_a_list_of_one() -> None:
    found = []
    for end in ([3], 3):
        x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, d]) for n, d in (("x", 5), ("y", 2)))
        nodes = [helper.make_node("Slice", ["x", "b", "e", "a"], ["y"])]
        bounds = {"b": np.array([1]), "e": np.array([3]), "a": np.array([1])}
        graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(v, n) for n, v in bounds.items()])
        emitter = Emitter(load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)))
        emitter._constants["e"] = np.array(end)
        tape = tape_between(emitter, sources=["x"], output="y")
        found.append(backward(tape, emitter.value("y"), vjp.pullback)["x"].shape)
    assert found == [(2, 5), (2, 5)]
