"""What an output means is found out, from its shape, its end, names, what the file says and the graph behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import head_nets as nets
import numpy as np
import onnx
import pytest

from fgcam_onnx import Explainer, load
from fgcam_onnx.errors import OptionError, TargetError
from fgcam_onnx.heads import Head, Stated, meaning_of


def head_of(model: onnx.ModelProto, stated: Stated = Stated(), output: str | None = None) -> Head:  # noqa: B008
    return meaning_of(load(model), output, source="x", stated=stated)[1]


def embedder(norm: str) -> onnx.ModelProto:
    ends = "(float[N,3,8,8] x) => (float[N,6] y)"
    return nets.net(
        f"{nets.POOLED} z = MatMul(v, V)  {norm}", ends, V=nets.normal(2, 4, 6), small=np.float32(1e-12),
        one=np.array([1]),
    )  # fmt: skip


FOUND: dict[str, tuple[Any, str, int | None, int | None, str]] = {
    "classes": (nets.classifier(4), "classes", 4, None, "softmax"),
    "labels of a sigmoid": (nets.classifier(4, end="Sigmoid"), "classes", 4, None, "sigmoid"),
    "one sigmoid": (nets.classifier(1, end="Sigmoid"), "classes", 1, None, "sigmoid"),
    "one number": (nets.classifier(1), "number", 1, None, ""),
    "channels first": (nets.segmenter(), "map", 3, 0, ""),
    "channels last": (nets.segmenter(last=True), "map", 3, 2, ""),
    "a plate": (nets.plates(), "several", 11, 1, "softmax"),
    "DETR": (nets.detr(), "boxes", 5, 1, "done"),
    "YOLOX": (nets.yolo(objectness=True, turned=False), "boxes", 5, 1, ""),
    "YOLOv8": (nets.yolo(objectness=False, turned=True), "boxes", 5, 0, ""),
    "YOLOv10": (nets.end_to_end(), "boxes", None, 1, ""),
    "length 1": (embedder("y = LpNormalization<axis=1, p=2>(z)"), "embedding", 6, None, ""),
    "over its length": (
        embedder("n = ReduceL2<axes=[1]>(z)  m = Max(n, small)  y = Div(z, m)"), "embedding", 6, None, "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FOUND)
def test_what_an_output_means_is_found_out(what: str) -> None:
    model, kind, count, axis, made = FOUND[what]
    head = head_of(model)
    assert (head.kind, head.count, head.axis, head.made) == (kind, count, axis, made)
    assert head.why


COLUMNS: dict[str, tuple[Any, tuple[bool, int | None, int, int]]] = {
    "objectness by itself": (nets.yolo(objectness=True, turned=False), (False, 4, 5, 5)),
    "objectness, attributes first": (nets.yolo(objectness=True, turned=True), (True, 4, 5, 5)),
    "none, attributes last": (nets.yolo(objectness=False, turned=False), (False, None, 4, 5)),
    "masks behind": (nets.yolo(objectness=False, turned=True, extra=7), (True, None, 4, 5)),
    "an angle behind": (nets.yolo(objectness=False, turned=True, extra=1), (True, None, 4, 5)),
    "points behind, by names": (
        nets.yolo(objectness=False, turned=True, extra=6, joined=False,
                  metadata={"names": "{0: 'a', 1: 'b', 2: 'c', 3: 'd', 4: 'e'}", "task": "pose"}),
        (True, None, 4, 5),
    ),
    "objectness, by names": (
        nets.yolo(objectness=True, turned=False, joined=False, metadata={"names": "['a', 'b', 'c', 'd', 'e']"}),
        (False, 4, 5, 5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", COLUMNS)
def test_where_objectness_and_classes_stand_is_read_off(what: str) -> None:
    model, wanted = COLUMNS[what]
    head = head_of(model)
    assert head.kind == "boxes"
    columns = head.columns
    assert columns is not None
    assert columns.known
    assert (columns.turned, columns.objectness, columns.first, columns.count) == wanted


def test_what_cannot_be_read_is_asked_for_and_an_answer_is_taken() -> None:
    model = nets.yolo(objectness=False, turned=False, joined=False)
    x = nets.rng(1).normal(size=(1, 3, 32, 32)).astype(np.float32)
    with pytest.raises(TargetError, match=r"--head"):
        Explainer(model, method="gradcam", layers="act")(x)
    with pytest.raises(TargetError, match="--no-objectness"):
        Explainer(model, method="gradcam", layers="act", head=Stated("boxes"))(x)
    y = nets.run(model, x)[0]
    for objectness, scores in ((False, y[:, 4:]), (True, y[:, 4:5] * y[:, 5:])):
        explainer = Explainer(model, method="gradcam", layers="act", head=Stated("boxes", objectness=objectness))
        found = explainer(x)
        np.testing.assert_allclose(found.score, scores.max(), rtol=1e-5)
        assert f"class {scores.max(0).argmax()} in top box" in found.described[0]


# ---- names


def test_names_in_the_file_and_beside_it_are_taken(tmp_path: Path) -> None:
    told = {"names": "{0: 'cat', 1: 'dog', 2: 'emu', 3: 'fox'}", "task": "classify"}
    assert head_of(nets.classifier(4, metadata=told)).labels == ("cat", "dog", "emu", "fox")
    path = tmp_path / "model.onnx"
    onnx.save(nets.segmenter(), path)
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "road", "1": "car", "2": "sky"}}))
    assert Explainer(path, method="gradcam").head.labels == ("road", "car", "sky")
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "road", "1": "car"}}))
    head = Explainer(path, method="gradcam").head
    assert head.labels == ()
    assert "do not fit" in head.notes[0]


@pytest.mark.parametrize("count", [3, 5, 10])
def test_names_that_do_not_fit_are_refused(count: int) -> None:
    names = tuple(f"n{i}" for i in range(count))
    with pytest.raises(OptionError, match=f"{count} labels for 4 classes"):
        head_of(nets.classifier(4), Stated(labels=names))


def test_a_first_name_background_is_left_out_and_said() -> None:
    head = head_of(nets.classifier(4), Stated(labels=("background", "a", "b", "c", "d")))
    assert head.labels == ("a", "b", "c", "d")
    assert "background" in head.notes[0]
    with pytest.raises(OptionError, match="nothing there has a name"):
        head_of(nets.classifier(1), Stated(labels=("no", "yes")))


def test_what_is_said_rules_over_what_is_found() -> None:
    assert head_of(nets.classifier(6), Stated("embedding")).kind == "embedding"
    assert head_of(nets.classifier(6), Stated("number")).made == ""
    assert head_of(nets.plates(), Stated("several")).why == "as was said"
    with pytest.raises(OptionError, match=r"clases.*classes"):
        Stated("clases")
    with pytest.raises(TargetError, match="is not a score for each class, at each place"):
        head_of(nets.classifier(4), Stated("map"))


def test_the_points_of_a_single_class_are_no_classes() -> None:
    head = head_of(nets.yolo(objectness=False, turned=True, extra=6, classes=1))
    assert head.columns is not None
    assert (head.columns.first, head.columns.count, head.columns.objectness) == (4, 1, None)


@pytest.mark.parametrize("cast", ["", "Cast<to=1>", "Cast<to=3>"])
def test_an_output_behind_an_argmax_is_refused_naming_the_one_before_it(cast: str) -> None:
    kind = {"": "int64", "Cast<to=1>": "float", "Cast<to=3>": "int8"}[cast]
    body = f"{nets.FEATURES} z = Conv(act, V)  q = ArgMax<axis=1, keepdims=0>(z)  y = {cast or 'Identity'}(q)"
    model = nets.net(body, f"(float[1,3,8,8] x) => ({kind}[1,8,8] y)", V=nets.normal(1, 3, 4, 1, 1))
    for method in ("gradcam", "rise", "fgcam"):
        with pytest.raises(TargetError, match=r"ArgMax.*--output z"):
            Explainer(model, method=method)
    x = nets.rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32)
    found = Explainer(model, method="gradcam", layers="act", output="z")(x)
    top = int(np.bincount(nets.run(model, x).astype(int).ravel()).argmax())
    assert found.described[0].startswith(f"largest region of class {top}")
