"""Verdicts: beyond the floor, or by the caller's thresholds, and never on too few pictures."""

from __future__ import annotations

import numpy as np
import pytest

from fgcam_onnx.auditing.measures import MEASURES
from fgcam_onnx.auditing.verdicts import FEWEST, Line, Thresholds, line, whole
from fgcam_onnx.errors import OptionError

DECIDING = [m for m in MEASURES.values() if m.allowed is not None]


def told(name: str, drift: float, floor: float, *, count: int = 20, **thresholds: dict[str, float]) -> Line:
    measure, rng = MEASURES[name], np.random.default_rng(0)
    drifts, floors = (np.clip(rng.normal(mean, 0.02, count), 0, None) for mean in (drift, floor))
    if measure.better == "higher":
        drifts, floors = 1 - drifts, 1 - floors
    return line(measure, drifts, {"noise": floors}, thresholds=Thresholds(**thresholds), seed=0)


@pytest.mark.parametrize("measure", DECIDING, ids=lambda m: m.name)
def test_a_drift_within_the_floor_passes_and_one_beyond_fails(measure: object) -> None:
    name = measure.name  # type: ignore[attr-defined]
    outcomes = {d: told(name, d, 0.1).verdict for d in (0.02, 0.1, 0.5)}
    assert {d: v.outcome for d, v in outcomes.items() if v} == {0.02: "passes", 0.1: "passes", 0.5: "fails"}
    assert "beyond the floor" in outcomes[0.5].reason  # type: ignore[union-attr]


def test_the_floor_of_a_picture_is_the_change_that_moves_it_furthest() -> None:
    measure = MEASURES["confidence"]
    values = np.full(12, 0.3)
    floors = {"noise": np.tile([0.3, 0.0], 6), "jpeg": np.tile([0.0, 0.3], 6)}
    found = line(measure, values, floors, thresholds=Thresholds(), seed=0)
    assert found.floor is not None
    assert found.beyond is not None
    np.testing.assert_allclose([found.floor.mean, found.beyond.mean], [0.3, 0], rtol=0, atol=1e-12)
    assert found.floors["noise"].mean == pytest.approx(0.15)


def test_too_few_pictures_are_not_judged() -> None:
    for count, outcome in ((FEWEST - 1, "undecided"), (FEWEST, "fails")):
        verdict = told(DECIDING[-1].name, 0.6, 0.0, count=count).verdict
        assert verdict is not None
        assert verdict.outcome == outcome
    few = told("flips", 0.5, 0.0, count=FEWEST - 1, over={"flips": 0.9}).verdict
    assert few is not None
    assert few.outcome == "undecided"
    assert f"at least {FEWEST}" in few.reason


def test_thresholds_overrule_the_floor_for_all_measures() -> None:
    far = told("spearman", 0.4, 0.0, under={"spearman": 0.5})
    assert far.verdict is not None
    assert (far.verdict.outcome, far.limit) == ("passes", 0.5)
    near = told("spearman", 0.05, 0.5, under={"spearman": 0.99})
    assert near.verdict is not None
    assert near.verdict.outcome == "fails"
    assert told("confidence", 0.9, 0.0, under={"spearman": 0.5}).verdict is None


@pytest.mark.parametrize(
    ("thresholds", "match"),
    [
        ({"under": {"flips": 0.1}}, "fail-over"),
        ({"over": {"spearman": 0.1}}, "fail-under"),
        ({"under": {"spaerman": 0.1}}, "Did you mean 'spearman'"),
        ({"over": {"flips": float("nan")}}, "is a number"),
    ],
)
def test_a_threshold_that_says_nothing_is_refused(thresholds: dict[str, dict[str, float]], match: str) -> None:
    with pytest.raises(OptionError, match=match):
        Thresholds(**thresholds)


def test_one_failure_is_enough_and_nothing_judged_is_no_pass() -> None:
    passes, fails, few = (
        told("spearman", 0.0, 0.1).verdict,
        told("spearman", 0.6, 0.1).verdict,
        told("spearman", 0.6, 0.1, count=3).verdict,
    )
    assert passes is not None
    assert fails is not None
    assert few is not None
    assert whole([passes, fails, few]) == "fails"
    assert whole([passes, few]) == "undecided"
    assert whole([passes]) == "passes"
    assert whole([]) == "undecided"
