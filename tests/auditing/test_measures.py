"""Measures against scipy, a dense transport problem and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.stats import pearsonr, spearmanr
from skimage.metrics import structural_similarity

from fgcam_onnx.auditing.measures import MEASURES, Seen, carried
from fgcam_onnx.auditing.placed import laid
from fgcam_onnx.imaging import Placement


def seen(seed: int, *, size: tuple[int, int] = (7, 7), noise: float = 0.0) -> Seen:
    rng = np.random.default_rng(seed)
    values, scores = rng.normal(size=size), rng.normal(size=10)
    if noise:
        other = np.random.default_rng(seed + 1)
        values, scores = values + noise * other.normal(size=size), scores + noise * other.normal(size=10)
    shares = np.exp(scores) / np.exp(scores).sum()
    return Seen(scores, float(shares[3]), float(scores[3]), values, (224, 224))


@pytest.mark.parametrize("name", MEASURES)
def test_runs_that_are_alike_have_no_drift(name: str) -> None:
    measure = MEASURES[name]
    value = np.array([measure.formula(seen(0), seen(0))])
    np.testing.assert_allclose(measure.drift(value), 0, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in MEASURES if n != "flips"])
def test_drift_grows_with_noise(name: str) -> None:
    measure = MEASURES[name]
    drifts = [
        np.mean([measure.drift(np.array([measure.formula(seen(s), seen(s, noise=n))])) for s in range(20)])
        for n in (0.05, 0.3, 1.0)
    ]
    assert 0 < drifts[0] < drifts[1] < drifts[2]


def test_correlations_are_scipys() -> None:
    a, b = seen(1), seen(1, noise=0.5)
    assert a.map is not None
    assert b.map is not None
    np.testing.assert_allclose(
        MEASURES["spearman"].formula(a, b), spearmanr(a.map.ravel(), b.map.ravel())[0], rtol=1e-9, atol=0
    )
    np.testing.assert_allclose(
        MEASURES["pearson"].formula(a, b), pearsonr(a.map.ravel(), b.map.ravel())[0], rtol=1e-9, atol=0
    )


def test_the_earth_movers_distance_is_that_of_the_dense_transport_problem() -> None:
    rng = np.random.default_rng(2)
    for shape in ((3, 4), (5, 5), (1, 6)):
        a, b = (rng.random(shape) ** 3 for _ in range(2))
        a, b = a / a.sum(), b / b.sum()
        places = np.argwhere(np.ones(shape)) * [2.0, 3.0]
        costs = np.abs(places[:, None] - places[None]).sum(-1)
        n = a.size
        rows, columns = np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))
        dense = linprog(costs.ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.concatenate([a.ravel(), b.ravel()]))
        np.testing.assert_allclose(carried(a, b, steps=(2.0, 3.0)), dense.fun, rtol=1e-6, atol=1e-9)


def test_a_spot_that_moves_is_as_far_as_it_moved() -> None:
    a, b = np.zeros((8, 8)), np.zeros((8, 8))
    a[2, 2], b[5, 6] = 1.0, 2.0
    scores = np.zeros(2)
    one, other = (Seen(scores, 0.5, 0.0, m, (80, 160)) for m in (a, b))
    np.testing.assert_allclose(MEASURES["emd"].formula(one, other), 3 * 10 + 4 * 20, rtol=1e-9, atol=0)
    np.testing.assert_allclose(MEASURES["centre"].formula(one, other), np.hypot(30, 80), rtol=1e-9, atol=0)


def test_likeness_as_pictures_is_scikit_images() -> None:
    a, b = (np.random.default_rng(s).random((64, 64)) for s in (3, 4))
    one, other = (Seen(np.zeros(2), 0.5, 0.0, m, (64, 64)) for m in (a, b))
    expected = structural_similarity(a / a.max(), b / b.max(), data_range=1.0)
    np.testing.assert_allclose(MEASURES["ssim"].formula(one, other), expected, rtol=1e-9, atol=0)


def test_a_logit_that_all_share_changes_nothing() -> None:
    a = seen(5)
    b = Seen(a.scores + 7, a.probability, a.score + 7, a.map, a.view)
    np.testing.assert_allclose(MEASURES["logit"].formula(a, b), 0, rtol=0, atol=1e-12)
    assert MEASURES["flips"].formula(a, b) == 0


def test_a_sum_over_a_region_is_not_held_against_the_mean_of_the_scores_of_all_places() -> None:
    maps = np.random.default_rng(7).normal(size=(3, 4, 4))
    a = Seen(maps, float("nan"), 100.0, np.ones((4, 4)), (4, 4))
    b = Seen(maps + 5, float("nan"), 180.0, np.ones((4, 4)), (4, 4))
    np.testing.assert_allclose(MEASURES["logit"].formula(a, b), 80, rtol=1e-12, atol=0)


def test_what_is_not_there_is_a_flip_and_has_no_map() -> None:
    a = seen(6)
    gone = Seen(a.scores, float("nan"), float("nan"), None, a.view)
    assert MEASURES["flips"].formula(a, gone) == 1
    assert all(np.isnan(m.formula(a, gone)) for m in MEASURES.values() if m.name != "flips")


def test_maps_of_two_sizes_are_compared_at_the_larger() -> None:
    rising = [np.add.outer(np.arange(n), np.arange(n)).astype(float) for n in (7, 14)]
    a, b = (Seen(np.zeros(2), 0.5, 0.0, m, (224, 224)) for m in rising)
    assert MEASURES["pearson"].formula(a, b) > 0.98


def test_a_map_of_another_crop_is_laid_where_the_reference_looks() -> None:
    """The candidate sees the whole picture, the reference its left half."""
    whole = Placement((100, 100), (10, 10), (0, 0, 100, 100))
    left = Placement((100, 100), (10, 10), (0, 0, 50, 100))
    values = np.zeros((10, 10))
    values[3, 2], values[5, 8] = 1.0, 1.0
    found = laid(values, of=whole, over=left)
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert (row, column) in ((3, 4), (3, 5))
    assert found[5].max() == 0
    assert laid(values, of=whole, over=whole) is values
