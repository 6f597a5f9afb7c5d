"""Loops, scans and sequences of known length are written out: the same outputs, and gradients through every step."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from fgcam_onnx import Explainer, load
from fgcam_onnx.errors import UnsupportedOperatorError

BODY = (
    "a = Conv<pads=[1,1,1,1]>(x, W)  act = Relu(a)  {} p = GlobalAveragePool(last)  flat = Flatten(p)  "
    "y = MatMul(flat, V)"
)
LOOP = """
last, rows = Loop(count, yes, act) <body = step (int64 i, bool go, float[1,4,6,6] v)
  => (bool again, float[1,4,6,6] w, float[1] mean) {
    again = Identity(go)
    n = Cast<to=1>(i)
    c = Conv<pads=[1,1,1,1]>(v, U)
    t = Tanh(c)
    s = Add(t, v)
    two = Constant<value = float {1.5}>()
    m = Mul(s, two)
    w = Add(m, n)
    all = ReduceMean<keepdims=0>(w)
    mean = Reshape(all, single)
  }>
"""
SCAN = """
parts = Transpose<perm=[2,0,1,3]>(act)
state, rows = Scan(start, parts) <num_scan_inputs=1, scan_input_directions=[DIRECTION], scan_output_axes=[2],
  body = step
  (float[1,4,6] h, float[1,4,6] row) => (float[1,4,6] next, float[1,4,6] out) {
    z = Add(h, row)
    next = Tanh(z)
    out = Mul(next, row)
  }>
last = Identity(rows)
"""


def net(middle: str, *, opset: int = 18, **more: Any) -> onnx.ModelProto:
    text = BODY.replace("{}", middle)
    model = onnx.parser.parse_model(
        f'<ir_version: 9, opset_import: ["":{opset}]> g (float[1,3,6,6] x) => (float[1,3] y) {{ {text} }}'
    )
    rng = np.random.default_rng(2)
    weights = {
        "W": rng.normal(size=(4, 3, 3, 3)).astype(np.float32), "V": rng.normal(size=(4, 3)).astype(np.float32),
        "U": (rng.normal(size=(4, 4, 3, 3)) * 0.2).astype(np.float32), "single": np.array([1]),
        "count": np.array(3), "yes": np.array(True), "start": np.zeros((1, 4, 6), np.float32), **more,
    }  # fmt: skip
    read = str(model)
    model.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in weights.items() if f'"{k}"' in read)
    return model


def picture() -> Any:
    return np.random.default_rng(0).normal(size=(1, 3, 6, 6)).astype(np.float32)


def held(model: onnx.ModelProto) -> None:
    """Hold outputs against ONNX Runtime on the file, and the gradient against central differences through it."""
    x, session = picture(), ort.InferenceSession(model.SerializeToString())

    def run(v: Any) -> Any:
        return session.run(["y"], {"x": v.astype(np.float32)})[0][0].astype(np.float64)

    explainer = Explainer(model, method="saliency")
    np.testing.assert_allclose(explainer.predict(x)[0], run(x), rtol=1e-5, atol=1e-5)
    found = explainer(x, target=1).map[0]
    assert not {"Loop", "Scan"} & {n.op_type for n in explainer.model.nodes}
    numeric = np.zeros((3, 6, 6))
    for at in np.ndindex(3, 6, 6):
        step = np.zeros(x.shape)
        step[(0, *at)] = 1e-2
        numeric[at] = (run(x + step) - run(x - step))[1] / 2e-2
    wanted = np.abs(numeric).max(0)
    near = np.isclose(found, wanted, rtol=2e-2, atol=2e-2 * wanted.max())  # a kink of a Relu may lie between
    assert near.mean() > 0.9
    assert not np.isclose(1.1 * found, wanted, rtol=2e-2, atol=2e-2 * wanted.max()).mean() > 0.9


@pytest.mark.parametrize("opset", [13, 18])
def test_a_loop_of_a_fixed_number_of_steps_is_written_out(opset: int) -> None:
    held(net(LOOP, opset=opset))


@pytest.mark.parametrize("direction", [0, 1])
def test_a_scan_over_rows_is_written_out(direction: int) -> None:
    held(net(SCAN.replace("DIRECTION", str(direction))))


def test_a_loop_as_long_as_the_picture_is_high_is_written_out() -> None:
    held(net("sizes = Shape(x)  k = Gather(sizes, side)  " + LOOP.replace("Loop(count", "Loop(k"), side=np.array(2)))


@pytest.mark.parametrize("end", ["go2 = Not(go)  again = Identity(go2)", "b = Less(i, one)  again = Identity(b)"])
def test_a_loop_that_may_end_itself_is_refused_by_name(end: str) -> None:
    model = net(LOOP.replace("again = Identity(go)", end), one=np.array(1))
    with pytest.raises(UnsupportedOperatorError, match="inference stops at 'Loop'"):
        Explainer(model, method="saliency")(picture(), target=1)


def test_a_loop_of_too_many_steps_stays_and_is_refused() -> None:
    with pytest.raises(UnsupportedOperatorError, match="'Loop'"):
        Explainer(net(LOOP, count=np.array(513)), method="saliency")(picture(), target=1)


SEQUENCES = {
    "constructed": "n = Neg(act)  s = SequenceConstruct(act, n, a)  q = SequenceAt(s, two)  e = Exp(n)  "
    "last = Mul(q, e)",
    "split evenly": "s = SplitToSequence<axis=1>(act, two)  q = SequenceAt(s, minus)  last = Concat<axis=1>(q, q)",
    "split one by one": "s = SplitToSequence<axis=2, keepdims=0>(act)  j = ConcatFromSequence<axis=2, new_axis=1>(s)  "
    "last = Tanh(j)",
    "split by sizes": "s = SplitToSequence<axis=1>(act, sizes)  t = SequenceErase(s, minus)  n = Neg(act)  "
    "u = SequenceInsert(t, n, zero)  last = ConcatFromSequence<axis=1>(u)",
    "length": "s = SequenceConstruct(act, a)  k = SequenceLength(s)  f = Cast<to=1>(k)  last = Mul(act, f)",
}


@pytest.mark.parametrize("what", SEQUENCES)
def test_a_sequence_that_is_known_is_the_tensors_in_it(what: str) -> None:
    more = {"two": np.array(2), "minus": np.array(-1), "zero": np.array(0), "sizes": np.array([3, 1])}
    model = net(SEQUENCES[what], **more)
    if what == "split by sizes":
        model.graph.initializer[1].CopyFrom(
            numpy_helper.from_array(np.random.default_rng(4).normal(size=(7, 3)).astype(np.float32), "V")
        )
    held(model)
    assert not any("Sequence" in n.op_type for n in load(model).nodes)


def test_a_sequence_that_a_loop_fills_is_what_its_steps_put_in() -> None:
    body = onnx.parser.parse_graph(
        "step (int64 i, bool go, seq(float[1,4,6,6]) s) => (bool again, seq(float[1,4,6,6]) t) "
        "{ again = Identity(go)  n = Cast<to=1>(i)  v = Mul(act, n)  t = SequenceInsert(s, v) }"
    )
    model = net("last = Identity(act)")
    del model.graph.node[2]
    none = helper.make_node("SequenceEmpty", [], ["none"], dtype=TensorProto.FLOAT)
    loop = helper.make_node("Loop", ["count", "yes", "none"], ["full"], body=body)
    joined = helper.make_node("ConcatFromSequence", ["full"], ["last"], axis=2)
    for k, node in enumerate((none, loop, joined)):
        model.graph.node.insert(2 + k, node)
    model.graph.initializer.extend(
        [numpy_helper.from_array(np.array(3), "count"), numpy_helper.from_array(np.array(True), "yes")]
    )
    held(model)
