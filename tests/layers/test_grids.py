"""Grids of tokens: shown by the graph or given, never guessed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nets import images, model_of, node
from onnx import ModelProto
from token_nets import transformer

from fgcam_onnx import Explainer, explain
from fgcam_onnx.errors import LayerError
from fgcam_onnx.layers.layers import Layer, candidate_layers
from fgcam_onnx.layers.tokens import Grid
from fgcam_onnx.loading.loading import load


def layers_of(proto: ModelProto, **options: Any) -> dict[str, Layer]:
    return {x.name: x for x in candidate_layers(load(proto), logits="logits", **options)}


def test_a_sequence_that_is_no_picture_is_not_folded() -> None:
    """Negative control: 9 steps of a signal of 4 channels, which a product with weights sums over."""
    weights = {"w": np.ones((4, 3), np.float32), "axes": np.array([1])}
    nodes = [node("MatMul", ["input", "w"], "tokens"), node("ReduceMean", ["tokens", "axes"], "logits", keepdims=0)]
    proto = model_of(nodes, weights, inputs={"input": ["N", 9, 4]}, outputs=["logits"])
    assert {n: (x.spatial, x.channels, x.grid) for n, x in layers_of(proto).items()} == {
        "input": ((9,), 4, None),
        "tokens": ((9,), 3, None),
    }
    assert [x.grid for x in layers_of(proto, grid=(3, 3)).values()] == [Grid(0, 0, (3, 3))] * 2


def test_a_grid_that_the_graph_does_not_show_is_asked_for_not_guessed() -> None:
    proto = transformer(embed="Einsum", before=2, grid=(4, 6))
    assert not any(x.grid for x in layers_of(proto).values())
    given = layers_of(proto, grid=(4, 6))
    assert given["/blocks.0/Add_output_0"].grid == Grid(2, 0, (4, 6))


def test_steps_in_time_are_no_square_because_their_number_is_one() -> None:
    """A square picture beside nine steps of a signal."""
    rng = np.random.default_rng(0)
    shapes = {"k": (4, 3, 3, 3), "w": (5, 4), "scale": (4,), "v": (4, 4)}
    weights = {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    nodes = [
        node("Conv", ["input", "k"], "c"), node("GlobalAveragePool", ["c"], "p"), node("Flatten", ["p"], "q", axis=1),
        node("MatMul", ["steps", "w"], "s"), node("LayerNormalization", ["s", "scale"], "n"),
        node("MatMul", ["n", "v"], "t"), node("ReduceMean", ["t", "one"], "m", keepdims=0),
        node("Add", ["q", "m"], "logits"),
    ]  # fmt: skip
    inputs = {"input": ["N", 3, 6, 6], "steps": ["N", 9, 5]}
    proto = model_of(nodes, weights | {"one": np.array([1])}, inputs=inputs, outputs=["logits"])
    assert set(layers_of(proto, source="input")) == {"input", "c"}
    steps = layers_of(proto, source="steps")
    assert {n: (x.spatial, x.grid) for n, x in steps.items()} == dict.fromkeys(("steps", "s", "n", "t"), ((9,), None))


def test_a_grid_that_is_given_overrules() -> None:
    proto = transformer(before=1)
    found = layers_of(proto, grid=(3, 2))
    assert found["/blocks.0/Add_output_0"].grid == Grid(1, 0, (3, 2))
    assert layers_of(proto, grid=(1, 5))["/blocks.0/Add_output_0"].grid == Grid(2, 0, (1, 5))
    assert explain(proto, images(2, size=(8, 12)), method="gradcam", grid=(3, 2)).map.shape == (2, 3, 2)
    with pytest.raises(LayerError, match=r"9 x 9 = 81.*6, 7"):
        Explainer(proto, grid=(9, 9))
