"""However an exporter writes a function, every method explains the same."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from nets import model_of, node
from numpy.typing import NDArray
from written_forms import EPSILON, every_form, net, picture

from fgcam_onnx import explain, load
from fgcam_onnx.graph.forms import forms_of
from fgcam_onnx.layers.attention import attention_weights

METHODS = ("fgcam", "excitationbackprop", "chefer")
"""One for each kind of walk: positive relevance from the default layer, winners, rolled-out attention."""
FORMS = every_form()


@functools.cache
def _maps(form: tuple[tuple[str, Any], ...]) -> Mapping[str, NDArray[Any]]:
    model = load(net(**dict(form)))
    return {m: explain(model, picture(1), method=m, target=2).map for m in METHODS}


@pytest.mark.parametrize(("form", "base"), [f[1:] for f in FORMS], ids=[f[0] for f in FORMS])
def test_a_net_is_explained_alike_in_every_form(form: Mapping[str, Any], base: Mapping[str, Any]) -> None:
    found, wanted = _maps(tuple(form.items())), _maps(tuple(base.items()))
    for method in METHODS:
        size = abs(wanted[method]).max()
        np.testing.assert_allclose(found[method], wanted[method], rtol=0, atol=1e-5 * size, err_msg=method)


def told(**form: Any) -> list[tuple[str, Mapping[str, Any]]]:
    return sorted((f.op, f.attrs) for f in forms_of(load(net(**form))).values())


def test_forms_are_what_they_compute() -> None:
    norm = ("LayerNormalization", {"axis": -1, "epsilon": pytest.approx(EPSILON)})
    assert told() == [("Gelu", {}), ("Swish", {"alpha": 1.0})]
    assert told(norm="twice") == [("Gelu", {}), norm, norm, norm, ("Swish", {"alpha": 1.0})]
    assert ("Gelu", {"approximate": "tanh"}) in told(tanh=True, activation="Pow")
    assert [op for op, _ in told(attention="guarded")] == ["Gelu", "Softmax", "Swish"]
    assert [op for op, _ in told(attention="Softmax in pieces")] == ["Gelu", "Softmax", "Swish"]


@pytest.mark.parametrize("wrong", [{"erf": 1.01}, {"half": 0.49}, {"one": 1.001}])
def test_what_computes_something_else_is_no_form(wrong: Mapping[str, float]) -> None:
    numbers = {"erf": 2**-0.5, "half": 0.5, "one": 1.0} | {
        k: v * (2**-0.5 if k == "erf" else 1) for k, v in wrong.items()
    }
    nodes = [
        node("Mul", ["x", "erf"], "a"), node("Erf", ["a"], "b"), node("Add", ["b", "one"], "c"),
        node("Mul", ["x", "c"], "d"), node("Mul", ["d", "half"], "y"),
    ]  # fmt: skip
    arrays = {k: np.float32(v) for k, v in numbers.items()}
    built = model_of(nodes, arrays, inputs={"x": ["N", 3, 4, 4]}, outputs=["y"])
    assert not forms_of(load(built))


def test_attention_behind_a_guard_is_attention() -> None:
    for form in ("guarded", "guarded by row", "Softmax in pieces", "Attention of heads"):
        model = load(net(attention=form, opset=23 if "Attention" in form else 18))
        assert len(attention_weights(model, logits="logits")) == 1, form


def test_a_row_that_is_masked_whole_takes_and_hands_on_nothing() -> None:
    mask = np.zeros((3, 3), np.float32)
    mask[1] = -np.inf
    nodes = [
        node("Reshape", ["x", "rows"], "t"), node("Transpose", ["t"], "q", perm=[0, 2, 1]),
        node("MatMul", ["q", "t"], "s"), node("Add", ["s", "mask"], "m"), node("Softmax", ["m"], "a", axis=-1),
        node("IsNaN", ["a"], "n"), node("Where", ["n", "zero", "a"], "g"), node("MatMul", ["g", "q"], "o"),
        node("ReduceMean", ["o", "one"], "y", keepdims=0),
    ]  # fmt: skip
    arrays = {
        "rows": np.array([0, 4, 3]), "mask": mask, "zero": np.float32(0), "one": np.array([1]),
    }  # fmt: skip
    built = model_of(nodes, arrays, inputs={"x": ["N", 4, 1, 3]}, outputs=["y"])
    x = np.random.default_rng(0).normal(size=(1, 4, 1, 3)).astype(np.float32)
    e = explain(built, x, method="saliency", target=1, layers="x")
    assert np.isfinite(e.map).all()
    assert np.isfinite(explain(built, x, method="attnlrp", target=1, layers="x").map).all()
