"""Casts to integers: a step, as Floor is, but where the integers are dequantized."""

from __future__ import annotations

import numpy as np
import pytest
from nets import model_of, node
from onnx import ModelProto, NodeProto, TensorProto

from fgcam_onnx import Explainer
from fgcam_onnx.errors import UnsupportedOperatorError

RNG = np.random.default_rng(3)
X = RNG.standard_normal((2, 3, 8, 8)).astype(np.float32)
WEIGHTS = {
    "w": RNG.standard_normal((4, 3, 3, 3)).astype(np.float32),
    "v": RNG.standard_normal((4, 5)).astype(np.float32),
    "scale": np.float32(1 / 64),
    "zero": np.uint16(0),
}
ROUNDED = {
    "cast": [node("Cast", ["r"], "q", to=TensorProto.UINT16), node("Cast", ["q"], "d", to=TensorProto.FLOAT)],
    "floor": [node("Floor", ["r"], "q"), node("Identity", ["q"], "d")],
    "quantizer": [
        node("Div", ["r", "scale"], "s"),
        node("Cast", ["s"], "q", to=TensorProto.UINT16),
        node("DequantizeLinear", ["q", "scale", "zero"], "d"),
    ],
    "nothing": [node("Identity", ["r"], "d")],
}


def net(between: list[NodeProto]) -> ModelProto:
    nodes = [
        node("Conv", ["x", "w"], "c"),
        node("Relu", ["c"], "r"),
        *between,
        node("GlobalAveragePool", ["d"], "p"),
        node("Flatten", ["p"], "f"),
        node("MatMul", ["f", "v"], "y"),
    ]
    return model_of(nodes, WEIGHTS, inputs={"x": ["N", 3, 8, 8]}, outputs=["y"], opset=21, ir=10)


@pytest.mark.parametrize("step", ["cast", "floor"])
@pytest.mark.parametrize("method", ["inputxgradient", "gradcam", "lrp", "relevancecam", "fgcam", "attnlrp"])
def test_nothing_is_explained_through_a_step(step: str, method: str) -> None:
    explainer = Explainer(net([*ROUNDED["nothing"]]), method=method, layers="input" if method != "gradcam" else "c")
    assert np.abs(explainer(X, target=1).map).max() > 0
    with pytest.raises(UnsupportedOperatorError, match=f"'{step.title()}'"):
        Explainer(net([*ROUNDED[step]]), method=method, layers="input" if method != "gradcam" else "c")(X, target=1)


@pytest.mark.parametrize("method", ["inputxgradient", "lrp"])
def test_a_cast_whose_integers_are_dequantized_hands_on_as_if_it_did_not_round(method: str) -> None:
    """The slope behind it is a constant, so the map is that of the net without a quantizer."""
    found, expected = (
        Explainer(net([*ROUNDED[form]]), method=method, layers="input")(X, target=1)
        for form in ("quantizer", "nothing")
    )
    assert np.abs(found.score - expected.score).max() > 1e-5
    limit = 1e-5 if method == "inputxgradient" else 2e-2
    np.testing.assert_allclose(found.map, expected.map, rtol=0, atol=limit * np.abs(expected.map).max())
