"""Targets that are no class: their weights beside plain loops, their maps beside those of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nets import BASE, images, model_of, node, small_cnn, small_weights
from onnx import helper, numpy_helper
from token_nets import transformer

from fgcam_onnx import Explainer, explain
from fgcam_onnx.errors import AbsentError, OptionError, TargetError
from fgcam_onnx.methods import METHODS
from fgcam_onnx.targets import (
    Classes,
    Detection,
    Difference,
    Element,
    Objective,
    Predicted,
    Region,
    Similarity,
    Sum,
    Weighted,
)

CHEAP = {"samples": 3, "masks": 12, "steps": 4, "window": 4, "stride": 3}
"""Settings that keep the methods with many runs short."""

OTHERS = ({"method": "fgcam", "layers": "input", "base": "scorecam", "denoise": True}, {"aug_smooth": True})


ATTENTION_ONLY = ("chefer",)


def cheap(method: str) -> dict[str, Any]:
    return {"method": method} | {n: v for n, v in CHEAP.items() if n in METHODS[method].settings}


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng([11, *seed])


def close(one: Any, other: Any, *, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * float(np.abs(other).max()))


def dense_net(*, classes: int = 4, last: bool = False, flat: bool = False) -> Any:
    """A net whose output is a map of classes, (N, classes, 12, 10), or with the classes last, or (N, 30, classes)."""
    weights = small_weights(3, classes=classes) | {
        "head.weight": rng(5).standard_normal((classes, 8, 1, 1)).astype(np.float32),
        "rows": np.array([0, classes, -1], np.int64),
    }
    nodes = [
        node("Conv", ["input", "layer1.conv.weight", "layer1.conv.bias"], "hidden", kernel_shape=[3, 3], pads=[1] * 4),
        node("Relu", ["hidden"], "features"),
        node("Conv", ["features", "head.weight"], "first", kernel_shape=[1, 1]),
    ]
    if flat:
        nodes += [node("Reshape", ["first", "rows"], "turned"), node("Transpose", ["turned"], "out", perm=[0, 2, 1])]
    else:
        nodes.append(node("Transpose", ["first"], "out", perm=[0, 2, 3, 1] if last else [0, 1, 2, 3]))
    used = {i for n in nodes for i in n.input}
    kept = {n: a for n, a in weights.items() if n in used}
    return model_of(nodes, kept, inputs={"input": ["N", 3, 12, 10]}, outputs=["out"])


# ---- classes


@pytest.mark.parametrize("options", [*map(cheap, METHODS), *OTHERS], ids=lambda o: "-".join(map(str, o.values())))
def test_weights_that_choose_a_class_give_the_map_of_the_class(options: dict[str, Any]) -> None:
    attends = options.get("method") in ATTENTION_ONLY
    net, x = (transformer(), images(3, size=(8, 12))) if attends else (small_cnn(), images(3))
    explainer = Explainer(net, **options)
    wanted = explainer(x, target=2)
    for target in (Weighted(np.eye(wanted.scores.shape[1])[2]), Sum((2,)), Element(2), Element((2,))):
        found = explainer(x, target=target)
        close(found.map, wanted.map)
        close(found.score, wanted.score)
        close(found.scores, wanted.scores)
        assert found.target.tolist() == [-1, -1, -1]
        assert len(found.described) == 3


def test_grad_cam_of_a_sum_or_difference_is_that_of_the_maps() -> None:
    explainer, x = Explainer(small_cnn(), method="gradcam"), images(3)
    one, two = explainer(x, target=1), explainer(x, target=4)
    together, apart = explainer(x, target=Sum((1, 4))), explainer(x, target=Difference(1, 4))
    close(together.map, one.map + two.map)
    close(apart.map, one.map - two.map)
    close(apart.score, one.score - two.score)
    with pytest.raises(AssertionError):  # negative control: the other way round
        close(apart.map, two.map - one.map)
    assert Difference(1, 4, labels=("a", "b, c", "d", "e", "f, g")).aim(Predicted(one.scores)).described[0] == "b - f"


def test_several_classes_give_a_map_for_each_image_and_class() -> None:
    explainer, x = Explainer(small_cnn(), layers=("input", BASE), batch=4), images(3)
    found = explainer(x, target=Classes((3, 0)))
    assert found.each == 2
    assert found.target.tolist() == [3, 0] * 3
    for position, index in enumerate((3, 0)):
        alone = explainer(x, target=index)
        for layer, maps in found.maps.items():
            close(maps[position::2], alone.maps[layer])
        np.testing.assert_allclose(found.score[position::2], alone.score, rtol=1e-5)
    rows = explainer(x, target=[[3, 0], [1, 2], [4, 4]])
    assert rows.target.tolist() == [3, 0, 1, 2, 4, 4]
    close(rows.maps["input"][2], explainer(x[1:2], target=1).maps["input"][0])


def test_a_list_gives_each_image_a_target_of_its_own() -> None:
    explainer, x = Explainer(small_cnn(), method="gradcam"), images(3)
    found = explainer(x, target=[Difference(0, 1), 4, Element(2)])
    for i, target in enumerate((Difference(0, 1), 4, 2)):
        close(found.map[i], explainer(x[i : i + 1], target=target).map[0])
    assert found.described == ("class 0 - class 1", "class 4", "element 2")


def test_a_fixed_batch_takes_other_targets_too() -> None:
    x = images(3)
    for batch in (1, 2):
        fixed = Explainer(small_cnn(batch=batch), method="gradcam")
        close(
            fixed(x, target=Difference(0, 1)).map,
            explain(small_cnn(), x, target=Difference(0, 1), method="gradcam").map,
        )
        close(fixed(x, target=Classes((0, 1))).map[1::2], fixed(x, target=1).map)


def test_the_logits_are_those_before_the_softmax() -> None:
    explainer, x = Explainer(small_cnn(tail="Softmax")), images()
    np.testing.assert_array_equal(explainer.predict(x), Explainer(small_cnn()).predict(x))
    np.testing.assert_array_equal(explainer.predict(x), explainer(x).scores)


# ---- similarity


def test_similarity_weighs_by_the_gradient_of_the_cosine() -> None:
    explainer, x = Explainer(small_cnn(), method="gradcam"), images(3)
    reference = explainer.predict(images(1, seed=9))[0]
    z = explainer.predict(x).astype(np.float64)

    def cosine(v: Any) -> Any:
        return v @ reference / np.linalg.norm(v, axis=1) / np.linalg.norm(reference)

    numeric = np.stack([(cosine(z + h) - cosine(z - h)) / 2e-6 for h in 1e-6 * np.eye(5)], 1)
    aim = Similarity(reference).aim(Predicted(z.astype(np.float32)))
    np.testing.assert_allclose(aim.weights, numeric, rtol=1e-4, atol=1e-5)
    found = explainer(x, target=Similarity(reference))
    np.testing.assert_allclose(found.score, cosine(z), rtol=1e-5)
    close(found.map, explainer(x, target=Weighted(numeric)).map, tolerance=1e-4)
    with pytest.raises(AssertionError):  # negative control: the direction of the reference is not the gradient
        np.testing.assert_allclose(aim.weights, np.tile(reference, (3, 1)), rtol=1e-4, atol=1e-5)


# ---- regions


@pytest.mark.parametrize("last", [False, True])
def test_a_region_sums_the_category_where_it_is_the_top_one(last: bool) -> None:
    explainer, x = Explainer(dense_net(last=last), method="gradcam", layers="features"), images(2)
    logits = explainer.predict(x)
    by_class = np.moveaxis(logits, -1, 1) if last else logits
    category = int(np.bincount(by_class.argmax(1).ravel()).argmax())
    weights = np.zeros_like(by_class)
    score = np.zeros(2)
    for n in range(2):
        for i in range(12):
            for j in range(10):
                if by_class[n, :, i, j].argmax() == category:
                    weights[n, category, i, j] = 1
                    score[n] += by_class[n, category, i, j]
    found = explainer(x, target=Region(category))
    np.testing.assert_allclose(found.score, score, rtol=1e-5)
    wanted = explainer(x, target=Weighted(np.moveaxis(weights, 1, -1) if last else weights))
    close(found.map, wanted.map)
    mask = rng(6).random((12, 10)) < 0.3
    masked = explainer(x, target=Region(1, mask))
    np.testing.assert_allclose(masked.score, (by_class[:, 1] * mask).sum((1, 2)), rtol=1e-4)


def test_a_box_is_in_pixels_of_the_input() -> None:
    logits = rng(7).standard_normal((1, 3, 6, 5)).astype(np.float32)
    aim = Region(2, box=(4, 0, 20, 12)).aim(Predicted(logits, size=(24, 40)))
    weights = np.zeros_like(logits)
    weights[0, 2, :3, 0:2] = 1  # cells of 4 x 8 pixels whose centres, 4, 12 and 2, 6, 10, lie in the box
    weights[0, 2, :3, 2] = 0
    np.testing.assert_array_equal(aim.weights, weights)


def test_a_region_that_is_not_there_is_refused_and_says_what_is() -> None:
    logits = np.zeros((2, 3, 4, 4), np.float32)
    logits[:, 1] = 1
    with pytest.raises(AbsentError, match=r"image 0: dog is nowhere.*\(cat\)"):
        Region(2, labels=("wall", "cat", "dog")).aim(Predicted(logits))
    one = np.where(np.arange(16).reshape(1, 1, 4, 4) < 3, 1, -1).astype(np.float32)
    assert Region(0).aim(Predicted(one)).weights.sum() == 3
    with pytest.raises(AbsentError):
        Region(0).aim(Predicted(-np.abs(one)))


# ---- detections

BOXES = np.array([[50, 50, 20, 20], [50, 52, 22, 20], [20, 70, 10, 30], [80, 20, 30, 10]], np.float64)
"""Centre x and y, width, height."""


def yolo(*, objectness: bool) -> Any:
    scores = rng(8).uniform(0.1, 0.9, (len(BOXES), 3))
    first = [BOXES, rng(9).uniform(0.2, 1, (len(BOXES), 1))] if objectness else [BOXES]
    return np.concatenate([*first, scores], 1).astype(np.float32)[None]


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


# ---- what is refused


@pytest.mark.parametrize(
    ("target", "word"),
    [
        (Difference(0, 5), "0 to 4"), (Difference(1, 1), "itself"), (Sum((1, -1)), "0 to 4"), (Sum(()), "one at least"),
        (Sum((1, 1)), "differ"), (Sum((1.5,)), "index"), (Element(5), "out of range"), (Element((0, 1)), "2 indices"),
        (Weighted(np.zeros(5)), "nothing to explain"), (Weighted(np.ones(4)), r"\(4,\)"),
        (Weighted([np.nan] * 5), "finite"), (Weighted(["a"] * 5), "finite"), (Region(0), "classes, h, w"),
        (Detection((0, 0, 1, 1)), "boxes, attributes"), (Detection((0, 0, 0, 1)), "x0 < x1"),
        (Detection((0, 0, np.nan, 1)), "x0 < x1"), (Similarity(np.ones(4)), "4 numbers"),
        (Similarity(np.zeros(5)), "all 0"), ([Difference(0, 1)], "1 targets for 2 images"),
        ([Difference(0, 1)] * 3, "3 targets"), (Classes((0, 5)), "0 to 4"), ([[0, 1]], "1 rows for 2 images"),
        ([Difference(0, 1), 7], "0 to 4"), ([Difference(0, 1), "cat"], "index"),
    ],
)  # fmt: skip
def test_targets_that_do_not_fit_are_refused(target: Any, word: str) -> None:
    with pytest.raises(TargetError, match=word):
        explain(small_cnn(), images(), target=target, method="gradcam")


@pytest.mark.parametrize(
    ("target", "word"),
    [
        (Region(0, np.ones((4, 4))), r"\(4, 4\).*12 x 10"), (Region(0, np.ones((12, 10)), (0, 0, 5, 5)), "not both"),
        (Region(4), "0 to 3"), (Region(0, np.zeros((12, 10))), "empty"),
        (Region(0, box=(0.6, 0, 0.9, 9)), "no position"),
        (Region(0, axis=2), "axis 1 or 3"), (Region(0, np.full((12, 10), np.inf)), "finite"),
    ],
)  # fmt: skip
def test_regions_that_do_not_fit_are_refused(target: Any, word: str) -> None:
    with pytest.raises(TargetError, match=word):
        explain(dense_net(), images(), target=target, method="gradcam", layers="features")


def test_no_class_is_an_error_and_so_are_unknown_boxes() -> None:
    with pytest.raises(TargetError, match="no class"):
        Classes(())
    output = yolo(objectness=False)
    with pytest.raises(OptionError, match=r"xyx.*Did you mean"):
        Detection((0, 0, 1, 1), boxes="xyx").aim(Predicted(output))
    with pytest.raises(OptionError, match="overlap"):
        Detection((0, 0, 1, 1), overlap=0).aim(Predicted(output))


def test_every_target_has_a_description_that_is_short() -> None:
    for target in (Sum((0, 1)), Difference(0, 1), Element(3), Weighted(np.ones(5)), Similarity(np.ones(5), name="cat")):
        assert isinstance(target, Objective)
        (text,) = target.aim(Predicted(rng(12).standard_normal((1, 5)).astype(np.float32))).described
        assert 0 < len(text) < 60
