"""LSTM, GRU and RNN are written out step by step: the same values, and a gradient that holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nets import model_of, node
from onnx import ModelProto, TensorProto
from oracles import probe, retyped, slopes
from spec import normal
from test_contrib import plainly

from fgcam_onnx import load
from fgcam_onnx.errors import UnsupportedOperatorError
from fgcam_onnx.loading.recurrent import LONGEST

GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}
STEPS, BATCH, WIDTH, HIDDEN = 5, 2, 3, 4
FORMS: dict[str, dict[str, Any]] = {
    "LSTM": {},
    "GRU": {},
    "GRU reset after the product": {"linear_before_reset": 1},
    "RNN": {},
    "RNN of Relu": {"activations": ["Relu"]},
}
every = pytest.mark.parametrize("form", FORMS)
directions = pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])


def built(
    form: str,
    direction: str = "forward",
    *,
    bias: bool = True,
    states: bool = True,
    batch: Any = BATCH,
    steps: Any = STEPS,
    lengths: Any = None,
    **attrs: Any,
) -> tuple[ModelProto, dict[str, np.ndarray]]:
    """Return a model whose outputs are the sequence, the last h, and an LSTM's last c; and what to feed."""
    op, d = form.split()[0], 2 if direction == "bidirectional" else 1
    rows = GATES[op] * HIDDEN
    weights = {"w": normal(d, rows, WIDTH) / 2, "r": normal(d, rows, HIDDEN) / 2}
    if bias:
        weights["b"] = normal(d, 2 * rows) / 2
    constants = {n: a.astype(np.float32) for n, a in weights.items()}
    if lengths is not None:
        constants["lengths"] = np.array(lengths, np.int32)
    names = ["x", "w", "r", "b" if bias else "", "lengths" if lengths is not None else ""]
    feeds = {"x": normal(STEPS, BATCH, WIDTH)}
    sizes: dict[str, list[Any]] = {"x": [steps, batch, WIDTH]}
    for state in ("h", "c")[: 2 if op == "LSTM" else 1]:
        if states:
            names.append(state)
            sizes[state] = [d, batch, HIDDEN]
            feeds[state] = normal(d, BATCH, HIDDEN, seed=ord(state))
    outputs = ["y", "y_h", "y_c"][: 3 if op == "LSTM" else 2]
    given = FORMS[form] | attrs
    if "activations" in given:
        given = given | {"activations": given["activations"] * d}
    made = node(op, names, *outputs, direction=direction, hidden_size=HIDDEN, **given)
    model = model_of([made], constants, inputs=sizes, outputs=outputs)
    return model, {n: a.astype(np.float32) for n, a in feeds.items()}


@every
@directions
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("states", [True, False])
def test_the_steps_give_what_the_operator_gives(form: str, direction: str, bias: bool, states: bool) -> None:
    model, feeds = built(form, direction, bias=bias, states=states)
    loaded = load(model)
    assert not GATES.keys() & {n.op_type for n in loaded.nodes}
    expected, found = plainly(model, feeds), plainly(loaded.standalone(), feeds)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@every
@directions
@pytest.mark.parametrize("output", ["y", "y_h"])
def test_the_gradient_agrees_with_the_directional_difference(form: str, direction: str, output: str) -> None:
    model, feeds = built(form, direction)
    exact = {n: a.astype(np.float64) for n, a in feeds.items()}
    tested = probe(retyped(model, TensorProto.DOUBLE), wrt=list(feeds), output=output)
    for name in feeds:
        found = slopes(tested, exact, name, np.random.default_rng(0))
        assert found.agree(rtol=1e-6), f"{name}: {found}"
        assert not found.scaled(1.01).agree(rtol=1e-6)


def test_weights_of_another_gate_order_would_be_seen() -> None:
    """Negative control: the operator with gates i and o exchanged."""
    model, feeds = built("LSTM")
    expected = plainly(model, feeds)[0]
    for tensor in model.graph.initializer:
        if tensor.name == "w":
            array = np.frombuffer(tensor.raw_data, np.float32).reshape(1, 4, HIDDEN, WIDTH)
            tensor.raw_data = array[:, [1, 0, 2, 3]].tobytes()
    assert np.abs(plainly(load(model).standalone(), feeds)[0] - expected).max() > 0.01


def test_the_batch_may_be_free_and_the_length_bound_later() -> None:
    model, feeds = built("LSTM", "bidirectional", batch="B", steps="T")
    free = load(model)
    assert "LSTM" in {n.op_type for n in free.nodes}
    expected = plainly(model, feeds)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = STEPS
    for a, b in zip(plainly(load(model).standalone(), feeds), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "attrs",
    [
        {"clip": 1.0},
        {"lengths": [STEPS, STEPS - 1]},
        {"activations": ["Sigmoid", "Tanh", "Relu"]},
        {"steps": LONGEST + 1},
        {"steps": "T"},
    ],
    ids=str,
)
def test_what_is_not_written_out_loads_and_is_refused_on_the_way(attrs: dict[str, Any]) -> None:
    model, _ = built("LSTM", **attrs)
    assert "LSTM" in {n.op_type for n in load(model).nodes}
    with pytest.raises(UnsupportedOperatorError, match=r"'LSTM' \(node 'y'\).*written out"):
        probe(model, wrt=["x"], output="y")


def test_lengths_that_are_all_the_whole_sequence_change_nothing() -> None:
    assert "LSTM" not in {n.op_type for n in load(built("LSTM", lengths=[STEPS, STEPS])[0]).nodes}
