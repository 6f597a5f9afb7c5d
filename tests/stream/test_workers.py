"""Any work on Ray: rows are those of one process, in their order, whatever workers die over."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from killed import contents

from fgcam_onnx import audit, evaluate
from fgcam_onnx.errors import ImageError, OptionError
from fgcam_onnx.metrics import find_metric
from fgcam_onnx.stream import Hands, Item, Journal, Kept, Lines, Row, run
from fgcam_onnx.stream.deaths import DEATHS, Trial, mark

RESNET, VGG, KERAS = "resnet_shapes.dynamo.onnx", "vgg_shapes.torchscript.onnx", "vgg_shapes.keras.onnx"
ITEMS = [Item(f"{i:02d}.png", Path(f"/{i:02d}.png")) for i in range(11)]
TWO = Hands("ray", workers=2)


def expected(items: Sequence[Item], of: int) -> list[Row]:
    return [{"item": item.key, "of": of} for item in items]


@pytest.mark.filterwarnings("default")
def test_rows_come_in_the_order_of_the_items_and_a_run_goes_on(ray: Any, tmp_path: Path) -> None:
    def work(items: Sequence[Item]) -> list[Row]:
        import time

        if items[0].key == "00.png":
            time.sleep(3)
        if any(item.key == "05.png" for item in items):
            raise ImageError("05.png: damaged")
        return [{"item": item.key, "of": len(items)} for item in items]

    found = {}
    steps: list[int] = []
    for hands in (TWO, Hands()):
        rows, journal = tmp_path / f"{hands.engine}.rows", tmp_path / f"{hands.engine}.journal"
        steps.clear()
        for items in (ITEMS[:8], ITEMS):
            run(
                items, work, sink=Lines(rows), journal=Journal.of(journal, {}), batch=4, hands=hands,
                progress=lambda done, total: steps.append(done),
            )  # fmt: skip
        assert steps == [0, 4, 8, 8, 11]
        found[hands.engine] = (rows.read_bytes(), journal.read_bytes())
    assert found["ray"] == found["local"]
    assert b'"error": "05.png: damaged"' in found["ray"][0]


@pytest.mark.filterwarnings("default")
def test_what_workers_die_over_is_found_and_left(ray: Any) -> None:
    def work(items: Sequence[Item]) -> list[Row]:
        if any(item.key == "06.png" for item in items):
            os._exit(9)
        return [{"item": item.key, "of": len(items)} for item in items]

    rows = run(ITEMS, work, sink=Kept([]), batch=4, hands=TWO)
    left: list[Row] = [{"item": "06.png", "error": "06.png: left out, the process died over it 2 times"}]
    alone = [*expected(ITEMS[4:6], 1), *left, *expected(ITEMS[7:8], 1)]
    assert rows == [*expected(ITEMS[:4], 4), *alone, *expected(ITEMS[8:], 3)]


@pytest.mark.filterwarnings("default")
def test_a_worker_that_dies_once_is_replaced_and_the_rows_are_the_same(ray: Any, tmp_path: Path) -> None:
    once = tmp_path / "once"

    def work(items: Sequence[Item]) -> list[Row]:
        if items[0].key == "04.png" and not once.exists():
            once.touch()
            os._exit(9)
        return [{"item": item.key, "of": len(items)} for item in items]

    rows = run(ITEMS, work, sink=Kept([]), batch=4, hands=TWO)
    assert once.exists()
    assert rows == [*expected(ITEMS[:8], 4), *expected(ITEMS[8:], 3)]


@pytest.mark.filterwarnings("default")
def test_what_concerns_all_ends_the_run_as_itself(ray: Any) -> None:
    def work(items: Sequence[Item]) -> list[Row]:
        raise OptionError("no such thing")

    with pytest.raises(OptionError, match="no such thing"):
        run(ITEMS, work, sink=Kept([]), batch=4, hands=TWO)


@pytest.mark.filterwarnings("default")
def test_evaluations_and_audits_write_the_same_files_by_both_engines(ray: Any, bundled: Path, tmp_path: Path) -> None:
    (tmp_path / "none.png").write_bytes(b"no picture")
    pictures = [bundled / "pictures" / "*a*.png", tmp_path / "none.png"]
    metrics = [find_metric("rank_drop"), find_metric("sanity_cascading")]
    for engine, workers in (("local", None), ("ray", 2)):
        hands: dict[str, Any] = {"engine": engine, "workers": workers, "batch": 2, "threads": 1}
        evaluate(
            bundled / RESNET, pictures, methods=["gradcam", "fgcam"], metrics=metrics, pictures=2,
            out=tmp_path / "evaluated" / engine, **hands,
        )  # fmt: skip
        audit(bundled / VGG, bundled / KERAS, images=pictures, pictures=2, out=tmp_path / "audited" / engine, **hands)
    for what in ("evaluated", "audited"):
        found, wanted = (contents(tmp_path / what / engine) for engine in ("ray", "local"))
        assert "rows.jsonl" in wanted
        assert found == wanted


def test_a_trial_tries_a_batch_then_pictures_then_leaves_them() -> None:
    kept: dict[str, bytes] = {}

    class Marks:
        def read(self, name: str) -> bytes | None:
            return kept.get(name)

        def write(self, name: str, content: bytes) -> None:
            kept[name] = content

        def remove(self, name: str) -> None:
            del kept[name]

    class DiedError(Exception):
        pass

    def do(items: Sequence[str], first: int) -> list[str]:
        assert items[0] == "abc"[first]
        if "b" in items:
            raise DiedError
        return [*items]

    assert Trial.of(Marks(), 7) is None
    kept[mark(7)] = b"{}"
    for _ in range(2 * DEATHS):
        trial = Trial.of(Marks(), 7)
        assert trial is not None
        with pytest.raises(DiedError):
            trial.rows(0, "abc", do=do, left=str.upper)
    trial = Trial.of(Marks(), 7)
    assert trial is not None
    assert trial.rows(0, "abc", do=do, left=str.upper) == ["a", "B", "c"]


def test_what_is_for_ray_is_refused_without_it() -> None:
    refused: list[dict[str, Any]] = [{"workers": 2}, {"address": "auto"}, {"gpus": 0.5}]
    for options in refused:
        with pytest.raises(OptionError, match="are for the engine ray"):
            Hands(**options)
    with pytest.raises(OptionError, match=r"unknown engine 'rya'.*Did you mean 'ray'"):
        Hands("rya")
    with pytest.raises(OptionError, match="the device is cpu"):
        Hands("ray", gpus=0.5).check_devices("cpu", "cpu")
    Hands("ray", gpus=0.5).check_devices("cpu", "cuda")
    assert Hands("ray").threaded({"threads": 0}) == {"threads": 1}
    assert Hands("ray").threaded({"threads": 2}) == Hands().threaded({"threads": 2}) == {"threads": 2}
    assert Hands().threaded({}) == {}
