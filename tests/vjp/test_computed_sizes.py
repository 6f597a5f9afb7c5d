"""Sizes that the graph computes from the batch's: padding cut off, pictures enlarged, the maps of fixed sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from fgcam_onnx import Explainer, load
from fgcam_onnx.graph.score import find_score
from fgcam_onnx.support import support_of
from fgcam_onnx.targets import Element

FEATURES = "a = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, W)  act = Relu(a) "
END = "p = GlobalAveragePool(z)  v = Flatten<axis=1>(p)  y = MatMul(v, V)"


def net(body: str, *, batch: str = "N") -> onnx.ModelProto:
    text = f'<ir_version: 9, opset_import: ["":17]> g (float[{batch},3,6,6] x) => (float[{batch},5] y) {{ {body} }}'
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(2)
    weights: dict[str, Any] = {
        "W": rng.normal(size=(4, 3, 3, 3)).astype(np.float32), "V": rng.normal(size=(4, 5)).astype(np.float32),
        "W1": rng.normal(size=(4, 4, 3, 3)).astype(np.float32), "none": np.zeros(0, np.float32),
        "zero": np.array([0]), "one": np.array([1]), "to": np.array([9, 9]), "sizes": np.array([1, 4, 9, 9]),
        "four": np.array([4]), "before": np.array([-3]),
        "after": np.array([39]), "small": np.float32(0), "row": np.array([-1]), "shape": np.array([1, 180]),
        "V180": rng.normal(size=(180, 5)).astype(np.float32),
    }  # fmt: skip
    read = {n for node in model.graph.node for n in node.input}
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items() if k in read)
    onnx.checker.check_model(model, full_check=True)
    return model


LATER = "b = Conv<kernel_shape=[3,3]>(big, W1)  z = Relu(b) "
RESIZED = 'big = Resize<mode="linear">(act, none, none, {}) '


def test_a_picture_enlarged_to_computed_sizes_has_the_map_of_fixed_ones() -> None:
    sizes = "s = Shape(act)  n = Slice(s, zero, one)  all = Concat<axis=0>(n, four, to) "
    computed = net(f"{FEATURES} {sizes} {RESIZED.format('all')} {LATER} {END}")
    fixed = net(f"{FEATURES} {RESIZED.format('sizes')} {LATER} {END}", batch="1")
    x = np.random.default_rng(4).normal(size=(1, 3, 6, 6)).astype(np.float32)
    for method in ("fgcam", "gradcam", "lrp"):
        found, expected = (Explainer(m, method=method)(x, target=2).map for m in (computed, fixed))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())
        assert np.abs(expected).max() > 0


def test_computed_padding_is_cut_off_and_what_it_cut_is_zero() -> None:
    """By central differences; how many zeros follow is computed from the picture."""
    pads = (
        "m = ReduceMean<keepdims=0>(x)  k = Mul(m, small)  i = Cast<to=7>(k)  r = Reshape(i, one)  e = Add(r, after) "
    )
    row = f"{pads} pad = Concat<axis=0>(before, e)  flat = Reshape(act, row)  long = Pad(flat, pad) "
    model = net(f"{FEATURES} {row} z = Reshape(long, shape)  y = MatMul(z, V180)", batch="1")
    session = ort.InferenceSession(model.SerializeToString())
    x = np.random.default_rng(4).normal(size=(1, 3, 6, 6)).astype(np.float32)
    given = Explainer(model, method="inputxgradient")(x, target=2).map[0]
    found = np.zeros((6, 6))
    for place in np.ndindex(6, 6):
        step = np.zeros_like(x)
        step[0, :, place[0], place[1]] = 1e-3 * x[0, :, place[0], place[1]]
        ends = [float(session.run(None, {"x": x + sign * step})[0][0, 2]) for sign in (1, -1)]
        found[place] = (ends[0] - ends[1]) / 2e-3
    np.testing.assert_allclose(given, found, rtol=1e-2, atol=2e-3 * np.abs(found).max())
    with pytest.raises(AssertionError):  # negative control
        np.testing.assert_allclose(1.05 * given, found, rtol=1e-2, atol=2e-3 * np.abs(found).max())


@pytest.mark.parametrize("walk", ["gradient", "fgcam"])
def test_what_only_guards_or_points_lacks_no_rule(walk: str) -> None:
    """NaN is looked for, and the class that is largest is told as a number beside its score."""
    guard = "bad = IsNaN(act)  z = Where(bad, small, act) "
    model = load(net(f"{FEATURES} {guard} {END}"))
    found = support_of(model, logits=find_score(model).logits, input="x")[walk]
    assert (found.missing, found.blocked & {"act", "a"}) == ({}, set())
    rounded = load(net(f"{FEATURES} z = Round(act) {END}"))
    assert support_of(rounded, logits=find_score(rounded).logits, input="x")[walk].missing == {"Round": 1}
    assert "act" in support_of(rounded, logits=find_score(rounded).logits, input="x")[walk].blocked


CUT = {
    "bounds": "v, i = TopK(row1, one)  cut = Slice(row1, i, far)  e = Exp(cut)",
    "sizes": "over = Greater(row1, small)  nz = NonZero(over)  p = Squeeze(nz, one0)  q = Gather(row1, p)  "
    "back = Slice(q, last, least, one0, minus)  r = Tanh(back)  joined = Concat<axis=0>(q, r, row1)  e = Exp(joined)",
}


@pytest.mark.parametrize("what", CUT)
def test_what_is_cut_and_joined_at_computed_places_is_handed_back_there(what: str) -> None:
    """By central differences; which elements are taken is computed from the picture."""
    body = f"{FEATURES} row1 = Reshape(act, row)  {CUT[what]}  t = ReduceSum<keepdims=1>(e)  y = Reshape(t, pair)"
    model = onnx.parser.parse_model(
        f'<ir_version: 9, opset_import: ["":17]> g (float[1,3,6,6] x) => (float[1,1] y) {{ {body} }}'
    )
    weights = {
        "W": np.random.default_rng(2).normal(size=(4, 3, 3, 3)).astype(np.float32) * 0.3, "row": np.array([-1]),
        "one": np.array([1]), "one0": np.array([0]), "far": np.array([1 << 40]), "small": np.float32(0.2),
        "last": np.array([-1]), "least": np.array([-(1 << 62)]), "minus": np.array([-1]), "pair": np.array([1, 1]),
    }  # fmt: skip
    read = {n for node in model.graph.node for n in node.input}
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items() if k in read)
    session = ort.InferenceSession(model.SerializeToString())
    x = np.random.default_rng(5).normal(size=(1, 3, 6, 6)).astype(np.float32)
    given = Explainer(model, method="saliency")(x, target=Element(0)).map[0]
    found = np.zeros((3, 6, 6))
    for place in np.ndindex(3, 6, 6):
        step = np.zeros_like(x)
        step[(0, *place)] = 2e-3
        ends = [float(session.run(None, {"x": x + sign * step})[0][0, 0]) for sign in (1, -1)]
        found[place] = (ends[0] - ends[1]) / 4e-3
    wanted = np.abs(found).max(0)
    close = np.isclose(given, wanted, rtol=2e-2, atol=5e-3 * wanted.max())  # one may pass the threshold between
    assert wanted.max() > 0
    assert close.mean() > 0.9
    assert not np.isclose(1.1 * given, wanted, rtol=2e-2, atol=5e-3 * wanted.max()).mean() > 0.9
