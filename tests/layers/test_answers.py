"""Where an answer has places, the default layer is one that all of it depends on, and not the answer itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from fgcam_onnx import Explainer, load
from fgcam_onnx.graph.score import find_score
from fgcam_onnx.layers.layers import default_base, find_layer, ranked_layers

BODY = "a = Conv<kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2]>(x, W)  c1 = Relu(a) "
NECK = (
    f"{BODY} b = Conv<kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2]>(c1, W1)  c2 = Relu(b) "
    'up = Resize<mode="nearest">(c2, none, twice)  j = Concat<axis=1>(up, c1)  f = Conv(j, W2)  gate = Sigmoid(f) '
    "p1 = Mul(f, gate)  d = Conv<kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2]>(p1, W1) "
    "e = Add(d, c2)  p2 = Relu(e) "
)
DETECTOR = (
    f"{NECK} h1 = Conv(p1, W3)  r1 = Reshape(h1, many)  h2 = Conv(p2, W3)  r2 = Reshape(h2, few) "
    "joined = Concat<axis=2>(r1, r2)  y = Sigmoid(joined)"
)
"""Grids of 8 x 8 and 4 x 4 cells; a way around the neck leads from c1."""


def net(body: str, shape: str) -> onnx.ModelProto:
    text = f'<ir_version: 9, opset_import: ["":17]> g (float[1,3,16,16] x) => (float[{shape}] y) {{ {body} }}'
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(5)
    weights: dict[str, Any] = {
        "W": rng.normal(size=(4, 3, 3, 3)), "W1": rng.normal(size=(4, 4, 3, 3)), "W2": rng.normal(size=(4, 8, 1, 1)),
        "W3": rng.normal(size=(6, 4, 1, 1)) * 0.1, "none": np.zeros(0), "twice": np.array([1, 1, 2, 2]),
    }  # fmt: skip
    read = {n for node in model.graph.node for n in node.input}
    arrays = {k: np.asarray(v, np.float32) for k, v in weights.items()}
    arrays |= {"many": np.array([1, 6, 64]), "few": np.array([1, 6, 16])}
    model.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in arrays.items() if k in read)
    onnx.checker.check_model(model, full_check=True)
    return model


def test_a_detector_is_explained_where_all_its_grids_come_from_and_not_before_the_first() -> None:
    model = load(net(DETECTOR, "1,6,80"))
    logits = find_score(model).logits
    base = default_base(model, logits=logits)
    assert (base.name, base.every_path, base.shared) == ("p1", False, True)
    ranked = [x.name for x in ranked_layers(model, logits=logits)]
    assert ranked.index("p1") < ranked.index("f") < ranked.index("c1") < ranked.index("p2")
    assert not find_layer(model, "gate", logits=logits).shared  # a gate is on a way around
    assert find_layer(model, "c1", logits=logits).every_path


def test_every_box_of_it_depends_on_that_layer() -> None:
    """Central differences by a channel of the layer, cut out as an input."""
    whole = net(DETECTOR, "1,6,80")
    cut = onnx.ModelProto()
    cut.CopyFrom(whole)
    keep = [n for n in whole.graph.node if n.output[0] in ("d", "e", "p2", "h1", "r1", "h2", "r2", "joined", "y")]
    del cut.graph.node[:], cut.graph.input[:]
    cut.graph.node.extend(keep)
    for name, side in (("p1", 8), ("c2", 4)):
        cut.graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4, side, side]))
    session = ort.InferenceSession(cut.SerializeToString())
    p1 = np.random.default_rng(1).normal(size=(1, 4, 8, 8)).astype(np.float32)
    given = {"c2": np.ones((1, 4, 4, 4), np.float32)}
    moved = session.run(None, {**given, "p1": p1 + 0.1})[0] - session.run(None, {**given, "p1": p1})[0]
    assert (np.abs(moved).max(1) > 0).all()


@pytest.mark.parametrize("tail", [
    "z = Conv(p1, W3)  y = Identity(z)",
    "z = Conv(p1, W3)  y = Sigmoid(z)",
    "z = Conv(p1, W3)  q = Conv(f, W3)  s = Add(z, q)  t = Sub(s, q)  y = Identity(t)",
])  # fmt: skip
def test_a_map_of_classes_is_explained_before_its_classes_are_made(tail: str) -> None:
    model = load(net(f"{NECK} {tail}", "1,6,8,8"))
    logits = find_score(model).logits
    base = default_base(model, logits=logits)
    assert base.name == "p1"
    layers = ranked_layers(model, logits=logits)
    assert {x.name for x in layers if x.answer} >= {"z"}
    assert "the answer itself" in find_layer(model, "z", logits=logits).why
    assert all(x.answer for x in layers[-1:])


def test_a_net_of_nothing_but_its_answer_is_explained_there() -> None:
    model = net("y = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, W)", "1,4,16,16")
    found = Explainer(model, method="gradcam")(np.ones((1, 3, 16, 16), np.float32), target=0)
    assert list(found.maps) == ["y"]
