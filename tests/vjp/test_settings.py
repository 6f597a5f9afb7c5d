"""What the rules walk back is the transpose of what ONNX Runtime computes, for settings drawn of every operator.

``tools/coverage/sweep_operators.py`` goes through all of them.
"""

from __future__ import annotations

import random
import zlib
from typing import Any

import numpy as np
import pytest
import settings_places
import settings_windows
from linear import Setting, judged, matrix_of, ran
from onnx import TensorProto, helper, numpy_helper
from oracles import probe, scaled
from settings_windows import floats, ints

from fgcam_onnx import vjp
from fgcam_onnx.errors import FgcamError
from fgcam_onnx.loading.loading import load
from fgcam_onnx.runtime import Session

DRAWN = {**settings_windows.DRAWN, **settings_places.DRAWN}
EACH = 24
PLACES = "coordinate_transformation_mode"
REFUSALS = ("of an opset before 11", "channels last")


def settled(settings: list[Setting]) -> None:
    """Assert that no setting is wrong, that none is refused without a reason, and that most run."""
    outcomes = [(judged(s), s) for s in settings]
    wrong = [f"{s}: {o.reason}, {o.off:.2g}" for o, s in outcomes if o.kind == "wrong"]
    assert not wrong
    refused = [
        f"{s}: {o.reason}" for o, s in outcomes if o.kind == "refused" and not any(r in o.reason for r in REFUSALS)
    ]
    assert not refused
    assert sum(o.kind == "right" for o, _ in outcomes) >= len(settings) / 5


@pytest.mark.parametrize("family", sorted(settings_windows.GRIDS))
def test_a_sample_of_a_grid_of_settings_is_walked_back_exactly(family: str) -> None:
    settled(random.Random(family).sample(list(settings_windows.GRIDS[family]()), 3 * EACH))


@pytest.mark.parametrize("family", sorted(DRAWN))
def test_settings_drawn_of_an_operator_are_walked_back_exactly(family: str) -> None:
    rng = np.random.default_rng(zlib.crc32(family.encode()))
    settled([DRAWN[family](rng) for _ in range(EACH)])


def resized(size: int, scale: float, **attrs: Any) -> Setting:
    """Return the setting of a Resize of the last of four axes by scale."""
    return Setting("Resize", (1, 1, 1, size), (None, floats(1, 1, 1, scale)), attrs)


IN_THEIR_OWN_WAY = [
    Setting("Resize", (1, 1, 5, 5), (None, floats(1, 1, 0.5, 0.5)), {"mode": "linear", PLACES: "align_corners"}),
    resized(3, 0.5, mode="linear", coordinate_transformation_mode="pytorch_half_pixel"),
    resized(10, 1.2, nearest_mode="round_prefer_ceil", coordinate_transformation_mode="asymmetric"),
    resized(4, 1.2, mode="linear"),
    resized(10, 0.7, mode="linear"),
    resized(5, 1.4),
    resized(7, 0.6, nearest_mode="floor", coordinate_transformation_mode="half_pixel_symmetric"),
    resized(7, 0.6, nearest_mode="ceil", coordinate_transformation_mode="half_pixel_symmetric"),
    Setting("Resize", (1, 2, 4), (None, None, ints(1, 2, 3)), {"keep_aspect_ratio_policy": "not_larger"}),
    Setting(
        "AveragePool",
        (1, 1, 7, 6),
        (),
        {"kernel_shape": [2, 3], "auto_pad": "SAME_UPPER", "dilations": [2, 2], "ceil_mode": 1},
    ),
    Setting(
        "AveragePool",
        (1, 1, 2, 3),
        (),
        {"kernel_shape": [4, 5], "strides": [2, 2], "count_include_pad": 1, "pads": [1, 0, 1, 2]},
    ),
    Setting("AveragePool", (1, 1, 1), (), {"kernel_shape": [2], "strides": [2], "count_include_pad": 1}, 18),
    Setting(
        "MaxPool", (1, 1, 1), (), {"kernel_shape": [3], "strides": [3], "pads": [1, 1], "dilations": [2]}, pieces=True
    ),
    Setting("ReduceMean", (2, 3), (ints(0, -2),), {"keepdims": 0}),
    Setting("Slice", (5, 6), (ints(-9), ints(-9), ints(1), ints(-2))),
    Setting("ConvTranspose", (1, 1, 6, 2), (np.ones((1, 1, 1, 2), np.float32),), {"output_shape": [6, 1]}),
]


@pytest.mark.parametrize("setting", IN_THEIR_OWN_WAY, ids=str)
def test_settings_at_which_runtimes_round_in_their_own_way_are_walked_back_exactly(setting: Setting) -> None:
    outcome = judged(setting)
    assert outcome.kind == "right", outcome


def test_what_reads_a_tensor_whose_size_inference_misses_runs_with_its_gradient() -> None:
    """Ten elements by 0.7 are seven in float32, and what follows is as wide."""
    nodes = [
        helper.make_node("Resize", ["x", "", "s"], ["r"], mode="linear"),
        helper.make_node("Relu", ["r"], ["a"]),
        helper.make_node("Mul", ["a", "w"], ["y0"]),
    ]
    weights = np.arange(1, 8, dtype=np.float32)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 1, 10])],
        [helper.make_tensor_value_info("y0", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(floats(1, 1, 1, 0.7), "s"), numpy_helper.from_array(weights, "w")],
    )
    tested = probe(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), wrt=["x"], output="y0"
    )
    x = np.linspace(1, 2, 10, dtype=np.float32).reshape(1, 1, 1, 10)
    session = Session(tested.gradient, threads=1)
    found = session.run({"x": x, "seed": np.ones((1, 1, 1, 7), np.float32)})["d/x"].ravel()
    resize = Setting("Resize", x.shape, (None, floats(1, 1, 1, 0.7)), {"mode": "linear"}, 18)
    matrix = ran(resize)
    assert not isinstance(matrix, str)
    np.testing.assert_allclose(found, matrix.reshape(10, 7) @ weights, rtol=1e-6, atol=0)


def test_a_walk_that_is_one_percent_off_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting("Resize", (1, 1, 1, 5), (None, floats(1, 1, 1, 1.6)), {"mode": "linear"})
    assert judged(setting).kind == "right"
    off = scaled(vjp.RULES, "Resize")["Resize"]
    monkeypatch.setitem(vjp.RULES, "Resize", off)  # type: ignore[arg-type]
    outcome = judged(setting)
    assert outcome.kind == "wrong"
    assert 0.005 < outcome.off < 0.02


def test_a_resize_of_an_old_opset_that_no_later_one_repeats_is_refused() -> None:
    setting = Setting("Resize", (1, 1, 5, 2), (floats(1, 1, 0.6, 1.2),), {"mode": "nearest"}, 10)
    with pytest.raises(FgcamError, match="opset before 11"):
        load(setting.proto())


def test_the_matrix_of_an_operator_is_found_by_its_basis() -> None:
    weights = np.arange(6, dtype=np.float32).reshape(2, 3)
    setting = Setting("MatMul", (1, 2), (weights,))
    assert np.array_equal(matrix_of(setting, lambda f: {"y0": f["x"] @ weights}).reshape(2, 3), weights)
