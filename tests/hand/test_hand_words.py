"""What is explained is said in words, as on the command line, and several targets are rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nets import images, small_cnn
from target_nets import dense_net

from fgcam_onnx import Explainer
from fgcam_onnx.errors import OptionError, TargetError
from fgcam_onnx.targets import Against, Class, Classes, Difference, Element, Similarity, Sum, Top

MODELS = Path(__file__).parents[2] / "exported_models"
RESNET, TWO = MODELS / "resnet_shapes.dynamo.onnx", MODELS / "pictures" / "two.png"
STAR = TWO.with_name("star.png")
NAMES = ("ant", "bee, wasp", "cat", "dog", "emu")


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(small_cnn(), method="gradcam", labels=NAMES)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("cat", 2), ("wasp", 1), ("3", 3), ("sum:ant,3", Sum((0, 3))), ("diff:emu,bee", Difference(4, 1)),
        ("element:4", Element(4)), ("classes:dog,cat", Classes((3, 2))), ("top", None),
        (["cat", "ant"], [2, 0]), (["cat", 4], [2, 4]), (["diff:ant,bee", "cat"], [Difference(0, 1), 2]),
        ([["cat", "dog"], ["ant", "bee"]], [[2, 3], [0, 1]]),
    ],
)  # fmt: skip
def test_a_text_gives_the_maps_of_its_target(explainer: Explainer, text: Any, target: Any) -> None:
    said, wanted = explainer(images(2), target=text), explainer(images(2), target=target)
    np.testing.assert_array_equal(said.map, wanted.map)
    assert said.each == wanted.each
    assert said.target.tolist() == wanted.target.tolist()


@pytest.mark.parametrize("text", ["top:2", Top(2)])
def test_the_top_classes_are_rows_the_surest_first(explainer: Explainer, text: Any) -> None:
    e = explainer(images(3), target=text)
    order = np.argsort(-explainer.predict(images(3)), axis=1)[:, :2]
    np.testing.assert_array_equal(e.target.reshape(3, 2), order)
    one_by_one = [explainer(images(3), target=order[:, rank]).map for rank in range(2)]
    np.testing.assert_allclose(e.map.reshape(3, 2, *e.map.shape[1:]), np.stack(one_by_one, 1), rtol=0, atol=1e-6)
    assert explainer(images(1), target="top:99").target.size == 5


def test_of_one_image_several_targets_are_a_map_each(explainer: Explainer) -> None:
    e = explainer(images(1), target=["cat", "diff:ant,bee", 3])
    assert e.described == ("cat", "ant - bee", "dog")
    assert e.each == 3
    for row, target in enumerate((2, Difference(0, 1), 3)):
        np.testing.assert_allclose(e.map[row], explainer(images(1), target=target).map[0], rtol=0, atol=1e-6)
    assert explainer(images(1), target=("cat", "dog")).target.tolist() == [2, 3]


def test_what_an_image_was_taken_for_what_it_is_and_the_difference(explainer: Explainer) -> None:
    scores = explainer.predict(images(2))
    order = np.argsort(-scores, axis=1)
    wrong, right = int(order[0, -1]), int(order[1, 0])
    e = explainer(images(2), truth=[NAMES[wrong], right])
    first, second = (NAMES[c].split(",")[0] for c in (order[0, 0], order[0, -1]))
    assert e.described[:3] == (f"{first} (predicted)", f"{second} (true)", f"{first} - {second}")
    first, second = (NAMES[c].split(",")[0] for c in (order[1, 0], order[1, 1]))
    assert e.described[3:] == (f"{first} (predicted, true)", f"{second} (runner-up)", f"{first} - {second}")
    np.testing.assert_allclose(e.score[2], scores[0].max() - scores[0].min(), rtol=1e-5)
    maps = e.map.reshape(2, 3, *e.map.shape[1:])
    others = [(order[0, 0], wrong), (right, order[1, 1])]
    for row, (a, b) in enumerate(others):
        for column, target in enumerate((int(a), int(b), Difference(int(a), int(b)))):
            wanted = explainer(images(2), target=target).map[row]
            np.testing.assert_allclose(maps[row, column], wanted, rtol=0, atol=1e-5 * float(np.abs(wanted).max()))
    same = explainer(images(2), target=Against([wrong, right]))
    np.testing.assert_array_equal(same.map, e.map)


def test_words_find_regions_and_likeness() -> None:
    segments = Explainer(dense_net(), method="gradcam", labels=["sky", "dog", "cat", "cow"])
    shown = segments(images_of(1)).described[0].split("region of ")[1].split(" (")[0]
    np.testing.assert_array_equal(segments(images_of(1), target=f"region:{shown}").map, segments(images_of(1)).map)
    explainer = Explainer(RESNET, method="gradcam")
    e = explainer(TWO, target=f"like:{STAR}")
    wanted = explainer(TWO, target=Similarity(explainer.predict(STAR)[0]))
    np.testing.assert_array_equal(e.map, wanted.map)
    assert e.described == ("like star",)


@pytest.mark.parametrize("plain", [2, "cat", [2, 0], ["cat", "ant"]])
@pytest.mark.parametrize("name", ["target", "truth"])
def test_an_array_of_classes_or_names_is_what_it_holds(explainer: Explainer, name: str, plain: Any) -> None:
    found, wanted = explainer(images(2), **{name: np.array(plain)}), explainer(images(2), **{name: plain})
    assert found.described == wanted.described
    np.testing.assert_array_equal(found.map, wanted.map)


def images_of(count: int) -> Any:
    size = [d.dim_value for d in dense_net().graph.input[0].type.tensor_type.shape.dim][1:]
    return np.random.default_rng(2).normal(size=(count, *size)).astype(np.float32)


@pytest.mark.parametrize(
    ("given", "error", "word"),
    [
        ({"target": "cow"}, TargetError, "No label is 'cow'"),
        ({"target": ["cat", "top:2"]}, TargetError, "cannot be one of a list"),
        ({"target": ["cat", "dog", "ant"]}, TargetError, "3 targets for 2 images"),
        ({"target": [["cat"], ["dog", "diff:ant,bee"]]}, TargetError, "rows of 1, 2 targets"),
        ({"target": "top:0"}, TargetError, "top:3"),
        ({"truth": "cow"}, TargetError, "No label is 'cow'"),
        ({"truth": ["cat"]}, TargetError, "1 true classes for 2 images"),
        ({"truth": 9}, TargetError, "0 to 4"),
        ({"truth": "diff:cat,dog"}, TargetError, "an index or a label"),
        ({"truth": 1, "target": 2}, OptionError, "give one"),
    ],
)
def test_words_that_do_not_fit_are_refused(explainer: Explainer, given: Any, error: Any, word: str) -> None:
    with pytest.raises(error, match=word):
        explainer(images(2), **given)


def test_the_top_classes_of_what_ranks_none_are_refused() -> None:
    explainer = Explainer(dense_net(), method="gradcam")
    for given in ({"target": "top:2"}, {"truth": 1}):
        with pytest.raises(TargetError, match="Choose"):
            explainer(images_of(1), **given)
    assert Class(1) != Top(1)
