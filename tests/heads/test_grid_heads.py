"""Heads before their boxes are made: each cell's boxes, decoded by loops, are those that are explained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import head_nets as nets
import numpy as np
import onnx
import pytest
from test_heads import head_of
from test_heads_explained import gradient_agrees, picture

from fgcam_onnx import Explainer
from fgcam_onnx.errors import OptionError, TargetError
from fgcam_onnx.graph.score import find_score
from fgcam_onnx.heads import Stated
from fgcam_onnx.layers.layers import default_base
from fgcam_onnx.loading.loading import load
from fgcam_onnx.targets import Detection

SIDE, CLASSES = 32, 5
BINS = 8
ANCHORS = ((6, 9), (14, 8), (20, 25))
BODY = (
    "a = Conv<pads=[1,1,1,1], strides=[8,8]>(x, W)  act = Relu(a) "
    "a2 = Conv<pads=[1,1,1,1], strides=[2,2]>(act, W2)  act2 = Relu(a2) "
)
"""Grids of 4 x 4 and 2 x 2 cells."""


def heads(
    *parts: tuple[str, int, str], joined: bool = True, tail: str = "", ends: str = "", **more: Any
) -> onnx.ModelProto:
    """Return heads of two grids: parts (name, channels, end) joined to y and y2, or outputs of their own."""
    body, weights, outputs = BODY, {"W2": nets.normal(9, 4, 4, 3, 3) * 0.3}, []
    for seed, (name, count, end) in enumerate(parts):
        weights[f"V{name}"] = nets.normal(10 + seed, count, 4, 1, 1) * 0.5
        for act, n, side in (("act", "", 4), ("act2", "2", 2)):
            body += f"u{name}{n} = Conv({act}, V{name})  {name}{n} = {end}(u{name}{n}) "
            outputs.append(f"float[1,{count},{side},{side}] {name}{n}")
    if joined:
        width = sum(count for _, count, _ in parts)
        outputs = [f"float[1,{width},4,4] y", f"float[1,{width},2,2] y2"]
        for n in ("", "2"):
            body += f"y{n} = Concat<axis=1>({', '.join(f'{name}{n}' for name, _, _ in parts)}) "
    return nets.net(body + tail, f"(float[1,3,{SIDE},{SIDE}] x) => ({ends or ', '.join(outputs)})", **weights, **more)


def sigmoid(v: Any) -> Any:
    return 1 / (1 + np.exp(-v))


Loop = Callable[[Any, int, int, int], tuple[list[float], list[float]]]
"""Corners and scores of a box of a cell, from the numbers that it has."""


def yolox(row: Any, x: int, y: int, _: int) -> tuple[list[float], list[float]]:
    cx, cy, w, h = (row[0] + x) * 8, (row[1] + y) * 8, 8 * np.exp(row[2]), 8 * np.exp(row[3])
    return [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], [row[4] * s for s in row[5:]]


def yolov8(row: Any, x: int, y: int, _: int) -> tuple[list[float], list[float]]:
    sides = []
    for k in range(4):
        bins = np.exp(row[k * BINS : (k + 1) * BINS])
        sides.append(sum(i * b for i, b in enumerate(bins)) / sum(bins) * 8)
    cx, cy = (x + 0.5) * 8, (y + 0.5) * 8
    return [cx - sides[0], cy - sides[1], cx + sides[2], cy + sides[3]], list(row[4 * BINS :])


def yolov5(row: Any, x: int, y: int, which: int) -> tuple[list[float], list[float]]:
    p = sigmoid(row)
    cx, cy = (2 * p[0] - 0.5 + x) * 8, (2 * p[1] - 0.5 + y) * 8
    w, h = (2 * p[2]) ** 2 * ANCHORS[which][0], (2 * p[3]) ** 2 * ANCHORS[which][1]
    return [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], [p[4] * s for s in p[5:]]


def yolov3(row: Any, x: int, y: int, which: int) -> tuple[list[float], list[float]]:
    cx, cy = (sigmoid(row[0]) + x) * 8, (sigmoid(row[1]) + y) * 8
    w, h = np.exp(row[2]) * ANCHORS[which][0], np.exp(row[3]) * ANCHORS[which][1]
    return [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], [sigmoid(row[4]) * sigmoid(s) for s in row[5:]]


SIZES = ",".join(str(v) for pair in ANCHORS for v in pair)
OBJECT = ("b", 4, "Identity"), ("o", 1, "Sigmoid"), ("c", CLASSES, "Sigmoid")
FORMS: dict[str, tuple[onnx.ModelProto, Loop, str, int]] = {
    "YOLOX": (heads(*OBJECT), yolox, "grid", 1),
    "YOLOv8": (heads(("b", 4 * BINS, "Identity"), ("c", CLASSES, "Identity")), yolov8, "auto", 1),
    "YOLOv5": (heads(("y", 3 * (5 + CLASSES), "Identity"), joined=False), yolov5, f"anchors:{SIZES}", 3),
    "YOLOv3": (heads(("y", 3 * (5 + CLASSES), "Identity"), joined=False), yolov3, f"exp:{SIZES}", 3),
}


def boxes_by_loops(output: Any, loop: Loop, anchors: int) -> list[tuple[list[float], list[float]]]:
    """Return corners and scores of every box of (1, C, h, w), anchor by anchor, row by row."""
    _, channels, height, width = output.shape
    each, wide = channels // anchors, output.astype(np.float64)
    return [
        loop(wide[0, which * each : (which + 1) * each, y, x], x, y, which)
        for which in range(anchors)
        for y in range(height)
        for x in range(width)
    ]


@pytest.mark.parametrize("what", FORMS)
def test_the_best_box_of_a_class_is_that_of_loops_over_the_cells(what: str) -> None:
    model, loop, form, anchors = FORMS[what]
    x, stated = picture(SIDE), Stated(decode=form, classes=None if anchors == 1 else CLASSES)
    assert head_of(model, Stated(classes=stated.classes), output="y").kind == "boxes"
    found = boxes_by_loops(nets.run(model, x), loop, anchors)
    scores = np.array([s for _, s in found])
    for target in (None, 3):
        box = int(scores.max(1).argmax() if target is None else scores[:, target].argmax())
        category = int(scores[box].argmax()) if target is None else target

        def read(output: Any, box: int = box, category: int = category) -> float:
            return float(boxes_by_loops(output, loop, anchors)[box][1][category])

        if target is None:
            explained = Explainer(model, method="saliency", output="y", head=stated)(x)
        else:
            explained = gradient_agrees(model, x, target, read, output="y", head=stated)
        corners = " ".join(f"{v:g}" for v in np.round(found[box][0]))
        word = "top" if target is None else "best"
        assert explained.described == (f"class {category} in {word} box {corners}",)
        np.testing.assert_allclose(explained.score, scores[box, category], rtol=1e-5)
    near = Explainer(model, method="saliency", output="y", head=stated)(x, target=Detection(found[box][0], 3))
    np.testing.assert_allclose(near.score, explained.score, rtol=1e-6)


@pytest.mark.parametrize("what", ["YOLOX", "YOLOv5"])
def test_a_form_that_the_graph_does_not_show_is_asked_for(what: str) -> None:
    model, _, _, anchors = FORMS[what]
    explainer = Explainer(model, method="saliency", output="y", head=Stated(classes=CLASSES if anchors > 1 else None))
    with pytest.raises(TargetError, match=r"--decode.*grid, ltrb" + (r".*anchors:W,H" if anchors > 1 else "")):
        explainer(picture(SIDE))
    with pytest.raises(OptionError, match="grids"):
        explainer(picture(SIDE), target=Detection((0, 0, 9, 9), boxes="grids"))
    with pytest.raises(TargetError, match="a width and a height"):
        explainer(picture(SIDE), target=Detection((0, 0, 9, 9), boxes="anchors:3"))


def test_anchors_that_are_too_few_for_the_cell_are_refused() -> None:
    stated = Stated(classes=CLASSES, decode="anchors:6,9")
    with pytest.raises(TargetError, match="1 anchors for 3 boxes of each cell"):
        Explainer(FORMS["YOLOv5"][0], method="saliency", output="y", head=stated)(picture(SIDE))


def test_boxes_may_be_in_an_output_of_the_same_grid() -> None:
    """YOLOv6, YOLOv8 for mobile chips, FCOS: scores and distances apart, of each grid."""
    model, x = heads(("b", 4 * BINS, "Identity"), ("c", CLASSES, "Identity"), joined=False), picture(SIDE)
    distances, scores = nets.run(model, x, "b", "c")
    found = boxes_by_loops(np.concatenate([distances, scores], 1), yolov8, 1)
    best = int(np.array([s for _, s in found]).max(1).argmax())
    category = int(np.argmax(found[best][1]))
    head = head_of(model, output="c")
    assert head.kind == "boxes"
    assert head.columns is not None
    assert head.columns.beside == "b"
    explained = Explainer(model, method="gradcam", output="c")(x)
    corners = " ".join(f"{v:g}" for v in np.round(found[best][0]))
    assert explained.described == (f"class {category} in top box {corners}",)
    assert list(explained.maps) == ["act"]


def test_a_grid_with_its_attributes_last_is_the_same_boxes() -> None:
    """YOLOv5 as it is trained: (1, 3, h, w, attributes)."""
    flat, x = FORMS["YOLOv5"][0], picture(SIDE)
    turned = heads(
        ("u", 3 * (5 + CLASSES), "Identity"), joined=False,
        tail="q = Reshape(u, S5)  y = Transpose<perm=[0,1,3,4,2]>(q)  q2 = Reshape(u2, S52)  "
        "y2 = Transpose<perm=[0,1,3,4,2]>(q2)",
        ends=f"float[1,3,4,4,{5 + CLASSES}] y, float[1,3,2,2,{5 + CLASSES}] y2",
        S5=np.array([1, 3, 5 + CLASSES, 4, 4]), S52=np.array([1, 3, 5 + CLASSES, 2, 2]),
    )  # fmt: skip
    stated = Stated(classes=CLASSES, decode=f"anchors:{SIZES}")
    a, b = (Explainer(m, method="saliency", output="y", head=stated)(x) for m in (flat, turned))
    assert a.described == b.described
    np.testing.assert_allclose(a.map, b.map, rtol=1e-4, atol=1e-6)


def test_maps_of_classes_at_several_sizes_stay_maps() -> None:
    model = heads(("m", 7, "Identity"), joined=False)
    assert head_of(model, output="m").kind == "map"


@pytest.mark.parametrize("turned", [False, True])
def test_a_flat_head_without_a_batch_is_the_one_with_it(turned: bool) -> None:
    whole, x = nets.yolo(objectness=True, turned=turned), picture(32)
    bare = onnx.ModelProto()
    bare.CopyFrom(whole)
    bare.graph.node.append(onnx.helper.make_node("Squeeze", ["y", "first"], ["rows"]))
    bare.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0]), "first"))
    shape = [d.dim_value for d in whole.graph.output[0].type.tensor_type.shape.dim][1:]
    bare.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("rows", 1, shape))
    base = default_base(load(bare), logits=find_score(load(bare)).logits).name
    assert base == default_base(load(whole), logits=find_score(load(whole)).logits).name == "act"
    for target in (None, 2, Detection((0, 0, 32, 32), overlap=0.01)):
        a, b = (Explainer(m, method="gradcam")(x, target=target) for m in (whole, bare))
        assert a.described == b.described
        np.testing.assert_allclose(a.map, b.map, rtol=1e-5, atol=1e-7)


def test_a_form_that_there_is_not_and_one_for_what_is_no_box_are_errors() -> None:
    with pytest.raises(OptionError, match=r"gird.*Did you mean 'grid'"):
        Stated(decode="gird")
    with pytest.raises(OptionError, match=r"--decode.*is of boxes"):
        head_of(nets.classifier(4), Stated(decode="grid"))
