"""Resizing as matrices, held against ONNX Runtime on the columns of an identity."""

from __future__ import annotations

import numpy as np
import pytest
from linear import Setting, ran

from fgcam_onnx.matrices import Matrix, resize_matrix

SIZES = [(1, 3), (2, 5), (3, 2), (4, 4), (5, 8), (6, 4), (7, 14), (8, 3), (9, 6), (5, 1)]
COORDINATES = ("half_pixel", "align_corners")


def resized(size: int, out: int, coordinates: str) -> Matrix:
    """Return the matrix that ONNX Runtime resizes one axis by."""
    attrs = {"mode": "linear", "coordinate_transformation_mode": coordinates}
    found = ran(Setting("Resize", (1, 1, 1, size), (None, None, np.array([1, 1, 1, out])), attrs))
    assert not isinstance(found, str), found
    return found.reshape(size, out).T.astype(np.float64)


@pytest.mark.parametrize("coordinates", COORDINATES)
def test_interpolation_weighs_as_the_runtime_does(coordinates: str) -> None:
    for size, out in SIZES:
        ours = resize_matrix(size, out, coordinates=coordinates)
        np.testing.assert_allclose(ours, resized(size, out, coordinates), rtol=0, atol=2e-6, err_msg=f"{size} to {out}")


@pytest.mark.parametrize("coordinates", COORDINATES)
def test_interpolation_of_a_constant_is_that_constant(coordinates: str) -> None:
    for size, out in SIZES:
        matrix = resize_matrix(size, out, coordinates=coordinates)
        np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-12, atol=0)


def test_other_coordinates_are_not_known() -> None:
    with pytest.raises(ValueError, match="asymmetric"):
        resize_matrix(3, 4, coordinates="asymmetric")


def test_one_percent_of_a_weight_is_seen() -> None:
    ours = resize_matrix(5, 8)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(1.01 * ours, resized(5, 8, "half_pixel"), rtol=0, atol=2e-6)
