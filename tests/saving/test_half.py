"""Half precision: the forward pass is the deployed one, and the walk back goes in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from nets import model_of, node
from onnx import ModelProto, TensorProto
from oracles import Probe, compiled_gradients, gradients, probe, retyped
from plain import run_plainly

from fgcam_onnx import explain

RESNET = Path(__file__).parents[2] / "exported_models" / "resnet_shapes.torchscript.onnx"


@pytest.mark.parametrize("method", ["fgcam", "gradcam", "relevancecam"])
def test_a_real_net_in_float16_is_explained_as_in_float32(method: str) -> None:
    plain = onnx.load(RESNET)
    half = retyped(plain, TensorProto.FLOAT16)
    shape = [d.dim_value or 2 for d in plain.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(0).random(shape).astype(np.float32)
    wanted = explain(plain, x, method=method)
    found = explain(half, x, target=wanted.target, method=method, layers=list(wanted.maps))
    for name, expected in wanted.maps.items():
        assert found.maps[name].dtype == np.float32
        assert np.corrcoef(found.maps[name].ravel(), expected.ravel())[0, 1] >= 0.99


def chain(*factors: float, kind: int = TensorProto.FLOAT16) -> ModelProto:
    """Multiply by each factor in turn."""
    weights = {f"f{i}": np.array(f, np.float32) for i, f in enumerate(factors)}
    nodes = [node("Mul", ["x" if i == 0 else f"y{i - 1}", f"f{i}"], f"y{i}") for i in range(len(factors))]
    model = model_of(nodes, weights, inputs={"x": [1, 4]}, outputs=[f"y{len(factors) - 1}"])
    return retyped(model, kind)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
@pytest.mark.parametrize("seed", [2.0**15, 2.0**-14])
def test_cotangents_that_half_floats_cannot_hold_come_through(kind: int, seed: float) -> None:
    """The product of the factors is 1, so the gradient is the seed; on the way it is 2^20 times more or less."""
    factors = (2.0**-10, 2.0**-10, 2.0**10, 2.0**10) if seed > 1 else (2.0**10, 2.0**10, 2.0**-10, 2.0**-10)
    tested = probe(chain(*factors, kind=kind), wrt=["x"], output="y3")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    x = np.ones((1, 4), dtype)
    found = _gradient(tested, x, np.full((1, 4), seed, dtype))
    np.testing.assert_allclose(found, np.full((1, 4), seed), rtol=1e-6, atol=0)
    in_half = np.full(4, seed, np.float16)
    with np.errstate(over="ignore", under="ignore"):
        for factor in reversed(factors):
            in_half = in_half * np.float16(factor)
    assert not np.allclose(in_half, seed), "negative control: float16 would have done"


def _gradient(tested: Probe, x: np.ndarray, seed: np.ndarray) -> np.ndarray:
    if x.dtype == np.float16:
        return compiled_gradients(tested, {"x": x}, seed)["x"]
    return gradients(tested, {"x": x}, seed)["x"]


def test_the_forward_pass_stays_as_deployed() -> None:
    half = retyped(onnx.load(RESNET), TensorProto.FLOAT16)
    shape = [d.dim_value or 2 for d in half.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(0).random(shape).astype(np.float16)
    scores = explain(half, x, before_softmax=False).scores
    np.testing.assert_allclose(scores, run_plainly(half, x).astype(np.float32), rtol=0, atol=1e-3)


@pytest.mark.parametrize("op", ["Max", "Min"])
def test_an_extremum_passes_gradients_on_whatever_the_runtime_rounds(op: str) -> None:
    """On a CPU the inputs of an extremum may be float32 where its output was rounded: they are never equal."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((8, 3, 3, 3)), "zero": np.zeros(()), "head": rng.standard_normal((8, 4))}
    nodes = [
        node("Conv", ["x", "w"], "c"),
        node(op, ["c", "zero"], "m"),
        node("GlobalAveragePool", ["m"], "p"),
        node("Flatten", ["p"], "f"),
        node("Gemm", ["f", "head"], "logits"),
    ]
    float32 = {n: a.astype(np.float32) for n, a in weights.items()}
    model = model_of(nodes, float32, inputs={"x": [2, 3, 12, 12]}, outputs=["logits"])
    x = rng.standard_normal((2, 3, 12, 12)).astype(np.float32)
    wanted = explain(model, x, method="saliency")
    found = explain(retyped(model, TensorProto.FLOAT16), x, method="saliency", target=wanted.target)
    assert np.corrcoef(found.map.ravel(), wanted.map.ravel())[0, 1] >= 0.99
