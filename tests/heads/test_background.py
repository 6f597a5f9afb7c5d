"""A class that is no object is known, said or asked for, and no detection is of it."""

from __future__ import annotations

from typing import Any

import head_nets as nets
import numpy as np
import onnx
import pytest
from test_heads import head_of
from test_heads_explained import gradient_agrees, picture

from fgcam_onnx import Explainer
from fgcam_onnx.errors import OptionError, TargetError
from fgcam_onnx.heads import Stated

NAMES = ("cat", "dog", "car", "boat")


def head(model: onnx.ModelProto, **said: Any) -> Any:
    from fgcam_onnx import load
    from fgcam_onnx.heads import meaning_of

    return meaning_of(load(model), "y", source="x", stated=Stated(**said))[1]


TOLD: dict[str, tuple[onnx.ModelProto, dict[str, Any], int | None]] = {
    "said first": (nets.beside("Softmax<axis=2>"), {"background": "first"}, 0),
    "said last": (nets.beside(""), {"background": "last"}, 4),
    "said none": (nets.beside(""), {"background": "none"}, None),
    "a sigmoid": (nets.beside("Sigmoid"), {}, None),
    "a name for each": (nets.beside("", centred=True), {"labels": (*NAMES, "bird")}, None),
    "a name for all but the last of a DETR": (nets.beside("", centred=True), {"labels": NAMES}, 4),
    "a name for each object, and said": (nets.beside("Softmax<axis=2>"), {"labels": NAMES, "background": "first"}, 0),
    "its name": (nets.beside("Softmax<axis=2>"), {"labels": ("background", *NAMES)}, 0),
}


@pytest.mark.parametrize("how", TOLD)
def test_the_class_that_is_no_object_is_known(how: str) -> None:
    model, said, expected = TOLD[how]
    found = head(model, **said)
    assert (found.kind, found.background) == ("boxes", expected)
    if said.get("labels") == NAMES:
        assert found.labels[expected] in ("background", "no object")


@pytest.mark.parametrize("end", ["", "Softmax<axis=2>"])
def test_where_nothing_tells_it_it_is_asked_and_a_class_needs_no_answer(end: str) -> None:
    x, explainer = picture(32), Explainer(nets.beside(end), method="saliency", output="y")
    assert explainer.head.summary()["background"] == "open"
    with pytest.raises(TargetError, match="--background first, last or none"):
        explainer(x)
    assert explainer(x, target=2).described[0].startswith("class 2 in best box")
    with pytest.raises(OptionError, match="--background first or last"):
        head(nets.beside(end), labels=NAMES)


@pytest.mark.parametrize(("stands", "objects"), [("first", slice(1, 5)), ("last", slice(0, 4))])
@pytest.mark.parametrize("end", ["", "Softmax<axis=2>"])
def test_the_top_detection_is_the_surest_object(stands: str, objects: slice, end: str) -> None:
    model, x = nets.beside(end), picture(32, seed=14)
    logits = nets.run(model, x, "u")[0][0].astype(np.float64)
    sure = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    box, category = np.unravel_index(sure[:, objects].argmax(), sure[:, objects].shape)
    category += objects.start
    assert box != logits[:, objects].max(1).argmax()  # the largest logit is of another box
    found = Explainer(model, method="saliency", output="y", head=Stated(background=stands))(x)
    assert found.described[0].startswith(f"class {category} in top box")
    np.testing.assert_allclose(found.score, logits[box, category], rtol=1e-5)
    if not end:
        gradient_agrees(model, x, None, lambda y: y[0, box, category], output="y", head=Stated(background=stands))


def test_a_blank_is_no_surest_position() -> None:
    x, model = picture(8), nets.plates()
    rows = nets.run(model, x)[0]
    blank = int(np.unravel_index(rows.argmax(), rows.shape)[1])
    turn = np.roll(np.arange(11), -blank)  # the surest class is the first
    weights = nets.normal(3, 4, 77).reshape(4, 7, 11)[:, :, turn].reshape(4, 77) * 0.3
    first = nets.net(
        f"{nets.POOLED} z = MatMul(v, V)  r = Reshape(z, seven)  y = Softmax<axis=2>(r)",
        "(float[N,3,8,8] x) => (float[N,7,11] y)", V=weights, seven=np.array([-1, 7, 11]),
    )  # fmt: skip
    assert Explainer(first, method="saliency")(x).described[0].startswith("class 0 at surest")
    turned = rows[:, turn]
    place, category = np.unravel_index(turned[:, 1:].argmax(), (7, 10))
    found = Explainer(first, method="saliency", head=Stated(background="first"))(x)
    assert found.described == (f"class {category + 1} at surest position {place}",)


@pytest.mark.parametrize("said", [{"background": "first"}, {"objectness": True}, {"classes": 3}])
def test_what_changes_nothing_of_an_output_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="this"):
        head_of(nets.classifier(4), Stated(**said))
    with pytest.raises(OptionError, match="Did you mean"):
        Stated(background="frist")
