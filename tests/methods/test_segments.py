"""LIME and KernelSHAP beside Shapley's own sum, least squares written out, and SLIC's parts."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from nets import small_cnn
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from test_inputs import inputs

from fgcam_onnx import Explainer
from fgcam_onnx.cam.coalitions import by_size, cosine_kernel, halves, shapley_kernel
from fgcam_onnx.errors import OptionError
from fgcam_onnx.layers.layers import INPUT, find_layer
from fgcam_onnx.loading.loading import load
from fgcam_onnx.methods.segments import segments_of
from fgcam_onnx.runtime import Session

PARTS = (np.arange(12)[:, None] // 6) * 2 + np.arange(10)[None] // 5 + 3
"""Four parts, called 3 to 6."""


def scores_of(x: NDArray[np.float32], parts: NDArray[np.int64], kept: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logit of class 2 with the parts hidden by 0.3 that are not kept."""
    session, labels = Session(load(small_cnn())), np.unique(parts)
    found = []
    for row in kept:
        hidden = np.isin(parts, labels[row == 0])
        found.append(session.run({"input": np.where(hidden, np.float32(0.3), x)})["logits"][0, 2])
    return np.asarray(found, np.float64)


def test_kernel_shap_of_every_coalition_is_shapleys_value() -> None:
    x = inputs(1)
    expected = np.zeros(4)
    for order in itertools.permutations(range(4)):
        kept = np.zeros(4)
        before = scores_of(x, PARTS, kept[None])[0]
        for part in order:
            kept[part] = 1
            after = scores_of(x, PARTS, kept[None])[0]
            expected[part] += (after - before) / math.factorial(4)
            before = after
    found = Explainer(small_cnn(), method="kernelshap", segments=PARTS, samples=14, baseline=0.3)(x, target=2).map[0]
    for part in range(4):
        assert_allclose(found[part + 3 == PARTS], expected[part], rtol=1e-4, atol=1e-6)


def test_drawn_kernel_shap_is_least_squares_under_its_constraint() -> None:
    """By Lagrange: (2 Z'Z, 1; 1', 0) (v, l) = (2 Z'(y - none), whole - none)."""
    x = inputs(2)
    parts = (np.arange(12)[:, None] // 3) * 3 + np.minimum(np.arange(10)[None] // 3, 2)
    kept = by_size(12, range(40), seed=4)
    assert set(kept.sum(1)) <= set(range(1, 12))
    found = Explainer(small_cnn(), method="kernelshap", segments=parts, samples=40, baseline=0.3, seed=4)(x, target=2)
    for n in range(2):
        none, whole = scores_of(x[n : n + 1], parts, np.array([np.zeros(12), np.ones(12)]))
        y = scores_of(x[n : n + 1], parts, kept)
        matrix = np.block([[2 * kept.T @ kept, np.ones((12, 1))], [np.ones((1, 12)), np.zeros((1, 1))]])
        values = np.linalg.solve(matrix, np.append(2 * kept.T @ (y - none), whole - none))[:12]
        assert_allclose(found.map[n], values[parts], rtol=1e-3, atol=1e-5)
        assert_allclose(sum(found.map[n][parts == k][0] for k in range(12)), whole - none, rtol=1e-4)


def test_sizes_are_drawn_as_the_kernel_weighs_them() -> None:
    kept = by_size(6, range(6000), seed=0)
    shares = np.bincount(kept.sum(1).astype(int), minlength=7)[1:6] / 6000
    weights = np.array([math.comb(6, k) * shapley_kernel(6, k) for k in range(1, 6)])
    assert_allclose(shares, weights / weights.sum(), atol=0.02)
    assert_allclose(kept.mean(0), 0.5, atol=0.02)


def test_lime_is_the_least_of_its_loss() -> None:
    """A ridge is least squares with a row sqrt(penalty) e_i for each coefficient, the intercept's left out."""
    x = inputs(1)
    kept = halves(4, range(25), seed=2)
    assert kept[0].all()
    y = scores_of(x, PARTS, kept)
    cosine = [(row.sum() / (np.linalg.norm(row) * 2)) if row.any() else 0.0 for row in kept]
    weights = np.sqrt(np.exp(-((1 - np.array(cosine)) ** 2) / 0.4**2))
    assert_allclose(cosine_kernel(kept, 0.4), weights, rtol=1e-12)
    root = np.sqrt(weights)[:, None]
    rows = np.vstack([np.hstack([root * kept, root]), np.hstack([np.eye(4), np.zeros((4, 1))])])
    expected = np.linalg.lstsq(rows, np.append(root[:, 0] * y, np.zeros(4)), rcond=None)[0][:4]
    settings = {"segments": PARTS, "samples": 25, "seed": 2, "width": 0.4, "baseline": 0.3}
    found = Explainer(small_cnn(), method="lime", **settings)(x, target=2).map[0]
    assert_allclose(found, expected[PARTS - 3], rtol=1e-3, atol=1e-6)


def test_parts_are_slics_of_the_stretched_picture() -> None:
    from skimage.segmentation import slic

    model, x = load(small_cnn(size=(24, 32))), inputs(1, size=(3, 24, 32))
    layer = find_layer(model, INPUT, logits="logits")
    found = segments_of(x[0], layer, 12)
    shown = (x[0] - x[0].min()) / np.ptp(x[0])
    expected = slic(shown.transpose(1, 2, 0).astype(np.float64), n_segments=12, start_label=0)
    assert np.array_equal(found, np.unique(expected, return_inverse=True)[1].reshape(24, 32))
    assert found.min() == 0
    assert len(np.unique(found)) == found.max() + 1


@pytest.mark.parametrize("method", ["kernelshap", "lime"])
def test_a_map_is_one_number_for_each_part_and_each_picture_has_its_own(method: str) -> None:
    x = np.cumsum(np.cumsum(inputs(3, size=(3, 24, 32)), axis=2), axis=3) / 20
    told: list[tuple[int, int]] = []
    settings = {"method": method, "segments": 8, "samples": 30, "progress": lambda *done: told.append(done)}
    found = Explainer(small_cnn(size=(24, 32)), batch=7, **settings)(x)
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    for n in range(3):
        assert 2 <= len(np.unique(found.map[n])) <= 12
        alone = Explainer(small_cnn(size=(24, 32), batch=1), **settings)(x[n : n + 1])
        assert_allclose(found.map[n], alone.map[0], rtol=1e-4, atol=1e-5)


def test_one_part_takes_all_and_parts_that_do_not_fit_are_refused() -> None:
    x = inputs(1)
    none, whole = scores_of(x, PARTS, np.array([np.zeros(4), np.ones(4)]))
    one = np.zeros((12, 10), int)
    found = Explainer(small_cnn(), method="kernelshap", segments=one, baseline=0.3)(x, target=2).map
    assert_allclose(found, whole - none, rtol=1e-4)
    for wrong, said in (
        (np.zeros((3, 3), int), r"segments are \[12, 10\]"),
        (0, "whole number from 1"),
        (2.5, "whole"),
    ):
        with pytest.raises(OptionError, match=said):
            Explainer(small_cnn(), method="lime", segments=wrong)(x)
