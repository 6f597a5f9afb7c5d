"""What hardly varies, and what lies along another axis, is taken for no form."""

from __future__ import annotations

import onnx
import pytest

from fgcam_onnx import load
from fgcam_onnx.graph.forms import forms_of


@pytest.mark.parametrize(
    "body",
    [
        "s = Softmax<axis=-1>(x)  p = Pow(s, nine)  y = Mul(p, tiny)",
        "m = ReduceMax(x, one)  c = Sub(x, m)  e = Exp(c)  t = ReduceSum(e, one)  y = Div(e, t)",
        "s = Softmax<axis=-1>(x)  y = Min(s, most)",
        "c = Clip(x, , far)  y = Softmax<axis=-1>(c)",
        "g = Sigmoid(x)  s = Mul(x, g)  y = Min(s, far)",
        "m = ReduceMean(x, last)  c = Sub(x, m)  q = Mul(c, c)  v = ReduceMean(q, last)  w = Add(v, tiny)"
        " d = Sqrt(w)  n = Div(c, d)  y = Min(n, two)",
    ],
    ids=[
        "next to nothing",
        "along the first of three axes",
        "a bounded Softmax",
        "bounded logits",
        "a bounded Swish",
        "a bounded normalization",
    ],
)
def test_what_is_no_form_along_the_last_axis_is_none(body: str) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[2,4,5] x) => (float[2,4,5] y)'
        "<float nine = {9.0}, float tiny = {1e-6}, int64[1] one = {1}, int64[1] last = {-1}, float most = {0.97},"
        f"float far = {{300.0}}, float two = {{1.9}}> {{ {body} }}"
    )
    forms = forms_of(load(model))
    assert "y" not in forms
