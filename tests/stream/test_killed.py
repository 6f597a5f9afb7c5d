"""Killed at any operation on its files, a run goes on to the files of one that was not, and to no others."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from killed import Deaths, Killed, contents, install

import fgcam_onnx.auditing.sides
import fgcam_onnx.batch.job
import fgcam_onnx.evaluation.evaluating
import fgcam_onnx.evaluation.subjects
from fgcam_onnx import Explainer, audit, evaluate, load
from fgcam_onnx.batch import explain_source
from fgcam_onnx.cli.recorded import Run
from fgcam_onnx.graph.model import Model
from fgcam_onnx.imaging import Style
from fgcam_onnx.metrics import find_metric
from fgcam_onnx.stream import Item, Row, from_paths


@dataclass(frozen=True)
class Given:
    """What every command is run on."""

    model: Model
    pictures: Path

    @property
    def two(self) -> list[Path]:
        """One of them, and one that cannot be read."""
        return [self.pictures / "circle.png", self.pictures / "none.png"]


@pytest.fixture(scope="module")
def given(bundled: Path, tmp_path_factory: pytest.TempPathFactory) -> Given:
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("circle", "heart"):
        shutil.copy(bundled / "pictures" / f"{name}.png", folder)
    (folder / "none.png").write_bytes(b"no picture")
    return Given(load(bundled / "resnet_shapes.dynamo.onnx"), folder)


@pytest.fixture(scope="module")
def sessions() -> Iterator[None]:
    """Build each explainer once for all runs: they write nothing."""
    built: dict[str, Explainer] = {}

    def once(model: Model, **options: Any) -> Explainer:
        key = repr((id(model), sorted(options.items(), key=lambda pair: pair[0])))
        return built.setdefault(key, built.get(key) or Explainer(model, **options))

    with pytest.MonkeyPatch.context() as patch:
        for room in (
            fgcam_onnx.auditing.sides, fgcam_onnx.batch.job, fgcam_onnx.evaluation.evaluating,
            fgcam_onnx.evaluation.subjects,
        ):  # fmt: skip
            patch.setattr(room, "Explainer", once)
        yield


def batch(given: Given, out: Path) -> None:
    explain_source(
        given.model, str(given.pictures), sink=out, method="gradcam", batch=1, shard=2, workers=2, overlays=Style(),
        resume=(out / "_manifest.json").exists(),
    )  # fmt: skip


def evaluated(given: Given, out: Path) -> None:
    options: dict[str, Any] = {"methods": ["gradcam"], "metrics": [find_metric("gini")], "controls": ()}
    evaluate(given.model, given.two, out=out, batch=1, threads=1, pictures=0, **options)


def audited(given: Given, out: Path) -> None:
    audit(given.model, given.model, images=given.two, changes=[], out=out, batch=1, threads=1, pictures=0)


def explained(given: Given, out: Path) -> None:
    def work(items: Any) -> list[Row]:
        (out / f"{items[0].path.stem}.txt").write_text("a map")
        return [{"item": item.key, "explanations": []} for item in items]

    items: list[Item] = from_paths([given.pictures])
    out.mkdir(exist_ok=True)
    Run(out, {"model": "resnet"}, items, batch=2).finished(work, progress=lambda done, total: None)


@pytest.mark.parametrize("command", [batch, evaluated, audited, explained])
@pytest.mark.usefixtures("sessions")
def test_a_run_killed_at_any_operation_goes_on_to_the_same_files(
    command: Callable[[Given, Path], None], given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(deaths := Deaths(tmp_path), monkeypatch)
    command(given, tmp_path / "whole")
    expected, count, struck = contents(tmp_path / "whole"), deaths.count, 0
    assert count > 12
    for place in range(count):
        out = tmp_path / f"killed{place}"
        for dies in (place, (7 * place) % count):
            deaths.at(dies)
            try:
                command(given, out)
            except Killed:
                struck += 1
        deaths.at(None)
        command(given, out)
        found = contents(out)
        assert sorted(found) == sorted(expected), place
        for name, content in found.items():
            if name != "explanations.json":  # says when it was written
                assert content == expected[name], (place, name)
    assert struck >= count
