"""Detections as targets: the box that is meant, however the net writes its boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nets import images
from onnx import helper, numpy_helper
from target_nets import BOXES, close, dense_net, rng, yolo

from fgcam_onnx import Explainer
from fgcam_onnx.errors import AbsentError, TargetError
from fgcam_onnx.targets import (
    Detection,
    Element,
    Predicted,
)

"""Centre x and y, width, height."""


@pytest.mark.parametrize("turned", [False, True])
def test_a_detection_is_the_score_of_the_best_box_near(turned: bool) -> None:
    rows = yolo(objectness=not turned)
    first = 4 if turned else 5
    total = rows[0, :, first:] * (1 if turned else rows[0, :, 4:5])
    output = rows.transpose(0, 2, 1) if turned else rows
    # attributes must be the smaller axis to be found; more boxes far away make it so
    far = np.repeat(rows[:, -1:] + np.eye(1, rows.shape[2], 0, dtype=np.float32) * 500, 9, 1)
    output = np.concatenate([rows, far], 1)
    output = output.transpose(0, 2, 1) if turned else output
    aim = Detection((40, 40, 60, 60), 1).aim(Predicted(output, size=(100, 100)))
    best = int(np.argmax(total[:2, 1]))
    assert aim.score[0] == pytest.approx(total[best, 1], rel=1e-6)

    def score(changed: Any) -> float:
        row = (changed[0].T if turned else changed[0])[best]
        return float(row[first + 1] * (1 if turned else row[4]))

    where = np.argwhere(np.ones_like(output))
    numeric = np.zeros_like(output, np.float64)
    wide = output.astype(np.float64)
    for index in map(tuple, where):
        step = np.zeros_like(wide)
        step[index] = 1e-4
        numeric[index] = (score(wide + step) - score(wide - step)) / 2e-4
    np.testing.assert_allclose(aim.weights, numeric, rtol=0, atol=1e-6)
    chosen = Detection((40, 40, 60, 60)).aim(Predicted(output, size=(100, 100)))
    assert chosen.score[0] == pytest.approx(total[:2].max(), rel=1e-6)
    with pytest.raises(AbsentError, match=r"nearest, box 40 40 60 60, overlaps by 0\.0"):
        Detection((41, 57, 44, 60)).aim(Predicted(output, size=(100, 100)))


def test_undecoded_boxes_of_grids_are_decoded() -> None:
    output = np.zeros((1, 16 + 4 + 1, 7), np.float32)  # 32 x 32 pixels: grids of 4 x 4, 2 x 2 and 1 cells
    output[0, :, 2:4] = -20
    output[0, 16 + 3] = [0.5, 0.25, np.log(1.5), np.log(0.5), 0.5, 0.2, 0.8]
    width, height, x, y = 1.5 * 16, 0.5 * 16, (1 + 0.5) * 16, (1 + 0.25) * 16
    box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    aim = Detection(box, overlap=0.99).aim(Predicted(output, size=(32, 32)))
    assert aim.score[0] == pytest.approx(0.4)
    assert np.flatnonzero(aim.weights[0].any(1)).tolist() == [19]
    with pytest.raises(TargetError, match="xyxy"):
        Detection(box).aim(Predicted(output[:, :-1], size=(32, 32)))


@pytest.mark.parametrize(("form", "order"), [("auto", (0, 1, 2, 3)), ("xyxy", (0, 1, 2, 3)), ("yxyx", (1, 0, 3, 2))])
def test_boxes_may_come_from_another_output(form: str, order: tuple[int, ...]) -> None:
    scores = rng(10).uniform(0, 1, (1, 4, 3)).astype(np.float32)
    corners = np.concatenate([BOXES[:, :2] - BOXES[:, 2:] / 2, BOXES[:, :2] + BOXES[:, 2:] / 2], 1)
    shares = (corners / 100)[None, :, order].astype(np.float32)
    predicted = Predicted(scores, {"boxes": shares, "count": np.ones((1, 2))}, size=(100, 100))
    aim = Detection(tuple(corners[2]), boxes=form, background=int(scores[0, 2].argmax())).aim(predicted)
    second = int(np.argsort(scores[0, 2])[-2])
    assert np.argwhere(aim.weights).tolist() == [[0, 2, second]]
    across = Predicted(scores.transpose(0, 2, 1), {"boxes": shares}, size=(100, 100))
    turned = Detection(tuple(corners[2]), second, boxes=form, boxes_from="boxes").aim(across)
    np.testing.assert_array_equal(turned.weights, aim.weights.transpose(0, 2, 1))
    with pytest.raises(TargetError, match=r"boxs.*Did you mean 'boxes'"):
        Detection(tuple(corners[2]), boxes_from="boxs").aim(predicted)


def test_a_net_with_two_outputs_is_run_for_its_boxes() -> None:
    model = dense_net(classes=3, flat=True)
    corners = np.stack([np.array([i % 10, i // 10, i % 10 + 1, i // 10 + 1]) for i in range(120)]).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(corners[None], "corners"))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "nothing"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([2]), "last"))
    model.graph.node.extend(
        [
            helper.make_node("ReduceSum", ["out", "last"], ["sums"], keepdims=1),
            helper.make_node("Mul", ["sums", "nothing"], ["zeros"]),
            helper.make_node("Add", ["zeros", "corners"], ["boxes"]),
        ]
    )
    model.graph.output.append(helper.make_tensor_value_info("boxes", 1, None))
    explainer = Explainer(model, method="gradcam", layers="features", output="out")
    x = images(2)
    found = explainer(x, target=Detection((4, 3, 5, 4), 1))
    close(found.map, explainer(x, target=Element((34, 1))).map)
    np.testing.assert_allclose(found.score, explainer.predict(x)[:, 34, 1], rtol=1e-5)
