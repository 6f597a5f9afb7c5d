"""Verdicts: beyond the floor, or by the caller's thresholds, and never on too few pictures."""

from __future__ import annotations

import numpy as np
import pytest

from fgcam_onnx.auditing.measures import MEASURES, Measure
from fgcam_onnx.auditing.verdicts import (
    FEWEST,
    MOST,
    Line,
    Outcome,
    Thresholds,
    Verdict,
    line,
    settled,
    told_of_more,
    whole,
)
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


@pytest.mark.parametrize("measure", DECIDING, ids=lambda m: m.name)
@pytest.mark.parametrize("side", [-0.5, 0.5])
def test_what_is_neither_surely_beyond_nor_within_is_undecided(measure: Measure, side: float) -> None:
    """Of the same drift, four times as many pictures decide."""
    assert measure.allowed is not None
    mean = measure.allowed * (1 + side)
    outcomes = {}
    for count in (16, 64, 4096):
        drifts = mean + np.resize([-1.0, 1.0], count) * measure.allowed * 1.5
        values = 1 - drifts if measure.better == "higher" else drifts
        floors = np.full(count, 1.0 if measure.better == "higher" else 0.0)
        verdict = line(measure, values, {"noise": floors}, thresholds=Thresholds(), seed=0).verdict
        assert verdict is not None
        outcomes[count] = verdict.outcome
        if count == 16:
            assert verdict.reason.startswith("neither surely beyond the floor nor within")
            assert verdict.likelier == ("fails" if side > 0 else "passes")
            assert verdict.pictures is not None
    assert outcomes == {16: "undecided", 64: "fails" if side > 0 else "passes", 4096: "fails" if side > 0 else "passes"}


@pytest.mark.parametrize(
    ("flips", "confidence", "outcome"),
    [(0.0, 0.0, "passes"), (0.1, 0.0, "undecided"), (0.0, 0.06, "undecided"), (0.5, 0.0, "fails")],
)
def test_where_flips_are_unsure_the_probability_decides(flips: float, confidence: float, outcome: str) -> None:
    """Unless the flips' mean lies beyond what is allowed, or the probability is unsure itself."""
    count = 50
    candidate = np.r_[np.ones(5 + round(flips * count)), np.zeros(45 - round(flips * count))]
    found = [
        line(MEASURES["flips"], candidate, {"noise": np.roll(candidate * (np.arange(50) < 5), 7)},
             thresholds=Thresholds(), seed=0),
        line(MEASURES["confidence"], np.resize([-0.1, 0.1], count) + confidence, {"noise": np.zeros(count)},
             thresholds=Thresholds(), seed=0),
    ]  # fmt: skip
    assert found[0].verdict is not None
    assert found[0].verdict.outcome == ("fails" if outcome == "fails" else "undecided")
    decided = settled(found)
    assert decided[0].verdict is not None
    assert decided[0].verdict.outcome == outcome
    assert decided[1] is found[1]
    if outcome == "passes":
        assert decided[0].verdict.reason.startswith("not surely within the floor, as confidence is: flips by 0 [")


def test_the_pictures_that_would_tell_do_so_in_four_of_five_draws() -> None:
    measure, rng = MEASURES["spearman"], np.random.default_rng(1)
    assert measure.allowed is not None

    def verdict(count: int, mean: float) -> Verdict:
        drifts = rng.normal(mean, 0.1, count)
        found = line(measure, 1 - drifts, {"noise": np.ones(count)}, thresholds=Thresholds(), seed=0).verdict
        assert found is not None
        return found

    for mean, outcome in ((measure.allowed + 0.02, "fails"), (measure.allowed - 0.02, "passes")):
        known = np.resize([-0.1, 0.1], 36) + mean
        asked = line(measure, 1 - known, {"noise": np.ones(36)}, thresholds=Thresholds(), seed=0).verdict
        assert asked is not None
        assert asked.pictures is not None
        told = np.mean([verdict(asked.pictures, mean).outcome == outcome for _ in range(200)])
        assert 0.7 < told < 0.9


def test_one_measure_beyond_is_enough_and_all_have_to_be_within() -> None:
    def unsure(name: str, likelier: Outcome, pictures: int | None) -> Verdict:
        return Verdict(name, "undecided", "", pictures=pictures, likelier=likelier)

    near, far, bad = unsure("a", "passes", 90), unsure("b", "passes", 1200), unsure("c", "fails", 300)
    assert told_of_more([near, far]) == "About 1,200 pictures like these would probably tell"
    assert told_of_more([near, far, bad]) == "About 300 pictures like these would probably tell"
    assert told_of_more([near, unsure("d", "passes", None)]).endswith(f"{MOST:,} pictures would hardly tell")
    assert told_of_more([Verdict("few", "undecided", "too few")]) == ""


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
