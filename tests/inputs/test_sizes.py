"""Further inputs whose sizes, or numbers, are not the batch's: prompts beside pictures, sequences of any length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from onnx import ModelProto
from parsed import drawn, frozen, parsed, plain, slope

from fgcam_onnx import Explainer, explain, load
from fgcam_onnx.errors import InputError, ModelError


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
    assert [i.shape for i in model.inputs] == [("N", 3, 6, 5), ("text_batch", "length")]


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


def test_a_symbol_that_is_asked_for_names_a_free_size_of_inputs_and_outputs() -> None:
    model = load(clip("n", "n"), shapes={"x": ("N", 3, 6, 5), "ids": ("texts", "words")})
    assert [i.shape for i in model.inputs] == [("N", 3, 6, 5), ("texts", "words")]
    assert model.outputs[0].shape == ("N", "texts")
    assert load(clip("n", "n")).outputs[0].shape == ("N", "N")


def test_symbols_that_a_graph_cannot_keep_apart_or_that_are_sizes_are_refused() -> None:
    model = parsed(
        """g (float[n,3,6,5] x, float[n,3,6,5] z) => (float[n,4,1,1] y) {
        s = Add(x, z)  a = Conv(s, W)  y = GlobalAveragePool(a) }""",
        W=drawn(1, 4, 3, 3, 3),
    )  # fmt: skip
    with pytest.raises(ModelError, match="different numbers of left and right"):
        load(model, shapes={"x": ("left", None, None, None), "z": ("right", None, None, None)})
    with pytest.raises(ModelError, match="size 3 at dimension 1, which is not free: no 'colours'"):
        load(model, shapes={"x": (None, "colours", None, None)})


def open_net() -> ModelProto:
    """Return a net that brings its second layer to the size of its first, by a Resize to a size from the input."""
    return parsed(
        """g (float[N,3,h,w] x) => (float[N,2,high,wide] y) {
        a = Conv<strides=[2,2], pads=[1,1,1,1]>(x, W)  act = Relu(a)  b = Conv<strides=[2,2], pads=[1,1,1,1]>(act, V)
        size = Shape(act)  space = Slice(size, two, four)  head = Shape<start=0, end=2>(b)
        all = Concat<axis=0>(head, space)  up = Resize<mode="linear">(b, , , all)  sum = Add(up, act)
        y = Conv(sum, U) }""",
        W=drawn(1, 4, 3, 3, 3), V=drawn(2, 4, 4, 3, 3), U=drawn(3, 2, 4, 1, 1), two=np.array([2]), four=np.array([4]),
    )  # fmt: skip


@pytest.mark.parametrize("size", [(12, 9), (7, 16)])
def test_a_net_whose_inner_sizes_are_taken_from_its_input_is_explained_at_any(size: tuple[int, int]) -> None:
    x = drawn(4, 2, 3, *size)
    e = explain(open_net(), x[:1], method="saliency", target="element:1,2,1")
    expected = slope(open_net(), {"x": x[:1]}, "x", at=(0, 1, 2, 1))
    assert_allclose(e.map, np.abs(expected).max(axis=1), rtol=1e-4, atol=1e-5)
    assert explain(open_net(), x, method="gradcam", target=1).map.shape == (2, -(-size[0] // 2), -(-size[1] // 2))


def test_nodes_out_of_order_are_put_in_order() -> None:
    model, mixed = open_net(), open_net()
    nodes = list(model.graph.node)
    del mixed.graph.node[:]
    mixed.graph.node.extend(nodes[::-1])
    x = drawn(4, 2, 3, 12, 9)
    expected, found = (explain(m, x, method="gradcam", target=1).map for m in (model, mixed))
    np.testing.assert_array_equal(found, expected)
