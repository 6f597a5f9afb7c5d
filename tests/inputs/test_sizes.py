"""Further inputs whose sizes, or numbers, are not the batch's: prompts beside pictures, sequences of any length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from onnx import ModelProto
from parsed import drawn, frozen, parsed, plain

from fgcam_onnx import Explainer, explain, load
from fgcam_onnx.errors import InputError


def clip(images: str = "image_batch", texts: str = "text_batch") -> ModelProto:
    """Return a net that scores pictures against texts: two batches, and a length."""
    return parsed(
        f"""g (float[{images},3,6,5] x, int64[{texts},length] ids) => (float[{images},{texts}] y) {{
        a = Conv<pads=[1,1,1,1]>(x, W)  act = Relu(a)  p = GlobalAveragePool(act)  v = Flatten<axis=1>(p)
        e = Gather<axis=0>(E, ids)  h = ReduceMean<keepdims=0>(e, one)  t = Transpose<perm=[1,0]>(h)
        y = MatMul(v, t) }}""",
        W=drawn(1, 4, 3, 3, 3), E=drawn(2, 9, 4), one=np.array([1]),
    )  # fmt: skip


def inputs(images: int = 2, texts: int = 4, length: int = 3) -> dict[str, Any]:
    ids = np.random.default_rng(texts).integers(0, 9, (texts, length))
    return {"x": drawn(3, images, 3, 6, 5), "ids": ids}


def test_numbers_of_another_name_that_the_graph_keeps_apart_are_no_batch() -> None:
    model = load(clip())
    assert [i.shape for i in model.inputs] == [("N", 3, 6, 5), ("text_batch_count", "length")]


@pytest.mark.parametrize("join", ["Sub(p, q)", "Concat<axis=1>(p, q)"])
def test_names_alone_do_not_part_a_batch(join: str) -> None:
    """Some exporters name every free dimension differently."""
    model = parsed(
        f"""g (float[unk_1,3,6,5] x, float[unk_2,3,6,5] z) => (float[unk_3,K,1,1] y) {{
        a = Conv(x, W)  p = GlobalAveragePool(a)  b = Conv(z, W)  q = GlobalAveragePool(b)  y = {join} }}""",
        W=drawn(1, 4, 3, 3, 3),
    )  # fmt: skip
    assert [i.shape[0] for i in load(model).inputs] == ["N", "N"]
    x = {"x": drawn(3, 2, 3, 6, 5), "z": drawn(4, 2, 3, 6, 5)}
    assert explain(model, x, method="gradcam", input="x", target=0).map.shape == (2, 4, 3)


@pytest.mark.parametrize("method", ["gradcam", "fgcam", "scorecam", "ablationcam", "rise", "integratedgradients"])
def test_every_text_is_a_class(method: str) -> None:
    settings = {"rise": {"masks": 8, "cells": 3}, "integratedgradients": {"steps": 4}}.get(method, {})
    explainer = Explainer(clip(), method=method, input="x", **settings)
    for texts, length in ((4, 3), (2, 5), (4, 3)):
        x = inputs(texts=texts, length=length)
        e = explainer(x, target=1)
        assert_allclose(e.scores, plain(clip(), x), rtol=1e-5, atol=1e-6)
        alone = frozen(clip(), ids=x["ids"])
        (found,), (expected,) = (
            m.maps.values() for m in (e, Explainer(alone, method=method, **settings)(x["x"], target=1))
        )
        assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_predictions_have_the_texts_that_are_given() -> None:
    x = inputs()
    assert_allclose(Explainer(clip(), input="x").predict(x), plain(clip(), x), rtol=1e-5, atol=1e-6)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="no value for input 'ids'"):
        explain(clip(), {"x": inputs()["x"]}, method="gradcam", input="x", target=0)
    with pytest.raises(InputError, match="takes 2 dimensions"):
        explain(clip(), inputs() | {"ids": np.zeros((2, 3, 4), np.int64)}, method="gradcam", input="x")
