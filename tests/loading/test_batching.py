"""Graphs that do not fit every batch although the file leaves it free."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from onnx import ModelProto
from parsed import drawn, parsed, plain, slope

from fgcam_onnx import explain, load
from fgcam_onnx.errors import InputError, ModelError

CONV = "a = Conv<pads=[1,1,1,1]>(x, W)  act = Relu(a)"
WEIGHTS = {"W": drawn(1, 4, 3, 3, 3)}


def flattened() -> ModelProto:
    """Return a net whose reshape to [1, -1] takes all images for one."""
    return parsed(
        f"g (float[N,3,6,5] x) => (float[1,3] y) {{ {CONV} v = Reshape(act, S)  y = MatMul(v, V) }}",
        **WEIGHTS, S=np.array([1, -1]), V=drawn(2, 120, 3),
    )  # fmt: skip


def grouped() -> ModelProto:
    """Return a net that averages over groups of five images."""
    return parsed(
        f"""g (float[N,3,6,5] x) => (float[B,3] y) {{ {CONV} p = GlobalAveragePool(act)  v = Reshape(p, S)
        c = ReduceMean<keepdims=0>(v, one)  y = MatMul(c, V) }}""",
        **WEIGHTS, S=np.array([-1, 5, 4]), one=np.array([1]), V=drawn(3, 4, 3),
    )  # fmt: skip


@pytest.mark.parametrize(("build", "size"), [(flattened, 1), (grouped, 5)])
def test_the_batch_that_fits_is_taken_and_said(build: Any, size: int, fgcam: Any, tmp_path: Path) -> None:
    model = load(build())
    assert model.inputs[0].shape[0] == size
    assert f"the batch is {size}" in model.notes[0]
    path = tmp_path / "model.onnx"
    path.write_bytes(build().SerializeToString())
    shown = " ".join(fgcam("inspect", path).out.split())
    assert "the file leaves the batch free, but its graph fits" in shown


@pytest.mark.parametrize(("build", "size"), [(flattened, 1), (grouped, 5)])
def test_its_maps_are_those_of_central_differences(build: Any, size: int) -> None:
    model, x = build(), drawn(4, size, 3, 6, 5)
    e = explain(model, x, method="saliency", target=1)
    assert_allclose(e.scores, plain(model, {"x": x}), rtol=1e-5, atol=1e-6)
    assert_allclose(e.map, np.abs(slope(model, {"x": x}, "x", at=(0, 1))).max(axis=1), rtol=1e-4, atol=1e-6)


def test_images_of_a_batch_of_one_are_run_one_after_the_other() -> None:
    x = drawn(5, 3, 3, 6, 5)
    together = explain(flattened(), x, method="gradcam", target=[0, 1, 2])
    for i in range(3):
        one = explain(flattened(), x[i : i + 1], method="gradcam", target=i)
        assert_allclose(together.map[i], one.map[0], rtol=1e-5, atol=1e-7)


def test_groups_have_an_answer_each() -> None:
    x = drawn(6, 10, 3, 6, 5)
    e = explain(grouped(), x, method="gradcam", target=2)
    assert e.target.tolist() == [2, 2]
    assert_allclose(e.scores, plain(grouped(), {"x": x}), rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="one answer for 5 images: 4 are not a multiple"):
        explain(grouped(), x[:4], method="gradcam")


def test_a_batch_that_is_asked_for_is_tried_first() -> None:
    model = parsed(
        f"""g (float[N,3,6,5] x) => (float[B,3] y) {{ {CONV} p = GlobalAveragePool(act)  v = Reshape(p, S)
        c = ReduceMean<keepdims=0>(v, one)  y = MatMul(c, V) }}""",
        **WEIGHTS, S=np.array([1, -1, 4]), one=np.array([1]), V=drawn(3, 4, 3),
    )  # fmt: skip
    assert load(model).inputs[0].shape[0] == "N"
    assert load(flattened(), shapes={"x": (1, 3, 6, 5)}).inputs[0].shape[0] == 1
    assert load(grouped(), shapes={"x": (10, 3, 6, 5)}).inputs[0].shape[0] == 10


def test_a_graph_that_fits_no_batch_is_refused() -> None:
    model = parsed(
        f"g (float[N,3,6,5] x) => (float[1,3] y) {{ {CONV} v = Reshape(act, S)  y = MatMul(v, V) }}",
        **WEIGHTS, S=np.array([1, -1]), V=drawn(2, 119, 3),
    )  # fmt: skip
    with pytest.raises(ModelError, match="the graph is not consistent"):
        load(model)


def test_a_free_batch_that_fits_stays_free() -> None:
    """Negative control."""
    model = parsed(
        f"g (float[N,3,6,5] x) => (float[N,3] y) {{ {CONV} v = Flatten<axis=1>(act)  y = MatMul(v, V) }}",
        **WEIGHTS, V=drawn(2, 120, 3),
    )  # fmt: skip
    loaded = load(model)
    assert (loaded.inputs[0].shape[0], loaded.notes) == ("N", ())
