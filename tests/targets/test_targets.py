"""Targets that are no class: their weights beside plain loops, their maps beside those of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nets import BASE, images, small_cnn
from target_nets import close, dense_net, rng, yolo
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

CHEAP = {"samples": 3, "segments": 4, "masks": 12, "steps": 4, "window": 4, "stride": 3}
"""Settings that keep the methods with many runs short."""

OTHERS = ({"method": "fgcam", "layers": "input", "base": "scorecam", "denoise": True}, {"aug_smooth": True})


ATTENTION_ONLY = ("chefer", "legrad")


def cheap(method: str) -> dict[str, Any]:
    return {"method": method} | {n: v for n, v in CHEAP.items() if n in METHODS[method].settings}


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
