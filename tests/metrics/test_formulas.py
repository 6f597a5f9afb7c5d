"""Metrics against values that are known without running anything."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fgcam_onnx.metrics import formulas as f

RNG = np.random.default_rng(0)


def order_of(values: np.ndarray) -> np.ndarray:
    return np.argsort(-values.reshape(-1), kind="stable")


def square(size: int = 32, *, rows: slice = slice(8, 16), columns: slice = slice(8, 24)) -> np.ndarray:
    region = np.zeros((size, size), bool)
    region[rows, columns] = True
    return region


def test_drop_increase_and_gain_are_shares_of_what_there_is_to_lose_and_to_win() -> None:
    assert_allclose(f.drop(0.8, 0.2), 0.75, rtol=1e-12)
    assert f.drop(0.2, 0.8) == 0
    assert (f.increase(0.2, 0.8), f.increase(0.8, 0.8)) == (1, 0)
    assert_allclose(f.gain(0.2, 0.6), 0.5, rtol=1e-12)
    assert f.gain(1.0, 0.6) == 0


def test_the_area_under_a_straight_line_is_its_middle_whatever_the_shares() -> None:
    shares = tuple(np.sort(RNG.random(9)))
    line = 0.9 - 0.6 * np.asarray(shares)
    assert_allclose(f.deletion(shares, 0.9, line, 0.3), 0.6, rtol=1e-12)
    assert_allclose(f.insertion(shares, 0.3, line, 0.9), 0.6, rtol=1e-12)
    assert_allclose(f.flipping(shares, 0.9, line, 0.3), 0.3, rtol=1e-12)


def test_road_is_half_of_the_difference_of_the_means() -> None:
    assert_allclose(f.road(np.array([0.1, 0.3]), np.array([0.8, 0.6])), 0.25, rtol=1e-12)


def test_adcc_and_arcc_are_harmonic_means() -> None:
    positive = np.zeros((8, 8))
    positive[:, :4] = 1
    again = 2 * positive[None] - 1
    assert_allclose(f.coherency(positive, again), 1, rtol=1e-12)
    assert_allclose(f.coherency(positive, -again), 0, atol=1e-12)
    assert_allclose(f.adcc(0.8, 0.6, positive, again), 3 / (1 + 1 / 0.5 + 1 / 0.75), rtol=1e-12)
    assert f.adcc(0.8, 0.0, positive, again) == 0
    most, least = np.array([0.2]), np.array([0.6])
    assert_allclose(f.arcc(most, least, positive, again), 3 / (1 + 1 / 0.5 + 1 / 0.4), rtol=1e-12)


def test_a_map_that_says_what_the_squares_are_worth_is_not_unfaithful_in_any_unit() -> None:
    said, squares = RNG.normal(size=(16, 16)), tuple((slice(r, r + 4), slice(r, r + 4)) for r in range(10))
    without = 0.7 - np.array([said[s].sum() for s in squares])
    assert_allclose(f.infidelity(13 * said, 0.7, squares, without), 0, atol=1e-24)
    assert f.infidelity(said[::-1], 0.7, squares, without) > 0.1
    assert_allclose(f.infidelity(0 * said, 0.7, squares, without), np.mean((0.7 - without) ** 2), rtol=1e-12)


def test_max_sensitivity_is_the_largest_relative_change() -> None:
    values = np.ones((4, 4))
    assert_allclose(f.max_sensitivity(values, np.stack([0.9 * values, 1.3 * values])), 0.3, rtol=1e-12)
    assert np.isnan(f.max_sensitivity(0 * values, values[None]))


def test_an_even_map_has_as_much_energy_on_the_object_as_the_object_covers() -> None:
    region = square()
    assert_allclose(f.energy(np.ones((32, 32)), region), region.mean(), rtol=1e-12)
    assert f.energy(region.astype(float), region) == 1
    assert np.isnan(f.energy(np.zeros((32, 32)), region))


def test_what_needs_a_small_object_is_not_defined_on_a_large_one() -> None:
    large = square(rows=slice(0, 32), columns=slice(0, 20))
    even, order = np.ones((32, 32)), np.arange(1024)
    assert not np.isnan(f.energy(even, large))
    assert not np.isnan(f.pointing(order, large))
    assert np.isnan(f.energy_small(even, large))
    assert np.isnan(f.pointing_small(order, large))
    assert f.energy_small(even, square()) == f.energy(even, square())


@pytest.mark.parametrize(("column", "hit"), [(23, 1), (25, 1), (26, 0)])
def test_pointing_allows_fifteen_pixels_of_224(column: int, hit: int) -> None:
    """15 of 224 are 2.14 of 32; the object's last column is 23."""
    assert f.pointing(np.array([10 * 32 + column]), square()) == hit


def test_iou_and_top_pixels_count_the_highest() -> None:
    region = square()
    assert f.iou(order_of(region.astype(float)), region) == 1
    assert f.iou(order_of(-region.astype(float)), region) == 0
    half = square(columns=slice(16, 32))
    assert_allclose(f.iou(order_of(half.astype(float)), region), 64 / 192, rtol=1e-12)
    assert f.top_pixels(order_of(region.astype(float)), region) == 1
    values = region + 2.0 * square(rows=slice(30, 32), columns=slice(0, 13))
    assert_allclose(f.top_pixels(order_of(values), region), (51 - 26) / 51, rtol=1e-12)


def test_entropy_and_gini_at_their_ends() -> None:
    one = np.zeros((10, 10))
    one[3, 4] = 1
    assert_allclose([f.entropy(np.ones((10, 10))), f.entropy(one)], [1, 0], atol=1e-12)
    assert_allclose([f.gini(np.ones((10, 10))), f.gini(one)], [0, 0.99], atol=1e-12)
    half = np.repeat([0.0, 1.0], 50).reshape(10, 10)
    assert_allclose(f.entropy(half), np.log(50) / np.log(100), rtol=1e-12)
    assert_allclose(f.gini(half), 0.5, rtol=1e-12)


def test_gini_is_the_mean_difference_of_all_pairs_over_twice_the_mean() -> None:
    values = RNG.random((6, 7))
    flat = values.reshape(-1)
    pairs = np.abs(flat[:, None] - flat).mean() / (2 * flat.mean())
    assert_allclose(f.gini(values), pairs, rtol=1e-12)


def test_likeness_is_spearmans_formula_where_no_two_values_are_alike() -> None:
    a, b = RNG.permutation(30).reshape(5, 6).astype(float), RNG.permutation(30).reshape(5, 6).astype(float)
    distances = float(((a - b) ** 2).sum())
    assert_allclose(f.likeness(np.exp(a / 9), b[None]), 1 - 6 * distances / (30 * (900 - 1)), rtol=1e-12)
    assert_allclose(f.likeness(a, np.stack([a**3, -a])), 0, atol=1e-12)


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    assert_allclose(f.ranked(np.array([3.0, 1.0, 3.0, 2.0, 3.0])), [3, 0, 3, 1, 3], rtol=0)


def test_constant_maps_are_like_each_other_and_like_no_other() -> None:
    even = np.full((4, 4), 0.1)
    assert f.correlation(even, 3 * even) == 1
    assert f.correlation(even, RNG.random((4, 4))) == 0
