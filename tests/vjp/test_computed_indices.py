"""Gradients through what is gathered and scattered at places that the graph itself computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from fgcam_onnx import Explainer, load
from fgcam_onnx.errors import FgcamError
from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.program import append_gradients

SCORES = (
    "a = Conv<pads=[1,1,1,1]>(x, W)  act = Relu(a)  q = Reshape(act, S)  s = ReduceMax<axes=[1], keepdims=0>(q) "
    "t = Transpose<perm=[0,2,1]>(q) "
)
FIVE = "v, i = TopK<axis=1>(s, five)  k = Unsqueeze(i, two) "
TAKEN: dict[str, str] = {
    "GatherElements": FIVE
    + "kk = Expand(k, E)  z = GatherElements<axis=1>(t, kk)  y = ReduceMean<axes=[1], keepdims=0>(z)",
    "GatherND": FIVE + "z = GatherND<batch_dims=1>(t, k)  y = ReduceMean<axes=[1], keepdims=0>(z)",
    "ArgMax": "i = ArgMax<axis=1>(s)  k = Unsqueeze(i, two)  z = GatherND<batch_dims=1>(t, k)  y = Squeeze(z, one)",
    "ScatterElements": FIVE + "kk = Expand(k, E)  u = GatherElements<axis=1>(t, kk)  uu = Mul(u, u) "
    "z = ScatterElements<axis=1>(t, kk, uu)  y = ReduceMean<axes=[1], keepdims=0>(z)",
    "Cast": FIVE + "f = Cast<to=1>(i)  g = Div(f, three)  h = Floor(g)  j = Cast<to=7>(h)  k2 = Unsqueeze(j, two) "
    "z = GatherND<batch_dims=1>(t, k2)  y = ReduceMean<axes=[1], keepdims=0>(z)",
    "class beside": FIVE
    + "kk = Expand(k, E)  u = GatherElements<axis=1>(t, kk)  c = ArgMax<axis=2>(u)  cf = Cast<to=1>(c) "
    "m = ReduceMax<axes=[2], keepdims=1>(u)  z = Concat<axis=2>(m, cf)  y = Reshape(z, F)",
}


def net(body: str, *, batch: str = "1") -> onnx.ModelProto:
    outputs = "10" if "F)" in body else "4"
    ends = f"(float[{batch},3,6,6] x) => (float[{batch},{outputs}] y)"
    text = f'<ir_version: 9, opset_import: ["":17]> g {ends} {{ {SCORES}{body} }}'
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(3)
    weights: dict[str, Any] = {
        "W": rng.normal(size=(4, 3, 3, 3)).astype(np.float32), "S": np.array([-1, 4, 36]), "five": np.array([5]),
        "one": np.array([1]), "two": np.array([2]), "E": np.array([1, 5, 4]), "F": np.array([-1, 10]),
        "three": np.float32(3),
    }  # fmt: skip
    read = {n for node in model.graph.node for n in node.input}
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items() if k in read)
    onnx.checker.check_model(model)
    return model


def central_differences(model: onnx.ModelProto, x: Any, element: int, *, step: float = 1e-2) -> Any:
    """Return the gradient of an element of the output by the input: the net is piecewise quadratic, so exact."""
    session = ort.InferenceSession(model.SerializeToString())
    found = np.zeros(x.shape)
    for at in np.ndindex(*x.shape):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[at] += np.float32(sign * step)
            ends.append(float(session.run(None, {"x": moved})[0][0, element]))
        found[at] = (ends[0] - ends[1]) / (2 * step)
    return found


@pytest.mark.parametrize("what", TAKEN)
def test_gradients_pass_through_what_was_taken_and_not_through_where(what: str) -> None:
    model, x = net(TAKEN[what]), np.random.default_rng(0).normal(size=(1, 3, 6, 6)).astype(np.float32)
    loaded = load(model)
    emitter = Emitter(loaded)
    seed = emitter.constant(np.eye(1, loaded.outputs[0].shape[1], 0, dtype=np.float32))  # type: ignore[call-overload]
    found = append_gradients(emitter, ["x"], output="y", seed=seed)
    emitter.output("gradient", found["x"])
    program = emitter.build().standalone()
    gradient = ort.InferenceSession(program.SerializeToString()).run(["gradient"], {"x": x})[0]
    numeric = central_differences(model, x, 0)
    assert np.abs(numeric).max() > 0.1
    smooth = np.isclose(numeric, central_differences(model, x, 0, step=5e-3), rtol=1e-2, atol=2e-3)  # no kink near
    assert smooth.mean() > 0.8
    np.testing.assert_allclose(gradient[smooth], numeric[smooth], rtol=1e-2, atol=4e-3)
    with pytest.raises(AssertionError):  # negative control: 5 % off
        np.testing.assert_allclose(1.05 * gradient[smooth], numeric[smooth], rtol=1e-2, atol=4e-3)
    kinds = {n: t.tensor_type.elem_type for n, t in emitter.types.items()}
    assert all(kinds[n.input[1]] == onnx.TensorProto.INT64 for n in program.graph.node if n.op_type == "ScatterND")


def test_images_of_a_free_batch_are_taken_from_each_by_itself() -> None:
    explainer = Explainer(net(TAKEN["GatherND"], batch="N"), method="gradcam", layers="act")
    x = np.random.default_rng(1).normal(size=(3, 3, 6, 6)).astype(np.float32)
    together = explainer(x, target=1).map
    for n in range(3):
        np.testing.assert_allclose(together[n], explainer(x[n : n + 1], target=1).map[0], rtol=1e-5, atol=1e-7)


def test_an_index_alone_has_no_gradient_and_is_refused() -> None:
    model = net(
        "i = ArgMax<axis=1>(q)  f = Cast<to=1>(i) "
        "p = AveragePool<kernel_shape=[9], strides=[9]>(f)  y = Squeeze(p, one)"
    )
    with pytest.raises(FgcamError, match="ArgMax"):
        Explainer(model, method="gradcam", layers="act")
