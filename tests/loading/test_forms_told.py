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
    ],
    ids=["next to nothing", "along the first of three axes"],
)
def test_what_is_no_form_along_the_last_axis_is_none(body: str) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[2,4,5] x) => (float[2,4,5] y)'
        f"<float nine = {{9.0}}, float tiny = {{1e-6}}, int64[1] one = {{1}}> {{ {body} }}"
    )
    forms = forms_of(load(model))
    assert "y" not in forms
