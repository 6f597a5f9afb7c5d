"""What metrics read: a model that is linear in the picture gives every curve in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fgcam_onnx.errors import NumericsError, OptionError
from fgcam_onnx.matrices import gaussian_matrix
from fgcam_onnx.metrics import CONTROLS, METRICS, USUAL, Case, Metric, Picture, find_metric, measure
from fgcam_onnx.metrics.case import BASELINES, Asked
from fgcam_onnx.metrics.copies import Removed
from fgcam_onnx.metrics.imputing import imputed

SIZE = (24, 32)


@dataclass
class Linear:
    """``p = <w, x>``, and how often it was asked."""

    weights: np.ndarray
    runs: list[int] = field(default_factory=list)

    def __call__(self, x: np.ndarray, owners: Sequence[int]) -> np.ndarray:
        assert len(x) == len(owners)
        self.runs.append(len(x))
        return (x * self.weights).sum((1, 2, 3))

    def explain(self, x: np.ndarray, asked: Asked) -> np.ndarray:
        return (x * self.weights).sum(1)


def linear(seed: int = 0) -> tuple[Linear, Case]:
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(3, *SIZE))
    x = rng.normal(size=(3, *SIZE))
    weights /= (weights * x).sum()
    region = np.zeros(SIZE, bool)
    region[4:12, 10:20] = True
    model = Linear(weights)
    return model, Case(Picture(x, region, seed), (x * weights).sum(0), model.explain)


def metrics(*names: str) -> list[Metric]:
    return [find_metric(name) for name in names]


def test_every_metric_has_a_summary_and_a_source_and_can_be_measured() -> None:
    model, case = linear()
    found = measure([case], list(METRICS.values()), predict=model)[0]
    assert list(found) == list(METRICS)
    assert all(np.isfinite(v) for v in found.values()), found
    for metric in METRICS.values():
        assert metric.summary
        assert metric.source
        assert metric.better in ("higher", "lower")


@pytest.mark.parametrize("baseline", BASELINES)
def test_deletion_is_the_area_under_the_sum_of_what_is_left(baseline: str) -> None:
    model, case = linear()
    shares = tuple(k / 12 for k in range(1, 12))
    metric = find_metric("deletion" if baseline == "zero" else f"deletion_{baseline}").having(shares=shares)
    lost = ((case.picture.x - case.picture.baseline(baseline)) * model.weights).sum(0).reshape(-1)
    curve = 1 - np.append(0, np.cumsum(lost[np.argsort(-case.raw.reshape(-1))]))[:: len(lost) // 12]
    found = measure([case], [metric], predict=model)[0]
    assert_allclose(found[metric.name], np.trapezoid(curve, dx=1 / 12), rtol=1e-9)


def test_deletion_and_insertion_from_the_same_baseline_add_up_in_a_linear_model() -> None:
    model, case = linear()
    found = measure([case], metrics("deletion", "insertion_zero", "deletion_blur", "insertion"), predict=model)[0]
    blur = float((case.picture.baseline("blur") * model.weights).sum())
    assert_allclose(found["deletion"] + found["insertion_zero"], 1, rtol=1e-9)
    assert_allclose(found["deletion_blur"] + found["insertion"], 1 + blur, rtol=1e-9)


def test_no_other_order_has_a_lower_deletion_or_a_higher_insertion_in_a_linear_model() -> None:
    model, case = linear()
    rivals = [Case(case.picture, c.draw(case.picture), case.explain) for c in CONTROLS.values()]
    own, *others = measure([case, *rivals], metrics("deletion", "insertion_zero"), predict=model)
    assert all(own["deletion"] < other["deletion"] for other in others)
    assert all(own["insertion_zero"] > other["insertion_zero"] for other in others)


def test_the_map_of_a_linear_model_is_faithful_where_infidelity_measures_it() -> None:
    model, case = linear()
    other = Case(case.picture, case.raw[::-1], case.explain)
    found = measure([case, other], metrics("infidelity"), predict=model)
    assert_allclose(found[0]["infidelity"], 0, atol=1e-20)
    assert found[1]["infidelity"] > 1e-4


def test_max_sensitivity_of_a_map_that_is_linear_in_the_picture_is_the_noises() -> None:
    model, case = linear()
    x, noisy = case.picture.x, find_metric("max_sensitivity")
    radius = 0.02 * np.ptp(x)
    drawn = np.random.default_rng(case.picture.seed).uniform(-1, 1, (8, *x.shape)) * radius
    changes = np.linalg.norm((drawn * model.weights).sum(1), axis=(1, 2))
    found = measure([case], [noisy], predict=model)[0]
    assert_allclose(found["max_sensitivity"], changes.max() / np.linalg.norm(case.raw), rtol=1e-9)


def test_copies_that_several_metrics_read_are_run_once() -> None:
    model, case = linear()
    measure([case], metrics("drop", "increase", "gain", "adcc"), predict=model)
    assert sum(model.runs) == 2
    model.runs.clear()
    measure([case, Case(case.picture, -case.raw, case.explain)], metrics("drop", "deletion", "deletion"), predict=model)
    shares = len(Removed("zero").shares)
    assert sum(model.runs) == 2 + 2 * (1 + shares)


def test_batches_go_across_maps_and_pictures_and_change_nothing() -> None:
    cases, models = [], []
    for seed in range(3):
        model, case = linear(seed)
        models.append(model)
        cases += [case, Case(case.picture, case.raw[:, ::-1], case.explain)]

    def predict(x: np.ndarray, owners: Sequence[int]) -> np.ndarray:
        return np.array([(a * models[o // 2].weights).sum() for a, o in zip(x, owners, strict=True)])

    together = measure(cases, metrics("drop", "insertion", "road"), predict=predict, batch=7)
    alone = [measure([c], metrics("drop", "insertion", "road"), predict=models[i // 2])[0] for i, c in enumerate(cases)]
    for a, b in zip(together, alone, strict=True):
        assert_allclose(list(a.values()), list(b.values()), rtol=1e-9)


def test_ranks_give_every_map_the_same_histogram() -> None:
    _, case = linear()
    maps = [case.raw, case.raw**3, np.ones(SIZE), np.ones((3, 4)), np.zeros(SIZE)]
    histograms = [np.sort(Case(case.picture, m, case.explain).ranks, axis=None) for m in maps]
    for histogram in histograms:
        assert_allclose(histogram, np.linspace(0, 1, case.raw.size), atol=1e-12)


def test_where_a_map_says_nothing_its_ranks_are_smooth_and_lean_to_no_side() -> None:
    """Neighbours differ little, and over many seeds every place has the same mean rank."""
    _, case = linear()
    even = [Case(Picture(case.picture.x, seed=s), np.ones((2, 2)), case.explain).ranks for s in range(400)]
    assert np.mean([np.abs(np.diff(r, axis=1)).mean() for r in even]) < 0.1
    assert_allclose(np.mean(even, axis=0), 0.5, atol=0.08)


def test_in_cells_a_map_and_its_means_over_the_cells_are_the_same() -> None:
    model, case = linear()
    means = case.raw.reshape(6, 4, 8, 4).mean((1, 3))
    blocks = Case(case.picture, means.repeat(4, 0).repeat(4, 1), case.explain)
    rows = [m.at(4) for m in metrics("drop", "rank_drop", "insertion", "deletion", "energy", "iou", "entropy", "road")]
    fine, coarse = measure([case, blocks], rows, predict=model)
    assert list(fine) == [f"{m.name.split('@')[0]}@4" for m in rows]
    assert_allclose(list(fine.values()), list(coarse.values()), rtol=1e-9)
    assert measure([case], [find_metric("insertion")], predict=model)[0]["insertion"] != fine["insertion@4"]


def test_pixels_of_a_cell_are_removed_together() -> None:
    _, case = linear()
    order = Case(case.picture, case.raw, case.explain, cells=4).order.reshape(-1, 16)
    rows, columns = np.divmod(order, SIZE[1])
    assert (rows // 4 == rows[:, :1] // 4).all()
    assert (columns // 4 == columns[:, :1] // 4).all()


def test_what_needs_an_object_is_not_defined_without_one() -> None:
    model, case = linear()
    bare = Case(Picture(case.picture.x), case.raw, case.explain)
    found = measure([bare], [*USUAL], predict=model)[0]
    assert {n for n, v in found.items() if np.isnan(v)} == {m.name for m in USUAL if m.needs_region}


def test_a_second_map_whose_numbers_go_wrong_leaves_the_others_standing() -> None:
    model, case = linear()

    def explain(x: np.ndarray, asked: Asked) -> np.ndarray:
        if asked.randomised:
            raise NumericsError("infinite")
        return model.explain(x, asked)

    found = measure([Case(case.picture, case.raw, explain)], metrics("sanity_cascading", "adcc"), predict=model)[0]
    assert np.isnan(found["sanity_cascading"])
    assert np.isfinite(found["adcc"])


def test_settings_that_a_metric_does_not_have_are_refused() -> None:
    assert find_metric("infidelity").having(count=3, side=0.1).reads["without"].count == 3
    with pytest.raises(OptionError, match="drop has no setting 'shares'"):
        find_metric("drop").having(shares=(0.5,))
    with pytest.raises(OptionError, match="insertion"):
        find_metric("insertoin")
    with pytest.raises(OptionError, match="1 pixel"):
        find_metric("insertion", cells=0)


def test_imputed_pixels_solve_the_published_equations() -> None:
    """Against the dense solution: each missing pixel is the weighted mean of its neighbours inside the picture."""
    rng = np.random.default_rng(1)
    height, width = 14, 17
    x, missing = rng.normal(size=(2, height, width)), rng.random((height, width)) < 0.6
    missing[3:11, 4:15] = True
    matrix, wanted = np.eye(height * width), x.reshape(2, -1).T.copy()
    for place in np.flatnonzero(missing):
        row, column = divmod(int(place), width)
        near = {
            (row + r, column + c): 2.0 if 0 in (r, c) else 1.0
            for r in (-1, 0, 1)
            for c in (-1, 0, 1)
            if (r or c) and 0 <= row + r < height and 0 <= column + c < width
        }
        wanted[place] = 0
        for (r, c), weight in near.items():
            matrix[place, r * width + c] -= weight / sum(near.values())
    dense = np.linalg.solve(matrix, wanted).T.reshape(x.shape)
    assert_allclose(imputed(x, missing, seed=0, noise=0), dense, atol=5e-4)
    noisy = imputed(x, missing, seed=0, noise=0.1) - imputed(x, missing, seed=0, noise=0)
    assert not noisy[:, ~missing].any()
    assert_allclose(noisy[:, missing].std(), 0.1, rtol=0.1)


def test_a_ramp_is_imputed_as_a_ramp() -> None:
    ramp = np.add.outer(np.arange(40.0), 3 * np.arange(50.0))[None]
    missing = np.zeros((40, 50), bool)
    missing[8:30, 9:44] = True
    assert_allclose(imputed(ramp, missing, seed=0, noise=0), ramp, atol=1e-3 * ramp.std())


def test_the_blur_keeps_the_mean_and_is_a_gaussian_away_from_the_edges() -> None:
    matrix = gaussian_matrix(41, sigma=2.0)
    assert_allclose(matrix.sum(0), 1, rtol=1e-12)
    assert_allclose(matrix.sum(1), 1, rtol=1e-12)
    expected = np.exp(-(np.arange(-5, 6) ** 2) / 8)
    assert_allclose(matrix[20, 15:26] / matrix[20, 20], expected, rtol=1e-12)
