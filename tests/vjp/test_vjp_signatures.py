"""Rules against the standard's own tables: a forgotten attribute or input is a failure, not a wrong map."""

from __future__ import annotations

import inspect
from typing import Any

import onnx
import pytest
from onnx import helper
from onnx.defs import OpSchema
from spec import formulas, rows

from fgcam_onnx import vjp
from fgcam_onnx.loading.loading import OPSET

ANY_ATTRIBUTE = {
    *("Squeeze", "Unsqueeze", "Conv", "ConvTranspose", "BatchNormalization", "GroupNormalization"),
    *("InstanceNormalization", "LayerNormalization", "RMSNormalization"),
}
"""Operators one of whose formulas holds whatever the attributes are, or hands them on as they came."""

WITHOUT_DERIVATIVE = {
    ("CastLike", 1),
    ("Dropout", 1),
    ("Resize", 1),
    ("Resize", 2),
    ("OneHot", 1),
    ("OneHot", 0),
}
"""Inputs that are floats, and not reached by a derivative: a type, a ratio, a box, a scale, a number of classes."""


def schemas(op: str) -> list[OpSchema]:
    """Return the versions of ``op`` that a loaded model can hold, the newest last."""
    found = [s for s in onnx.defs.get_all_schemas_with_history() if s.name == op and not s.domain]
    current = max((s.since_version for s in found if s.since_version <= OPSET), default=0)
    return sorted((s for s in found if s.since_version >= current), key=lambda s: s.since_version)


def declared(op: str) -> dict[str, Any]:
    """Return the attributes of ``op`` and their defaults, ``inspect.Parameter.empty`` where required."""
    merged: dict[str, Any] = {}
    for schema in schemas(op):
        for name, attribute in schema.attributes.items():
            default = helper.get_attribute_value(attribute.default_value) if attribute.default_value.name else None
            default = default.decode() if isinstance(default, bytes) else default
            merged[name] = inspect.Parameter.empty if attribute.required else default
    return merged


def named(formula: Any) -> dict[str, Any]:
    parameters = inspect.signature(formula).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def takes_any(formula: Any) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(formula).parameters.values())


DIFFERENTIABLE = sorted(op for op in vjp.RULES if formulas(op))


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_a_rule_names_every_attribute_with_the_default_of_the_standard(op: str) -> None:
    for formula in formulas(op).values():
        if op in ANY_ATTRIBUTE and takes_any(formula):
            continue
        found = named(formula)
        assert found.keys() == declared(op).keys()
        for name, default in declared(op).items():
            assert found[name] == default or found[name] == pytest.approx(default), name


@pytest.mark.parametrize("op", sorted(vjp.RULES))
def test_a_rule_is_of_an_operator_of_the_standard(op: str) -> None:
    assert schemas(op)


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_a_formula_takes_every_input(op: str) -> None:
    schema = schemas(op)[-1]
    for formula in formulas(op).values():
        parameters = inspect.signature(formula).parameters.values()
        if any(p.kind is p.VAR_POSITIONAL for p in parameters):
            continue
        positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert len(positional) - 2 == schema.max_input


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_no_input_that_can_be_a_float_is_forgotten(op: str) -> None:
    if isinstance(vjp.RULES[op], vjp.EachInput):
        return
    row = rows(op)
    for i, given in enumerate(schemas(op)[-1].inputs):
        if "tensor(float)" in given.types and (op, i) not in WITHOUT_DERIVATIVE:
            assert i < len(row), given.name
            assert row[i] is not None, given.name


def test_a_forgotten_attribute_would_be_seen() -> None:
    assert named(lambda g, y, x, *, alpha=0.01: g).keys() != declared("Elu").keys() - {"alpha"}
    assert declared("Elu") == {"alpha": 1.0}
    assert declared("MaxPool")["kernel_shape"] is inspect.Parameter.empty
