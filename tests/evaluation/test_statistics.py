"""Intervals of means."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from fgcam_onnx.evaluation.statistics import interval, paired


def test_the_interval_of_a_mean_is_the_normal_one_where_there_are_many() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = interval(values, seed=0)
    assert found is not None
    half = 1.96 * values.std() / 20
    assert_allclose([found.mean, found.low, found.high], [values.mean(), values.mean() - half, values.mean() + half],
                    atol=0.1 * half)  # fmt: skip
    assert found.n == 400


def test_ninety_five_of_a_hundred_intervals_hold_the_mean() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for trial in range(300):
        found = interval(rng.exponential(1.0, 60), seed=trial)
        held += found.low <= 1 <= found.high
    assert 0.90 <= held / 300 <= 0.98


def test_pairs_are_of_the_pictures_that_both_have() -> None:
    a, b = np.array([1.0, 2, np.nan, 4]), np.array([0.5, np.nan, 3, 3.5])
    found = paired(a, b, seed=0)
    assert (found.mean, found.n) == (0.5, 2)
    assert not found.excludes_zero
    assert paired(a, np.full(4, np.nan), seed=0) is None


def test_a_difference_of_few_pictures_is_never_sure() -> None:
    assert [interval(np.full(n, 0.1), seed=0).excludes_zero for n in (1, 5, 6, 40)] == [False, False, True, True]


def test_paired_differences_are_surer_than_those_of_means() -> None:
    rng = np.random.default_rng(2)
    hard = rng.normal(0, 1, 50)
    a, b = hard + rng.normal(0.1, 0.05, 50), hard
    difference, mean = paired(a, b, seed=0), interval(a, seed=0)
    assert difference.high - difference.low < 0.2 * (mean.high - mean.low)
