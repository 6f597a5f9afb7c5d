"""A model predicts in a line, and what is held says what it is, in few words and without weights."""

from __future__ import annotations

import inspect
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from nets import images, small_cnn

import fgcam_onnx
from fgcam_onnx import Explainer
from fgcam_onnx.errors import OptionError, TargetError
from fgcam_onnx.hand.progress import Bar
from fgcam_onnx.imaging import preprocess_from, read_image
from fgcam_onnx.sweep import sweep

MODELS = Path(__file__).parents[2] / "exported_models"
RESNET, TWO = MODELS / "resnet_shapes.dynamo.onnx", MODELS / "pictures" / "two.png"
STAR = TWO.with_name("star.png")


def test_a_prediction_is_that_of_the_runtime_with_names() -> None:
    spec = preprocess_from(RESNET.with_suffix(".json")).bound((None, 3, 96, 96), np.dtype(np.float32))
    session = onnxruntime.InferenceSession(RESNET)
    (logits,) = session.run(None, {session.get_inputs()[0].name: np.asarray(spec(read_image(TWO)))})
    exp = np.exp(logits[0] - logits.max())
    found = fgcam_onnx.load(RESNET).predict(TWO)
    np.testing.assert_allclose(found.scores, logits[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.probabilities, exp / exp.sum(), rtol=1e-4, atol=1e-6)
    assert (found.label, found.index, found.name) == ("ring", 5, "two.png")
    assert found.probability == pytest.approx(exp[5] / exp.sum(), rel=1e-4)
    assert [r.label for r in found.top(2)] == ["ring", "star"]
    assert repr(found).startswith("<Prediction: ring 0.836, star 0.151,")


def test_of_several_pictures_there_are_several_predictions() -> None:
    model = fgcam_onnx.load(RESNET)
    assert [p.label for p in model.predict([TWO, STAR])] == ["ring", "star"]
    assert [p.index for p in fgcam_onnx.load(small_cnn()).predict(images(2))] == [
        int(i) for i in Explainer(small_cnn(), method="gradcam").predict(images(2)).argmax(1)
    ]
    assert model.predict(TWO, labels=list("abcdefgh")).label == "f"


def test_a_prediction_needs_no_rule_for_any_operator() -> None:
    """The walk back from this net stops at an operator without a rule, and its prediction is to be had."""
    from nets import model_of, node

    nodes = [
        node("Round", ["input"], "rounded"),
        node("GlobalAveragePool", ["rounded"], "pooled"),
        node("Flatten", ["pooled"], "logits"),
    ]
    proto = model_of(nodes, {}, inputs={"input": ["N", 3, 6, 6]}, outputs=["logits"])
    x = np.full((1, 3, 6, 6), 2.4, np.float32)
    (found,) = fgcam_onnx.load(proto).predict(x)
    np.testing.assert_allclose(found.scores, [2, 2, 2], rtol=1e-6)


def test_what_ranks_no_classes_says_so() -> None:
    from target_nets import dense_net

    size = [d.dim_value for d in dense_net().graph.input[0].type.tensor_type.shape.dim][1:]
    (found,) = fgcam_onnx.load(dense_net()).predict(np.zeros((1, *size), np.float32))
    assert "at each place of a picture" in repr(found)
    with pytest.raises(TargetError, match="ranks no classes"):
        found.top()


@pytest.mark.parametrize("what", ["model", "explainer", "explanation", "prediction", "sweep"])
def test_what_a_notebook_shows_is_small_and_escaped(what: str, tmp_path: Path) -> None:
    names = ["<script>alert(1)</script>", *"bcdefgh"]
    model = fgcam_onnx.load(RESNET)
    explainer = Explainer(model, labels=names, method="layercam")
    shown: Any = {
        "model": lambda: model,
        "explainer": lambda: explainer,
        "explanation": lambda: explainer([TWO, STAR], target=0),
        "prediction": lambda: model.predict(TWO, labels=names),
        "sweep": lambda: sweep(model, TWO, labels=names, target=0, methods=["gradcam", "layercam"], layers=["layer4"]),
    }[what]()
    page = shown._repr_html_()
    assert page.count("<script") == 0
    assert ("&lt;script" in page) == (what != "model")
    assert len(page) < 60_000
    assert len(repr(shown)) < 400


def test_all_of_a_batch_is_shown_up_to_a_number_that_is_said() -> None:
    explainer = Explainer(small_cnn(), method="gradcam")
    assert explainer(images(40))._repr_html_().count("data:image") == 40
    page = explainer(images(50))._repr_html_()
    assert page.count("data:image") == 48
    assert "and 2 rows more" in page


def test_the_options_of_both_explainers_are_spelt_out() -> None:
    names = inspect.signature(Explainer).parameters
    assert {"model", "preprocess", "labels", "method", "layers", "base", "device"} <= names.keys()
    assert Explainer.__doc__
    for name in names:
        assert name in Explainer.__doc__, name


def test_an_explainer_goes_to_another_process() -> None:
    explainer = Explainer(RESNET, method="gradcam", preprocess="unit")
    again = pickle.loads(pickle.dumps(explainer))
    np.testing.assert_array_equal(again(TWO, target="star").map, explainer(TWO, target="star").map)


def test_a_misspelt_option_is_named_with_the_one_that_was_meant() -> None:
    with pytest.raises(OptionError, match=r"'metod'.*method"):
        Explainer(RESNET, metod="gradcam")
    with pytest.raises(OptionError, match=r"'label'.*labels"):
        fgcam_onnx.load(RESNET).predict(TWO, label=["a"])
    with pytest.raises(OptionError, match="no setting 'masks'"):
        Explainer(RESNET, method="gradcam", masks=3)


# ---- bars


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_a_bar_is_shown_where_work_is_long_and_taken_away_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from fgcam_onnx.hand import progress

    told: list[Any] = []

    class Shown:
        def show(self, done: int, total: int, seconds: float) -> None:
            told.append((done, total, seconds))

        def end(self) -> None:
            told.append("end")

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(progress, "shown_here", Shown)
    bar = Bar()
    for done in range(1, 4):
        clock.now += 0.2
        bar(done, 3)
    assert told == []  # short work shows nothing
    bar.begin()
    for done in range(1, 5):
        clock.now += 0.6
        bar(done, 4)
    assert [t[:2] for t in told[:-1]] == [(2, 4), (3, 4), (4, 4)]
    assert told[-1] == "end"


def test_progress_is_told_to_a_function_and_kept_from_whom_wants_none() -> None:
    told: list[tuple[int, int]] = []
    options: dict[str, Any] = {"method": "rise", "masks": 8, "batch": 4}
    Explainer(small_cnn(), progress=lambda done, total: told.append((done, total)), **options)(images(1))
    assert told[-1][0] == told[-1][1] > 0
    assert Explainer(small_cnn(), progress=False, **options).bar is None
