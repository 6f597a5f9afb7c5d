"""Every gradient rule, held against oracles that share nothing with it."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import (
    compiled_gradients,
    dot_test,
    gradients,
    probe,
    seed_of,
    slopes,
)
from spec import Spec, formulas
from specs import SPECS

from fgcam_onnx import vjp
from fgcam_onnx.errors import FgcamError

DIFFERENTIABLE = {op for op in vjp.RULES if formulas(op)}
EXACT, MEASURED, SINGLE = 1e-12, 1e-7, 1e-4
SINGLE_INSIDE = {"Resize": 1e-5}
"""Operators whose coefficients the interpreter computes in float32 even for float64 inputs."""

every = pytest.mark.parametrize("spec", SPECS, ids=str)
linear = pytest.mark.parametrize("spec", [s for s in SPECS if s.linear], ids=str)


def rng_of(spec: Spec) -> np.random.Generator:
    return np.random.default_rng(list(str(spec).encode()))


def test_every_rule_has_a_spec_and_every_spec_a_rule() -> None:
    assert {s.op for s in SPECS} == DIFFERENTIABLE


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


@pytest.mark.parametrize("spec", [s for s in SPECS if s.compiled], ids=str)
def test_a_compiled_rule_agrees_with_the_interpreted_one(spec: Spec) -> None:
    double = probe(spec.model(), wrt=spec.wrt, output=spec.output)
    single = probe(spec.model(np.float32), wrt=spec.wrt, output=spec.output)
    seed = seed_of(double, spec.feeds(), rng_of(spec))
    expected = gradients(double, spec.feeds(), seed)
    kind = single.gradient.inputs[-1].dtype
    found = compiled_gradients(single, spec.feeds(np.float32), seed.astype(kind))
    for name in spec.wrt:
        limit = SINGLE * np.abs(expected[name]).max()
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=limit)


@pytest.mark.parametrize("spec", [s for s in SPECS if s.compiled and s.inputs[0].ndim > 2], ids=str)
def test_a_rule_holds_with_a_free_batch_or_says_what_must_be_known(spec: Spec) -> None:
    fixed = probe(spec.model(np.float32), wrt=spec.wrt, output=spec.output)
    feeds = spec.feeds(np.float32)
    seed = seed_of(fixed, feeds, rng_of(spec))
    try:
        free = probe(spec.model(np.float32, batch=True), wrt=spec.wrt, output=spec.output)
    except FgcamError as refusal:
        assert str(spec) in NEEDS_A_FIXED_BATCH, refusal
        return
    assert str(spec) not in NEEDS_A_FIXED_BATCH
    expected, found = (compiled_gradients(p, feeds, seed) for p in (fixed, free))
    for name in spec.wrt:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6)
