"""Detectors that choose their boxes themselves: boxes, scores and class numbers, however many there are."""

from __future__ import annotations

from typing import Any

import head_nets as nets
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from test_heads_explained import picture

from fgcam_onnx import Explainer, load
from fgcam_onnx.errors import AbsentError
from fgcam_onnx.heads import Stated, meaning_of
from fgcam_onnx.targets import Detection

SIDE, CLASSES = 32, 5
BOXES = (
    f"{nets.CELLS} u = MatMul(t, V)  c = Sigmoid(u)  ub = MatMul(t, Vb)  sb = Sigmoid(ub)  w = Mul(sb, size)  "
    "low, wide = Split<axis=2, num_outputs=2>(w)  high = Add(low, wide)  b = Concat<axis=2>(low, high) "
)
CHOICE = (
    "s = Transpose<perm=[0,2,1]>(c)  n = NonMaxSuppression(b, s, most, overlap, least)  "
    "pair = Slice(n, one, three, one)  flat = Squeeze(s, zero)  found = GatherND(flat, pair)  "
    "at = Slice(n, two, three, one)  own = Squeeze(b, zero)  corners = GatherND(own, at)  "
    "kind = Slice(n, one, two, one)  numbers = Squeeze(kind, one)  "
)
SORTED = "k = Shape(found)  best, order = TopK(found, k)  y = Gather(corners, order)  names = Gather(numbers, order) "
FIXED = "best, order = TopK(found, five)  y = Gather(corners, order)  names = Gather(numbers, order) "


def net(tail: str, ends: str, *, least: float = 0.52) -> onnx.ModelProto:
    return nets.net(
        f"{BOXES} {CHOICE} {tail}", f"(float[1,3,{SIDE},{SIDE}] x) => ({ends})", opset=18,
        V=nets.normal(4, 4, CLASSES) * 0.1, Vb=nets.normal(5, 4, 4) * 0.5, size=np.float32(16),
        most=np.array([100]), overlap=np.float32([0.5]), least=np.float32([least]), zero=np.array([0]),
        one=np.array([1]), two=np.array([2]), three=np.array([3]), five=np.array([5]),
    )  # fmt: skip


FREE = "float[K,4] y, float[K] best, int64[K] names"
FORMS = {"as many as there are": (SORTED, FREE), "five": (FIXED, "float[5,4] y, float[5] best, int64[5] names")}


@pytest.mark.parametrize("what", FORMS)
def test_the_plain_command_explains_the_best_box_that_was_chosen(what: str) -> None:
    tail, ends = FORMS[what]
    model, x = net(tail, ends), picture(SIDE)
    boxes, scores, names = nets.run(model, x, "y", "best", "names")
    assert len(scores) > 3
    explainer = Explainer(model, method="saliency")
    assert explainer.head.kind == "boxes"
    found = explainer(x)
    corners = " ".join(f"{v:g}" for v in np.round(boxes[0]))
    assert found.described == (f"class {names[0]} in top box {corners}",)
    np.testing.assert_allclose(found.score, scores[0], rtol=1e-5)
    other = next(i for i in range(len(names)) if names[i] != names[0])
    near = explainer(x, target=Detection(boxes[other], int(names[other]), overlap=0.9))
    np.testing.assert_allclose(near.score, scores[other], rtol=1e-5)
    held(model, x, found.map[0], row=0)
    held(model, x, near.map[0], row=other)


def held(model: onnx.ModelProto, x: Any, given: Any, *, row: int) -> None:
    """Hold a map of the largest gradient of any channel against differences of the file's own score."""
    session = ort.InferenceSession(model.SerializeToString())
    names = session.run(["names"], {"x": x})[0]
    order = np.argsort(-given, axis=None)
    for at in [*order[:6], *order[-3:]]:
        place, found = np.unravel_index(at, given.shape), []
        for c in range(3):
            ends = []
            for sign in (1, -1):
                moved = x.copy()
                moved[0, c, place[0], place[1]] += sign * 1e-2
                score, now = session.run(["best", "names"], {"x": moved})
                assert now.tolist() == names.tolist()
                ends.append(float(score[row]))
            found.append(abs(ends[0] - ends[1]) / 2e-2)
        np.testing.assert_allclose(given[place], max(found), rtol=2e-2, atol=1e-2 * given.max())


def test_cams_behind_the_choice_and_relevance_are_given_too() -> None:
    model, x = net(SORTED, FREE), picture(SIDE)
    for method in ("gradcam", "fgcam", "lrp", "reciprocam"):
        found = Explainer(model, method=method)(x)
        assert np.isfinite(found.map).all()
        assert np.abs(found.map).max() > 0


def test_no_box_at_all_is_an_absence_and_no_detection_of_zeros() -> None:
    with pytest.raises(AbsentError, match="no box was found"):
        Explainer(net(SORTED, FREE, least=0.9999), method="saliency")(picture(SIDE))


def test_of_several_outputs_the_scores_of_the_boxes_are_explained() -> None:
    """As of a DETR, whose other output holds the boxes, and of a detector with masks."""
    beside = load(nets.beside("Sigmoid", centred=True))
    assert meaning_of(beside, None, source="x")[0].output == "y"
    masked = nets.yolo(objectness=False, turned=True)
    masked.graph.output.append(onnx.helper.make_tensor_value_info("act", 1, [1, 4, 8, 8]))
    score, head = meaning_of(load(masked), None, source="x", stated=Stated())
    assert (score.output, head.kind) == ("y", "boxes")
