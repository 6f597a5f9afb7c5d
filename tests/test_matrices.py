"""Averaging and resizing as matrices, held against ONNX Runtime on the columns of an identity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from fgcam_onnx.loading.loading import load
from fgcam_onnx.matrices import Matrix, average_matrix, resize_matrix
from fgcam_onnx.runtime import Session

SIZES = [(1, 3), (2, 5), (3, 2), (4, 4), (5, 8), (6, 4), (7, 14), (8, 3), (9, 6)]
BETWEEN = [(7, 9), (13, 7), (14, 2)]
"""Sizes at which rounding in float32 decides; the symmetric mode, which rounds once more, is left out."""
COORDINATES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric")
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def computed(op: str, size: int, *rest: np.ndarray | None, opset: int = 19, **attrs: Any) -> Matrix:
    """Return the matrix that ``op`` applies along the last axis of (1, 1, size, size), got by probing it."""
    names = ["x", *("" if a is None else f"p{i}" for i, a in enumerate(rest))]
    parameters = [numpy_helper.from_array(a, f"p{i}") for i, a in enumerate(rest) if a is not None]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], **attrs)],
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        parameters,
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    eye = np.eye(size, dtype=np.float32)[None, None]
    return Session(load(proto), threads=1).run({"x": eye})["y"][0, 0].T


def resized(size: int, out: int, **attrs: Any) -> Matrix:
    return computed("Resize", size, None, None, np.array([1, 1, size, out]), **attrs)


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("nearest", NEAREST)
def test_nearest_picks_the_sample_that_the_runtime_picks(coordinates: str, nearest: str) -> None:
    for size, out in SIZES if "symmetric" in coordinates else SIZES + BETWEEN:
        ours = resize_matrix(size, out, scale=out / size, mode="nearest", coordinates=coordinates, nearest=nearest)
        theirs = resized(size, out, coordinate_transformation_mode=coordinates, nearest_mode=nearest)
        np.testing.assert_array_equal(ours, theirs, err_msg=f"{size} to {out}")


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize(("mode", "exclude"), [("linear", 0), ("cubic", 0), ("cubic", 1)])
def test_interpolation_weighs_as_the_runtime_does(coordinates: str, mode: str, exclude: int) -> None:
    for size, out in SIZES:
        ours = resize_matrix(
            size, out, scale=out / size, mode=mode, coordinates=coordinates, exclude_outside=bool(exclude)
        )
        theirs = resized(size, out, mode=mode, coordinate_transformation_mode=coordinates, exclude_outside=exclude)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6, err_msg=f"{size} to {out}")


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("exclude", [0, 1])
def test_antialiasing_weighs_as_the_runtime_does(mode: str, exclude: int) -> None:
    for size, out in SIZES:
        ours = resize_matrix(size, out, scale=out / size, mode=mode, antialias=True, exclude_outside=bool(exclude))
        theirs = resized(size, out, mode=mode, antialias=1, exclude_outside=exclude)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6, err_msg=f"{size} to {out}")


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_interpolation_of_a_constant_is_that_constant(mode: str) -> None:
    for size, out in SIZES:
        matrix = resize_matrix(size, out, scale=out / size, mode=mode)
        np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("kernel", "pad"), [(1, (0, 0)), (2, (1, 0)), (2, (1, 1)), (3, (0, 0)), (3, (2, 1))])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize("ceil", [0, 1])
def test_averaging_weighs_as_the_runtime_does(
    kernel: int, pad: tuple[int, int], stride: int, include: int, ceil: int
) -> None:
    for size in (4, 5, 8):
        theirs = computed(
            "AveragePool", size, kernel_shape=[1, kernel], strides=[1, stride], pads=[0, pad[0], 0, pad[1]],
            count_include_pad=include, ceil_mode=ceil,
        )  # fmt: skip
        ours = average_matrix(
            size, len(theirs), kernel=kernel, stride=stride, dilation=1, pad=pad, include_pad=bool(include)
        )
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6, err_msg=f"size {size}")


def test_one_percent_of_a_weight_is_seen() -> None:
    ours = resize_matrix(5, 8, scale=8 / 5, mode="linear")
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(1.01 * ours, resized(5, 8, mode="linear"), rtol=0, atol=2e-6)
