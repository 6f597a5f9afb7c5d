"""Maps that may be no classes, and outputs behind a choice of boxes, are asked about and not guessed."""

from __future__ import annotations

from pathlib import Path

import head_nets as nets
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from test_heads import embedder, head_of
from test_heads_explained import gradient_agrees, picture

from fgcam_onnx import Explainer, export
from fgcam_onnx.cli import cli
from fgcam_onnx.errors import AbsentError, TargetError
from fgcam_onnx.heads import Stated
from fgcam_onnx.targets import Element


def mapped(channels: int, end: str) -> onnx.ModelProto:
    return nets.net(
        f"{nets.FEATURES} z = Conv(act, V)  y = {end}(z)", f"(float[1,3,8,8] x) => (float[1,{channels},8,8] y)",
        V=nets.normal(1, channels, 4, 1, 1),
    )  # fmt: skip


MAPS = {
    "an autoencoder": (3, "Sigmoid", "unknown", False),
    "pixels from -1 to 1": (3, "Tanh", "unknown", False),
    "three classes or three colours": (3, "Identity", "map", True),
    "classes by a softmax": (3, "Softmax<axis=1>", "map", False),
    "depths": (1, "Relu", "unknown", False),
    "a mask": (1, "Sigmoid", "map", False),
    "one raw channel": (1, "Identity", "map", True),
    "five classes": (5, "Sigmoid", "map", False),
}


@pytest.mark.parametrize("what", MAPS)
def test_a_map_of_numbers_is_not_taken_for_classes(what: str) -> None:
    channels, end, kind, guessed = MAPS[what]
    model = mapped(channels, end)
    found = head_of(model)
    assert (found.kind, found.guessed) == (kind, guessed)
    if kind == "unknown":
        with pytest.raises(TargetError, match=r"Choose element:I,J,K; or say .*--head"):
            Explainer(model, method="saliency")(picture(8))
        assert head_of(model, Stated("map")).count == channels


CHOSEN = (
    f"{nets.CELLS} u = MatMul(t, V)  c = Sigmoid(u)  s = Transpose<perm=[0,2,1]>(c)  ub = MatMul(t, Vb) "
    "b = Sigmoid(ub)  n = NonMaxSuppression(b, s, most, overlap, least)  i = Gather<axis=1>(n, two) "
    "j = Squeeze(i, one)  flat = Squeeze(c, zero)  best = ReduceMax<axes=[1], keepdims=0>(flat) "
    "y = Gather<axis=0>(best, j)"
)


def test_as_many_answers_as_a_choice_of_boxes_leaves_are_refused_naming_what_it_chooses_from() -> None:
    model = nets.net(
        CHOSEN, "(float[1,3,32,32] x) => (float[M] y)", V=nets.normal(4, 4, 5), Vb=nets.normal(5, 4, 4),
        most=np.array([5]), overlap=np.array([0.5], np.float32), least=np.array([0.1], np.float32),
        zero=np.array([0]), one=np.array([1]), two=np.array([2]),
    )  # fmt: skip
    with pytest.raises(TargetError, match=r"'NonMaxSuppression'.* finds in a picture.*--output c"):
        Explainer(model, method="saliency")
    x = picture(32)
    scores = nets.run(model, x, "c")[0]
    best = np.unravel_index(int(scores[0].argmin()), scores[0].shape)
    told = Explainer(model, method="saliency", output="c")(x, target=Element(tuple(map(int, best))))
    np.testing.assert_allclose(told.score, scores.min(), rtol=1e-5)


def test_rows_that_a_detector_leaves_empty_are_no_detections() -> None:
    """Four rows of two numbers of cells, filled with zeros where a score is below the threshold."""
    keep = "k = Greater(m, least)  kf = Cast<to=1>(k)  z = Mul(j, kf)"
    body = (
        f"{nets.CELLS} ub = MatMul(t, Vb)  b = Sigmoid(ub)  h = Mul(b, size)  lo, wh = Split<axis=2>(h, halves) "
        "hi = Add(lo, wh)  uc = MatMul(t, Vc)  c = Sigmoid(uc)  m = ReduceMax<axes=[2], keepdims=1>(c) "
        "l = ArgMax<axis=2>(c)  lf = Cast<to=1>(l)  j = Concat<axis=2>(lo, hi, m, lf) "
    )
    ends = "(float[1,3,32,32] x) => (float[1,64,6] y)"
    weights = {
        "Vb": nets.normal(8, 4, 4), "Vc": nets.normal(9, 4, 5) * 0.1, "size": np.float32(16),
        "halves": np.array([2, 2]),
    }  # fmt: skip
    x, told = picture(32), {"task": "detect", "end2end": "True"}
    for least, found in ((0.0, True), (1.0, False)):
        model = nets.net(f"{body} {keep}  y = Identity(z)", ends, least=np.float32(least), metadata=told, **weights)
        explainer = Explainer(model, method="saliency")
        assert explainer.head.kind == "boxes"
        if found:
            assert explainer(x).score[0] > 0.5
        else:
            with pytest.raises(AbsentError, match="no box was found"):
                explainer(x)


def test_the_boxes_of_an_end_to_end_detector_may_be_centres_and_sizes() -> None:
    """Shares of the picture that end in a sigmoid, as RT-DETR's."""
    model = nets.net(
        f"{nets.CELLS} ub = MatMul(t, Vb)  b = Sigmoid(ub)  uc = MatMul(t, Vc)  c = Sigmoid(uc) "
        "m = ReduceMax<axes=[2], keepdims=1>(c)  l = ArgMax<axis=2>(c)  lf = Cast<to=1>(l) "
        "y = Concat<axis=2>(b, m, lf)",
        "(float[1,3,32,32] x) => (float[1,64,6] y)", Vb=nets.normal(8, 4, 4) * 0.2, Vc=nets.normal(9, 4, 5) * 0.2,
        metadata={"task": "detect"},
    )  # fmt: skip
    x = picture(32)
    rows = nets.run(model, x)[0]
    x_, y_, width, height, score, label = rows[rows[:, 4].argmax()]
    sides = [x_ - width / 2, y_ - height / 2, x_ + width / 2, y_ + height / 2]
    box = " ".join(f"{round(32 * float(side)):d}" for side in sides)
    found = gradient_agrees(model, x, None, lambda out: float(out[0, :, 4].max()))
    assert found.described == (f"class {int(label)} in top box {box}",)
    np.testing.assert_allclose(found.score, score, rtol=1e-5)


def test_scores_whose_batch_is_split_and_squeezed_away_are_read_by_their_softmax() -> None:
    """As torchvision's detectors take their pictures apart before boxes are chosen."""
    model = nets.net(
        f"{nets.CELLS} u = MatMul(t, V)  c = Softmax<axis=2>(u)  one = Split<axis=0>(c)  y = Squeeze(one, zero)",
        "(float[1,3,32,32] x) => (float[64,5] y)", V=nets.normal(4, 4, 5) * 0.3, zero=np.array([0]),
    )  # fmt: skip
    x = picture(32)
    raw, y = nets.run(model, x, "u")[0][0], nets.run(model, x)
    place = int(y[:, 2].argmax())
    found = Explainer(model, method="saliency")(x, target=2)
    assert head_of(model).kind == "several"
    assert found.described == (f"class 2 at its surest position {place}",)
    np.testing.assert_allclose(found.score, raw[place, 2], rtol=1e-5)


def test_the_largest_element_of_an_embedding_is_not_exported_as_a_class(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="its largest element is no class"):
        export(embedder("y = LpNormalization<axis=1, p=2>(z)"), tmp_path / "out.onnx", method="saliency")


@pytest.mark.parametrize("target", ["region:1", "box:1,2,3,4", "element:0,1,1"])
def test_an_export_says_that_places_are_no_target_of_a_file(tmp_path: Path, target: str) -> None:
    onnx.save(nets.segmenter(), tmp_path / "model.onnx")
    said = CliRunner().invoke(
        cli, ["export", str(tmp_path / "model.onnx"), "-o", str(tmp_path / "out.onnx"), "--target", target]
    )
    assert isinstance(said.exception, TargetError)
    assert "a file explains" in str(said.exception)
