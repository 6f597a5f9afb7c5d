"""What is explained of outputs with places: scores and gradients beside plain loops and central differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import head_nets as nets
import numpy as np
import pytest

from fgcam_onnx import Explainer, export
from fgcam_onnx.errors import AbsentError, TargetError
from fgcam_onnx.heads import Stated
from fgcam_onnx.targets import Class, Classes, Detection, Difference, Element, Foremost, Probability, Region


def picture(side: int, seed: int = 1) -> Any:
    return nets.rng(seed).normal(size=(1, 3, side, side)).astype(np.float32)


def gradient_agrees(model: Any, x: Any, target: Any, read: Callable[[Any], float], **options: Any) -> Any:
    """Hold the gradient that is explained against central differences of what is read off the output."""
    found = Explainer(model, method="saliency", layers="input", **options)(x, target=target)
    order = np.argsort(-found.map[0], axis=None)
    pixels = np.argwhere(np.ones(x.shape[2:]))[[*order[:15], *nets.rng(3).choice(order[15:], 15, replace=False)]]
    numeric, given = nets.slope(model, x, read, pixels=pixels), found.map[0][tuple(pixels.T)]
    assert numeric.max() > 0
    np.testing.assert_allclose(given, numeric, rtol=1e-3, atol=1e-4 * numeric.max())
    with pytest.raises(AssertionError):  # negative control: 1 % off
        np.testing.assert_allclose(1.01 * given, numeric, rtol=1e-3, atol=1e-4 * numeric.max())
    return found


# ---- maps of classes


@pytest.mark.parametrize("last", [False, True])
def test_a_class_of_a_segmentation_means_its_region(last: bool) -> None:
    model, x = nets.segmenter(last=last), picture(8)
    logits = nets.run(model, x)[0]
    by_class = np.moveaxis(logits, -1, 0) if last else logits
    places = np.bincount(by_class.argmax(0).ravel(), minlength=3)
    assert (places > 0).sum() > 1
    explainer = Explainer(model, method="gradcam", layers="act", head=Stated(labels=("road", "car", "sky")))
    for category in np.flatnonzero(places):
        inside = by_class.argmax(0) == category
        found = explainer(x, target=int(category))
        np.testing.assert_allclose(found.score, by_class[category][inside].sum(), rtol=1e-4)
        assert found.target.tolist() == [-1]
        assert found.described == (f"region of {('road', 'car', 'sky')[category]}",)
        np.testing.assert_array_equal(found.map, explainer(x, target=Region(int(category))).map)
    largest = explainer(x)
    np.testing.assert_array_equal(largest.map, explainer(x, target=int(places.argmax())).map)
    assert largest.described[0].startswith("largest region of")
    for absent in np.flatnonzero(places == 0):
        with pytest.raises(AbsentError, match="nowhere the top class"):
            explainer(x, target=int(absent))
    with pytest.raises(TargetError, match="classes 0 to 2"):
        explainer(x, target=3)


def test_the_gradient_of_a_region_is_that_of_its_sum() -> None:
    model, x = nets.segmenter(), picture(8)
    logits = nets.run(model, x)[0]
    category = int(np.bincount(logits.argmax(0).ravel()).argmax())
    inside = logits.argmax(0) == category
    gradient_agrees(model, x, category, lambda y: float(y[0, category][inside].sum()))


def test_a_background_is_not_the_largest_region() -> None:
    model, x = nets.segmenter(), picture(8)
    places = np.bincount(nets.run(model, x)[0].argmax(0).ravel(), minlength=3)
    order = np.argsort(-places)
    names = ["a", "b", "c"]
    names[order[0]] = "background"
    found = Explainer(model, method="gradcam", layers="act", head=Stated(labels=tuple(names)))(x)
    assert found.described[0].startswith(f"largest region of {names[order[1]]}")


def test_several_classes_of_several_pictures_are_regions() -> None:
    model = nets.segmenter()
    explainer, x = Explainer(model, method="gradcam", layers="act"), np.concatenate([picture(8, 1), picture(8, 2)])
    shown = [set(nets.run(model, x[i : i + 1])[0].argmax(0).ravel().tolist()) for i in range(2)]
    one, two = sorted(shown[0] & shown[1])[:2]
    found = explainer(x, target=Classes((one, two)))
    assert found.each == 2
    assert (found.target.tolist(), found.relative) == ([-1] * 4, (False,) * 4)
    for row, (image, category) in enumerate([(0, one), (0, two), (1, one), (1, two)]):
        alone = explainer(x[image : image + 1], target=category)
        np.testing.assert_allclose(found.map[row], alone.map[0], rtol=1e-5, atol=1e-7)
    mixed = explainer(x, target=[one, Element((two, 3, 4))])
    assert mixed.described == (f"region of class {one}", f"element {two} 3 4")


# ---- boxes


@pytest.mark.parametrize(("objectness", "turned", "extra"), [(True, False, 0), (False, True, 0), (False, True, 7)])
def test_a_class_of_a_detector_means_its_best_box(objectness: bool, turned: bool, extra: int) -> None:
    model, x = nets.yolo(objectness=objectness, turned=turned, extra=extra), picture(32)
    y = nets.run(model, x)[0]
    rows = y.T if turned else y
    first = 4 + objectness
    scores = rows[:, first : first + 5] * (rows[:, 4:5] if objectness else 1)
    for category in (None, 2):
        box, best = np.unravel_index(scores.argmax(), scores.shape) if category is None else (scores[:, 2].argmax(), 2)

        def read(output: Any, box: int = int(box), best: int = int(best)) -> float:
            row = (output[0].T if turned else output[0])[box].astype(np.float64)
            return float(row[first + best] * (row[4] if objectness else 1))

        found = gradient_agrees(model, x, category, read)
        np.testing.assert_allclose(found.score, scores[box, best], rtol=1e-5)
        cx, cy, w, h = rows[box, :4]
        corners = " ".join(f"{v:g}" for v in np.round([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]))
        word = "top" if category is None else "best"
        assert found.described == (f"class {best} in {word} box {corners}",)


def test_boxes_of_a_sigmoid_are_read_as_the_output_has_them() -> None:
    model, x = nets.detr(), picture(32)
    y = nets.run(model, x)[0]
    box, best = np.unravel_index(y[:, 4:].argmax(), (64, 5))
    found = gradient_agrees(model, x, None, lambda out: float(out[0, box, 4 + best]))
    np.testing.assert_allclose(found.score, y[:, 4:].max(), rtol=1e-5)
    cx, cy, w, h = y[box, :4] * 32
    near = Detection((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))
    again = Explainer(model, method="saliency", layers="input", before_softmax=False)(x, target=near)
    np.testing.assert_allclose(again.score, found.score, rtol=1e-5)


def test_the_best_of_an_end_to_end_detector_have_a_class_each() -> None:
    model, x = nets.end_to_end(), picture(16)
    y = nets.run(model, x)[0]
    found = gradient_agrees(model, x, None, lambda out: float(out[0, 0, 4]))
    np.testing.assert_allclose(found.score, y[:, 4].max(), rtol=1e-5)
    assert found.described[0].startswith(f"class {int(y[0, 5])} in top box")
    explainer = Explainer(model, method="gradcam", layers="act")
    with pytest.raises(AbsentError, match="no box is of class 9"):
        explainer(x, target=9)
    x0, y0, x1, y1 = y[2, :4]
    near = explainer(x, target=Detection((x0, y0, x1, y1), int(y[2, 5]), overlap=0.99))
    assert near.score[0] >= y[2, 4] * (1 - 1e-5)


# ---- several heads


def test_a_class_of_several_heads_is_where_it_is_surest() -> None:
    model, x = nets.plates(), picture(8)
    y = nets.run(model, x)[0]
    logits = nets.run(model, x, "r")[0][0]
    explainer = Explainer(model, method="gradcam", layers="act")
    place, letter = np.unravel_index(y.argmax(), y.shape)
    found = explainer(x)
    np.testing.assert_allclose(found.score, logits[place, letter], rtol=1e-5)
    assert found.described == (f"class {letter} at surest position {place}",)
    found = explainer(x, target=5)
    np.testing.assert_allclose(found.score, logits[y[:, 5].argmax(), 5], rtol=1e-5)
    together = explainer(np.concatenate([x, picture(8, 2)]))
    assert together.target.tolist() == [-1, -1]
    np.testing.assert_allclose(together.score[0], logits[place, letter], rtol=1e-4)


# ---- probabilities


@pytest.mark.parametrize(
    ("model", "at", "index"),
    [
        (nets.classifier(1, end="Sigmoid"), (0,), 0), (nets.classifier(4, end="Sigmoid"), (2,), 2),
        (nets.classifier(4, end="Softmax<axis=1>"), (2,), 2), (nets.plates(), (3, 5), (3, 5)),
        (nets.plates(), (0, 5), 5),
    ],
)  # fmt: skip
def test_a_probability_is_what_the_end_makes_of_the_score(model: Any, at: tuple[int, ...], index: Any) -> None:
    x = picture(8)
    found = gradient_agrees(model, x, Probability(index), lambda y: float(y[(0, *at)]))
    np.testing.assert_allclose(found.score, nets.run(model, x)[(0, *at)], rtol=1e-4)


def test_an_output_that_is_a_probability_already_is_taken_as_it_is() -> None:
    model, x = nets.classifier(4, end="Softmax<axis=1>"), picture(8)
    found = Explainer(model, method="gradcam", layers="act", before_softmax=False)(x, target=Probability(1))
    np.testing.assert_allclose(found.score, nets.run(model, x)[0, 1], rtol=1e-5)


# ---- what is refused


@pytest.mark.parametrize("target", [Class(1), Difference(0, 1)])
def test_a_flat_index_is_never_called_a_class(target: Any) -> None:
    with pytest.raises(TargetError, match="region:CLASS"):
        Explainer(nets.segmenter(), method="gradcam", layers="act")(picture(8), target=target)


def test_what_is_not_known_lists_the_choices() -> None:
    embedding = Explainer(nets.classifier(6), method="gradcam", layers="act", head=Stated("embedding"))
    with pytest.raises(TargetError, match="like:PICTURE, element:I"):
        embedding(picture(8))
    assert embedding(picture(8), target=3).described == ("element 3",)
    classes = Explainer(nets.classifier(4), method="gradcam", layers="act")
    with pytest.raises(TargetError, match="a class by index"):
        classes(picture(8), target=Foremost())
    with pytest.raises(TargetError, match="no probability"):
        Explainer(nets.classifier(1), method="gradcam", layers="act")(picture(8), target=Probability(0))


def test_a_file_with_places_is_not_exported_for_a_flat_index(tmp_path: Any) -> None:
    with pytest.raises(TargetError, match="a file explains a class of the whole picture"):
        export(nets.segmenter(), tmp_path / "out.onnx", method="gradcam", layers="act")


@pytest.mark.parametrize("batch", ["N", 2])
def test_a_softmax_of_positions_of_an_old_opset_has_one_row_for_each_image(batch: Any) -> None:
    body = (
        "a = Conv<strides=[4,4]>(x, K)  act = Relu(a)  sh = Shape(act)  n = Slice(sh, zero, one)  "
        "s3 = Concat<axis=0>(n, tail)  b = Reshape(act, s3)  t = Transpose<perm=[0,2,1]>(b)  l = MatMul(t, V)  "
        "y = Softmax<axis=2>(l)"
    )
    model = nets.net(
        body, f"(float[{batch},3,4,16] x) => (float[{batch},4,5] y)", opset=12, K=nets.normal(1, 8, 3, 4, 4),
        V=nets.normal(2, 8, 5) * 0.1, zero=np.array([0]), one=np.array([1]), tail=np.array([8, -1]),
    )  # fmt: skip
    x = nets.rng(4).normal(size=(2, 3, 4, 16)).astype(np.float32)
    y, logits = nets.run(model, x), nets.run(model, x, "l")[0]
    found = Explainer(model, method="gradcam", layers="act")(x)
    places = [np.unravel_index(row.argmax(), row.shape) for row in y]
    np.testing.assert_allclose(found.score, [logits[i][at] for i, at in enumerate(places)], rtol=1e-4)
    assert found.map.shape == (2, 1, 4)
    some = Explainer(model, method="gradcam", layers="act")(x, target=[3, 4])
    np.testing.assert_allclose(some.score, [logits[i, y[i, :, c].argmax(), c] for i, c in enumerate((3, 4))], rtol=1e-4)
