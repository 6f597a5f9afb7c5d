"""The harness of ``tools/fuzz`` sees faults, and a run of fixed cases finds none."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import children
import fuzz
import numpy as np
import onnx.parser
import pytest
from children import Child
from classes import DRAWS, drawn_net
from hypothesis import given, settings
from hypothesis import strategies as st
from judges import judged
from nets import small_cnn, written
from oracles import scaled
from outcomes import BAD, Outcome, outcome_of
from random_nets import random_net
from random_nodes import DRAWN

from fgcam_onnx import Explainer, exporter, vjp
from fgcam_onnx.errors import InputError

ROOT = Path(__file__).parents[1]
CASES = 80


def test_a_run_of_fixed_cases_finds_nothing_to_mend() -> None:
    command = [sys.executable, "tools/fuzz/fuzz.py", "--cases", str(CASES)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
    for group in ("models", "nets", "files", "arguments"):
        row = next(line for line in ran.stdout.splitlines() if line.startswith(f"| **{group}** |"))
        cases, right, *_ = (int(cell) for cell in row.split("|")[2:-1])
        assert cases == CASES
        assert right >= CASES / (20 if group == "models" else 4), row


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(st.lists(st.sampled_from(sorted(DRAWN)), min_size=1, max_size=4), st.integers(0, 2**32))
def test_small_graphs_are_explained_as_they_run_or_refused(kinds: list[str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = random_net(rng, [DRAWN[k] for k in kinds])
    with tempfile.TemporaryDirectory() as folder:
        outcome = outcome_of(lambda: judged(written(model, Path(folder)), rng))
    assert outcome.kind not in BAD, outcome


# ---- what it would see


@pytest.fixture
def cnn(tmp_path: Path) -> Path:
    return written(small_cnn(size=(8, 8), width=3), tmp_path)


def test_a_valid_net_is_right(cnn: Path) -> None:
    assert [judged(cnn, np.random.default_rng(s)) for s in range(4)] == [Outcome("right")] * 4


def test_a_rule_that_is_off_is_wrong(cnn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vjp.RULES, "Relu", scaled(vjp.RULES, "Relu", 1.05)["Relu"])  # type: ignore[arg-type]
    assert {judged(cnn, np.random.default_rng(s)).why for s in range(4)} == {"the map is not the slope"}


def test_another_output_than_the_runtimes_is_wrong(cnn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Explainer.predict
    monkeypatch.setattr(Explainer, "predict", lambda self, x: plain(self, x) * np.float32(1.001))
    assert judged(cnn, np.random.default_rng(0)).why == "predict() is not ONNX Runtime's"


def test_another_map_in_the_exported_file_is_wrong(cnn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "marked", lambda value, good: value * np.float32(1.05))
    found = {judged(cnn, np.random.default_rng(s)).why for s in range(6)}
    assert "the exported file's map is not the Explainer's" in found


def test_a_side_of_a_kink_that_float16_chose_is_not_held_against_the_exact_one(tmp_path: Path) -> None:
    text = """<ir_version: 9, opset_import: ["" : 20]>
        net (float[N, 1, 64, 64] x) => (float[N, 1] y)
        <float low = {1.0}, float high = {1.01}>
        { half = Cast <to: int = 10> (x) short = Cast <to: int = 1> (half) band = Clip (short, low, high)
          mean = GlobalAveragePool (band) y = Flatten (mean) }"""
    path = written(onnx.parser.parse_model(text), tmp_path)
    found = [judged(path, np.random.default_rng(s)) for s in range(12)]
    assert {o.kind for o in found} <= {"right", "not judged"}, found
    assert any(o.why.startswith("a map of rounding") for o in found), found


def test_errors_of_the_package_are_refusals_and_all_others_faults() -> None:
    def foreign() -> Outcome:
        raise KeyError("x")

    def ours() -> Outcome:
        raise InputError("no")

    assert outcome_of(ours).kind == "refused"
    assert outcome_of(foreign).why.startswith("KeyError in ")


def judge_of_ends(case: children.Case, folder: Path) -> Outcome:
    if case[0] == "abort":
        os.abort()
    while case[0] == "for ever":
        pass
    if case[0] == "memory":
        return outcome_of(lambda: Outcome(str(np.ones(2**32).sum())))
    (folder / "left").write_text("x")
    return Outcome("right", str(sorted(p.name for p in folder.iterdir())))


def test_a_child_that_dies_or_never_ends_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "SECONDS", 0.3)
    with Child(judge_of_ends) as child:
        assert child.run(("abort", 0)).why == "the process died: SIGABRT"
        assert child.run(("for ever", 0)).why.startswith("no end within")
        assert "MemoryError" in child.run(("memory", 0)).why
        assert child.run(("plain", 0)).why == child.run(("plain", 1)).why == "['left']"


def test_a_case_is_the_same_whenever_it_is_drawn(tmp_path: Path) -> None:
    first, second = (drawn_net(np.random.default_rng(3)).SerializeToString() for _ in range(2))
    assert first == second
    case = (next(iter(DRAWS)), 7)
    assert fuzz.judge(case, tmp_path) == fuzz.judge(case, tmp_path)
